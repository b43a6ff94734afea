import LockTransport
import NIOCore
import ZooKeeperLocks

/// One server of an ensemble, or one that is alone: its clients, its life, and what it is to the others. Whatever it has written it keeps.
final class SimulatedZooKeeper: SimulatedServer {
    enum Role {
        case stopped
        /// It serves nobody, and looks for a leader.
        case looking
        case following(ZooKeeperFollower)
        case leading(ZooKeeperLeader)
    }

    let number: Int
    let host: Host
    let network: SimulatedNetwork
    let endpoint: ServerEndpoint
    let settings: ZooKeeperSettings
    /// What comes from other servers.
    let peers: World.Source
    let timers: World.Source
    private let disk: World.Source
    unowned let ensemble: ZooKeeperEnsemble
    private(set) var service: ZooKeeperService!
    private(set) var role = Role.stopped
    /// It follows nobody who was elected before.
    var acceptedEpoch: Int64 = 0
    private var life: UInt64 = 0
    private var visitors: [Int: SimulatedConnection] = [:]
    private var lastVisitor = 0
    private var lastSession: Int64 = 0
    private var diskUntil: Int64 = 0

    init(_ number: Int, _ host: Host, _ ensemble: ZooKeeperEnsemble) {
        let world = ensemble.network.world
        self.number = number
        self.host = host
        self.ensemble = ensemble
        self.network = ensemble.network
        self.settings = ensemble.settings
        self.endpoint = .tcp(host: host.name, port: 2181)
        self.peers = world.makeSource(host, "peers")
        self.timers = world.makeSource(host, "timers")
        self.disk = world.makeSource(host, "disk")
    }

    private var world: World { self.network.world }

    var isRunning: Bool { if case .stopped = self.role { false } else { true } }

    /// By the clock that its timeouts go by.
    var now: Int64 { self.world.time + self.host.bootTime }

    /// What it has written, in the order of what was agreed on.
    var lastZxid: Int64 { self.service.data.lastZxid }

    var isServing: Bool {
        switch self.role {
        case .stopped, .looking: false
        case .following(let follower): follower.isServing
        case .leading(let leader): leader.isActive
        }
    }

    // MARK: Its life

    func start() {
        precondition(!self.isRunning)
        self.life += 1
        self.world.note(self.host, "starts")
        self.service = ZooKeeperService(
            self.service?.data ?? ZooKeeperData(), timeouts: self.settings.sessionTimeouts,
            firstNumber: self.life << 32, self.surroundings)
        // As real ones: the server, some of the time, and a counter.
        let time = (UInt64(self.host.wallClock / 1_000) << 24) >> 8
        self.lastSession = Int64(self.number) << 56 | Int64(time)
        self.network.listen(self.host, at: self.endpoint) { [unowned self] connection in
            self.lastVisitor += 1
            let visitor = Visitor(self, self.lastVisitor)
            self.visitors[visitor.number] = connection
            self.service.came(visitor.number)
            return visitor
        }
        self.role = .looking
        self.ensemble.isLooking(self)
    }

    func crash() {
        guard self.isRunning else { return }
        self.world.note(self.host, "crashes")
        self.endRole()
        self.role = .stopped
        self.network.stopListening(self.host, at: self.endpoint)
        self.visitors = [:]
    }

    func setRefusing(_ isRefusing: Bool) { self.service.isThrottling = isRefusing }

    func dump() -> String {
        "\(self.host.name) \(self.role.words) at 0x\(String(self.lastZxid, radix: 16)): "
            + self.service.data.tree.paths().joined(separator: " ")
    }

    // MARK: Its role

    func lead(_ leader: ZooKeeperLeader) {
        guard case .looking = self.role else { return }
        self.world.note(self.host, "leads epoch \(leader.epoch)")
        self.role = .leading(leader)
        leader.begin()
    }

    func follow(_ leader: ZooKeeperLeader) {
        guard case .looking = self.role else { return }
        self.world.note(self.host, "follows \(leader.server.host.name)")
        let follower = ZooKeeperFollower(self, leader)
        self.role = .following(follower)
        follower.begin()
    }

    /// It has lost its leader, or its followers: nobody is served until it has others.
    func look(_ reason: String) {
        self.world.note(self.host, "looks for a leader: \(reason)")
        self.endRole()
        self.role = .looking
        self.ensemble.isLooking(self)
    }

