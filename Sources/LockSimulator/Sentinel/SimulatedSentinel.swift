import LockTransport
import NIOCore

/// A Sentinel: it watches the masters of one name, elects one that makes a replica the master, and tells clients where it is.
///
/// As of Redis 7: a master that has not answered for ``downAfter`` is down for this Sentinel (*s_down*), and for all of them where a
/// majority says so (*o_down*). Then a Sentinel asks the others for their vote, with an epoch above all that it has seen; each gives
/// one vote for an epoch. The leader promotes the replica that has most of the data, and its record has the new epoch from then on, and the
/// old address until the replicas are told; the others take over what has a higher epoch. Servers that are in another role than
/// the records say for ``wrongRoleAfter`` are put right.
///
/// Left out: the priority of replicas, scripts, more than one master, what is said over the hello channel (Sentinels talk directly
/// here), TILT.
final class SimulatedSentinel {
    struct Record {
        var master: Int
        var epoch: Int64
    }

    /// A failover that this one leads.
    private enum Failover {
        case asksForVotes(epoch: Int64, votes: Int, since: Int64)
        case asksReplicas(epoch: Int64, found: [(server: Int, offset: Int64)], since: Int64)
        case promotes(epoch: Int64, server: Int, since: Int64)
        /// It has the new epoch, and still the old address.
        case tellsReplicas(server: Int, since: Int64)
    }

    private static let second: Int64 = 1_000_000_000
    private static let tick: Int64 = 100_000_000
    static let downAfter = 2 * second
    static let wrongRoleAfter = 8 * second
    /// A master that says for so long that it is a replica is down, too.
    static let noMasterAfter = downAfter + 20 * second
    /// How long the leader's record has the new epoch and the old address.
    private static let reconfiguration = second
    private static let electionTimeout = 2 * second
    private static let failoverTimeout = 6 * second

    let host: Host
    private let network: SimulatedNetwork
    let endpoint: ServerEndpoint
    private let source: World.Source
    private let servers: [SimulatedRedis]
    var peers: [SimulatedSentinel] = []
    private var visitors: [SentinelVisitor] = []

    private(set) var record: Record
    private var epoch: Int64 = 0
    private var failover: Failover?
    private var nextAttempt: Int64 = 0
    private var heardAt: [Int64]
    /// Since when a server has the wrong role, for all that is known.
    private var wrongSince: [Int64?]
    private var recordSince: Int64 = 0
    /// Until when another Sentinel's word that the master is down counts, by its name.
    private var agreeing: [String: Int64] = [:]

    init(_ host: Host, network: SimulatedNetwork, at endpoint: ServerEndpoint, servers: [SimulatedRedis], master: Int) {
        self.host = host
        self.network = network
        self.endpoint = endpoint
        self.source = network.world.makeSource(host, "sentinel")
        self.servers = servers
        self.record = Record(master: master, epoch: 0)
        self.heardAt = servers.map { _ in 0 }
        self.wrongSince = servers.map { _ in nil }
        network.listen(host, at: endpoint) { [unowned self] connection in
            let visitor = SentinelVisitor(sentinel: self, connection: connection)
            self.visitors.append(visitor)
            return visitor
        }
        self.later()
    }

    private var world: World { self.network.world }
    private var time: Int64 { self.world.time }

    /// What this Sentinel's record says beside address and epoch.
    var flags: String {
        var flags = ["master"]
        if self.isDown { flags.append("s_down") }
        if self.isAgreedDown { flags.append("o_down") }
        switch self.failover {
        case .asksReplicas, .promotes, .tellsReplicas: flags.append("failover_in_progress")
        case .asksForVotes, nil: break
        }
        return flags.joined(separator: ",")
    }

    /// Whether a failover could be ordered here without a second one of the same epoch.
    var isIdle: Bool { self.failover == nil && self.host.state == .runs }

    private var isDown: Bool { self.time - self.heardAt[self.record.master] > Self.downAfter }
    private var isAgreedDown: Bool {
        self.isDown && self.agreeing.values.filter { $0 > self.time }.count + 1 >= self.majority
    }
    private var majority: Int { (self.peers.count + 1) / 2 + 1 }

    // MARK: Time

    private func later() {
        self.world.enqueue(self.source, at: self.time + Self.tick) {
            self.look()
            self.later()
        }
    }

    private func look() {
        for index in self.servers.indices { self.ping(index) }
        for peer in self.peers { self.tell(peer) }
        if self.isDown { for peer in self.peers { self.askWhetherDown(peer) } }
        switch self.failover {
        case nil:
            if self.isAgreedDown, self.time >= self.nextAttempt { self.askForVotes() }
        case .asksForVotes(_, _, let since):
            if self.time - since > Self.electionTimeout { self.giveUp() }
        case .asksReplicas(let epoch, let found, let since):
            if self.time - since > 5 * Self.tick { self.promote(epoch, found) }
        case .promotes(_, _, let since):
            if self.time - since > Self.failoverTimeout { self.giveUp() }
        case .tellsReplicas(let server, let since):
            if self.time - since > Self.reconfiguration { self.switched(to: server) }
        }
    }

    private func giveUp() {
        self.failover = nil
        self.nextAttempt = self.time + 2 * Self.failoverTimeout + self.world.duration(0...Self.second)
    }

    // MARK: Servers

    private func ping(_ index: Int) {
        let server = self.servers[index]
        self.network.post(from: self.host, to: server.replication) {
            guard server.isRunning else { return }
            let role = server.role
            self.network.post(from: server.host, to: self.source) { self.heard(index, role) }
        }
    }

    private func heard(_ index: Int, _ role: SimulatedRedis.Role) {
        let isWrong = (role == .master) != (index == self.record.master)
        if isWrong, index == self.record.master {
            let since = self.wrongSince[index] ?? self.time
            self.wrongSince[index] = since
            if self.time - since < Self.noMasterAfter { self.heardAt[index] = self.time }
            return
        }
        self.heardAt[index] = self.time
        let isSettled = self.failover == nil && self.time - self.recordSince > Self.wrongRoleAfter && !self.isDown
        guard isWrong, isSettled else { return self.wrongSince[index] = nil }
        let since = self.wrongSince[index] ?? self.time
        self.wrongSince[index] = since
        if self.time - since > Self.wrongRoleAfter { self.order(index, toFollow: self.record.master) }
    }

    private func order(_ index: Int, toFollow master: Int) {
        let (server, leader) = (self.servers[index], self.servers[master])
        self.network.post(from: self.host, to: server.replication) {
            if server.isRunning { server.follow(leader) }
        }
    }

    // MARK: Other Sentinels

    /// What it knows of the master: the higher epoch counts.
    private func tell(_ peer: SimulatedSentinel) {
        let (record, epoch) = (self.record, self.epoch)
        guard !self.isReconfiguring else { return }
        self.network.post(from: self.host, to: peer.source) { peer.toldOf(record, epoch) }
    }

    private var isReconfiguring: Bool {
        if case .tellsReplicas = self.failover { true } else { false }
    }

    private func toldOf(_ record: Record, _ epoch: Int64) {
        self.epoch = max(self.epoch, epoch)
        guard record.epoch > self.record.epoch else { return }
        let old = self.record.master
        self.record = record
        self.recordSince = self.time
        self.wrongSince[record.master] = nil
        self.failover = nil
        if record.master != old { self.announce(from: old) }
    }

    private func askWhetherDown(_ peer: SimulatedSentinel) {
        let master = self.record.master
        self.network.post(from: self.host, to: peer.source) {
            guard peer.record.master == master, peer.isDown else { return }
            self.network.post(from: peer.host, to: self.source) {
                self.agreeing[peer.host.name] = self.time + 5 * Self.tick
            }
        }
    }

    private func askForVotes() {
        self.epoch += 1
        let epoch = self.epoch
        self.world.note(self.host, "asks for votes, epoch \(epoch)")
        self.failover = .asksForVotes(epoch: epoch, votes: 1, since: self.time)
        for peer in self.peers {
            self.network.post(from: self.host, to: peer.source) {
                guard epoch > peer.epoch else { return }
                // Its vote for this epoch: it gives no second one.
                peer.epoch = epoch
                peer.nextAttempt = max(peer.nextAttempt, peer.time + 2 * Self.failoverTimeout)
                self.network.post(from: peer.host, to: self.source) { self.gotVote(epoch) }
            }
        }
    }

    private func gotVote(_ voted: Int64) {
        guard case .asksForVotes(let epoch, let votes, let since) = self.failover, epoch == voted else { return }
        self.failover = .asksForVotes(epoch: epoch, votes: votes + 1, since: since)
        if votes + 1 >= self.majority { self.lead(epoch) }
    }

    // MARK: Failover

    /// As by SENTINEL FAILOVER: the master may be well.
    func orderFailover() {
        self.epoch += 1
        self.lead(self.epoch)
    }