    private func endRole() {
        let written: [ZooKeeperTransaction]
        switch self.role {
        case .stopped, .looking: written = []
        case .following(let follower): written = follower.end()
        case .leading(let leader): written = leader.end()
        }
        self.service.turnAllAway()
        // It goes on with all that it has written: that the others have agreed to it is found out by the election.
        for transaction in written { self.service.applied(transaction, as: nil) }
    }

    /// Something is written to the disk: after what was written before.
    func write(_ body: @escaping () -> Void) {
        let life = self.life
        self.diskUntil = max(self.diskUntil, self.world.time) + self.world.duration(20_000...1_500_000)
        self.world.enqueue(self.disk, at: self.diskUntil) { if self.life == life, self.isRunning { body() } }
    }

    /// Later, by its own clock, if it has not ended until then.
    func after(_ nanoseconds: Int64, _ body: @escaping () -> Void) {
        let life = self.life
        self.world.enqueue(self.timers, at: self.world.time + nanoseconds) {
            if self.life == life, self.isRunning { body() }
        }
    }

    // MARK: Its clients

    private final class Visitor: SimulatedNetwork.Visitor {
        private unowned let server: SimulatedZooKeeper
        let number: Int

        init(_ server: SimulatedZooKeeper, _ number: Int) {
            self.server = server
            self.number = number
        }

        func received(_ bytes: ByteBuffer) {
            guard self.server.visitors[self.number] != nil else { return }
            // Whoever comes to a server that has no leader is turned away.
            guard self.server.isServing else { return self.server.close(self.number) }
            self.server.service.received(bytes, from: self.number)
        }

        func closed() {
            guard self.server.visitors.removeValue(forKey: self.number) != nil else { return }
            self.server.service.left(self.number)
        }
    }

    private func close(_ visitor: Int) { self.visitors.removeValue(forKey: visitor)?.close() }

    private var surroundings: ZooKeeperService.Surroundings {
        ZooKeeperService.Surroundings(
            send: { [unowned self] in self.visitors[$0]?.say($1) },
            close: { [unowned self] in self.close($0) },
            submit: { [unowned self] in self.submit($0, $1) },
            touch: { [unowned self] in self.touch($0, $1) },
            objection: { [unowned self] session in
                if case .leading(let leader) = self.role { leader.objection(to: session) } else { nil }
            },
            revalidate: { [unowned self] in self.revalidate($0, $1, $2) },
            newSession: { [unowned self] in
                self.lastSession += 1
                return self.lastSession
            },
            shuffle: { [unowned self] in $0.shuffled(using: &self.world.generator) },
            tell: { [unowned self] visitor, text in
                guard self.world.trace.hasConversations, let client = self.visitors[visitor]?.client else { return }
                self.world.note(self.host, "\(client.name) \(text())")
            })
    }

    private func submit(_ submission: ZooKeeperSubmission, _ request: UInt64) {
        let origin = ZooKeeperTransaction.Origin(server: self.number, request: request)
        switch self.role {
        case .leading(let leader): leader.requested(submission, from: nil, origin)
        case .following(let follower): follower.request(submission, origin)
        case .stopped, .looking: preconditionFailure("a server that serves nobody was asked")
        }
    }

    private func touch(_ session: Int64, _ timeout: Int32) -> Bool {
        switch self.role {
        case .leading(let leader): return leader.touched([(session, timeout)])
        case .following(let follower):
            follower.touch(session, timeout)
            return true
        case .stopped, .looking: return false
        }
    }

    private func revalidate(_ session: Int64, _ timeout: Int32, _ visitor: Int) {
        switch self.role {
        case .leading(let leader):
            let isAlive = leader.attached(session, timeout, to: nil)
            self.service.revalidated(session, of: visitor, isAlive: isAlive)
        case .following(let follower): follower.revalidate(session, timeout, visitor)
        case .stopped, .looking: preconditionFailure("a server that serves nobody was asked")
        }
    }
}

extension SimulatedZooKeeper.Role {
    var words: String {
        switch self {
        case .stopped: "is stopped"
        case .looking: "looks"
        case .following(let follower): "follows \(follower.leader.server.host.name)"
        case .leading(let leader): "leads epoch \(leader.epoch)"
        }
    }
}