    private func lead(_ epoch: Int64) {
        self.world.note(self.host, "leads a failover, epoch \(epoch)")
        self.failover = .asksReplicas(epoch: epoch, found: [], since: self.time)
        for (index, server) in self.servers.enumerated() where index != self.record.master {
            self.network.post(from: self.host, to: server.replication) {
                guard server.isRunning, server.role == .replica else { return }
                let offset = server.offset
                self.network.post(from: server.host, to: self.source) {
                    guard case .asksReplicas(epoch, var found, let since) = self.failover else { return }
                    found.append((index, offset))
                    self.failover = .asksReplicas(epoch: epoch, found: found, since: since)
                }
            }
        }
    }

    private func promote(_ epoch: Int64, _ found: [(server: Int, offset: Int64)]) {
        guard let best = found.max(by: { ($0.offset, -$0.server) < ($1.offset, -$1.server) })?.server else {
            return self.giveUp()
        }
        self.failover = .promotes(epoch: epoch, server: best, since: self.time)
        let server = self.servers[best]
        self.network.post(from: self.host, to: server.replication) {
            guard server.isRunning else { return }
            server.lead()
            self.network.post(from: server.host, to: self.source) { self.promoted(best) }
        }
    }

    private func promoted(_ index: Int) {
        guard case .promotes(let epoch, index, _) = self.failover else { return }
        self.record.epoch = epoch
        self.failover = .tellsReplicas(server: index, since: self.time)
        for other in self.servers.indices where other != index && other != self.record.master {
            self.order(other, toFollow: index)
        }
    }

    private func switched(to index: Int) {
        let old = self.record.master
        self.failover = nil
        self.record.master = index
        self.recordSince = self.time
        self.wrongSince[index] = nil
        self.announce(from: old)
    }

    // MARK: Clients

    private func announce(from old: Int) {
        let (before, after) = (self.servers[old].address, self.servers[self.record.master].address)
        self.world.note(self.host, "says that the master is \(after.host), epoch \(self.record.epoch)")
        let message = "mymaster \(before.host) \(before.port) \(after.host) \(after.port)"
        let push = ServerReply.push([.bulk("message"), .bulk("+switch-master"), .bulk(message)]).encoded()
        for visitor in self.visitors where visitor.isSubscribed { visitor.connection.say(push) }
    }

    fileprivate func closed(_ visitor: SentinelVisitor) { self.visitors.removeAll { $0 === visitor } }

    fileprivate func execute(_ words: [String], of visitor: SentinelVisitor) -> ServerReply {
        let address = self.servers[self.record.master].address
        switch (words[0].uppercased(), words.count > 1 ? words[1].uppercased() : "") {
        case ("HELLO", "3"):
            return .map([
                (Bytes("server".utf8), .bulk("redis")), (Bytes("version".utf8), .bulk("7.0.15")),
                (Bytes("proto".utf8), .integer(3)), (Bytes("id".utf8), .integer(1)),
                (Bytes("mode".utf8), .bulk("sentinel")), (Bytes("modules".utf8), .array([])),
            ])
        case ("PING", _): return .status("PONG")
        case ("SUBSCRIBE", "+SWITCH-MASTER"):
            visitor.isSubscribed = true
            return .push([.bulk("subscribe"), .bulk("+switch-master"), .integer(1)])
        case ("SENTINEL", "GET-MASTER-ADDR-BY-NAME"):
            return .array([.bulk(address.host), .bulk("\(address.port)")])
        case ("SENTINEL", "MASTER"):
            let fields = [
                ("name", "mymaster"), ("ip", address.host), ("port", "\(address.port)"), ("flags", self.flags),
                ("config-epoch", "\(self.record.epoch)"),
            ]
            return .map(fields.map { (Bytes($0.utf8), .bulk($1)) })
        case _: preconditionFailure("\(words) is not simulated")
        }
    }
}

private final class SentinelVisitor: SimulatedNetwork.Visitor {
    private unowned let sentinel: SimulatedSentinel
    let connection: SimulatedConnection
    private var parser = RequestParser()
    var isSubscribed = false

    init(sentinel: SimulatedSentinel, connection: SimulatedConnection) {
        self.sentinel = sentinel
        self.connection = connection
    }

    func received(_ bytes: ByteBuffer) {
        self.parser.received(bytes)
        while let request = self.parser.next() {
            let words = request.map { String(decoding: $0, as: UTF8.self) }
            self.connection.say(self.sentinel.execute(words, of: self).encoded())
        }
    }

    func closed() { self.sentinel.closed(self) }
}
