import LockTransport
import NIOCore

/// A Redis of version 7 with one database, as far as the shipped clients and scripts use it. The scripts run in a real Lua; the commands
/// that they call are those of ``RedisKeyspace``.
final class SimulatedRedis: SimulatedServer {
    enum Persistence: String, CaseIterable, Sendable {
        /// A server that restarts has forgotten everything.
        case none
        /// Of the last second before a crash nothing is kept.
        case everySecond
        case always
    }

    enum Role: Sendable { case master, replica }

    let host: Host
    private let network: SimulatedNetwork
    private let endpoint: ServerEndpoint
    private let persistence: Persistence
    private let disk: World.Source
    private let data: RedisData
    private var runID = ""
    private var visitors: [Visitor] = []
    private var connectionCount: Int64 = 0
    /// What is on the disk.
    private var saved = RedisKeyspace()
    private var isSaveScheduled = false
    private(set) var isRunning = false
    /// It refuses all commands that write.
    private var isRefusing = false
    private(set) var role = Role.master
    /// Whose data it takes over, while it is a replica.
    private var leader: SimulatedRedis?
    /// How much of the data's history it has. Of two that have the same leader, more is more of the same.
    private(set) var offset: Int64 = 0
    /// How much of its leader's it had last; `nil`: nothing yet.
    private var synchronised: Int64?
    private var replicas: [SimulatedRedis] = []
    /// Where what other servers say arrives.
    let replication: World.Source

    func setRefusing(_ isRefusing: Bool) {
        self.isRefusing = isRefusing
        self.judge()
    }

    private func judge() {
        self.data.refusal =
            switch self.role {
            case .replica: "READONLY You can't write against a read only replica."
            case .master: self.isRefusing ? "MISCONF Errors writing to the AOF file" : nil
            }
    }

    /// Where it is, for Sentinels.
    var address: (host: String, port: Int) {
        guard case .tcp(let host, let port) = self.endpoint else { preconditionFailure("a server with a name") }
        return (host, port)
    }

    init(_ host: Host, network: SimulatedNetwork, at endpoint: ServerEndpoint, persistence: Persistence) throws {
        self.host = host
        self.network = network
        self.endpoint = endpoint
        self.persistence = persistence
        self.disk = network.world.makeSource(host, "disk")
        self.replication = network.world.makeSource(host, "replication")
        self.data = try RedisData()
        self.data.publish = { [unowned self] in self.publish($1, to: $0) }
        self.data.changed = { [unowned self] in self.changed() }
        self.start()
    }

    /// For what is left behind.
    func keys() -> [String] {
        self.data.keyspace.now = self.host.wallClock
        return self.data.keyspace.keys().map { String(decoding: $0, as: UTF8.self) }
    }

    /// Whose places in queues are still counted: their registrations have not ended. A queue of others is taken away by who comes next.
    func waiters() -> [String] {
        self.data.keyspace.now = self.host.wallClock
        let now = self.data.keyspace.now / 1_000
        return self.data.keyspace.keys().flatMap { key in
            String(decoding: key, as: UTF8.self).hasPrefix("dlock.waiters:") ? self.data.keyspace.fields(of: key) : []
        }.compactMap { field, value in
            let end = Int64(String(decoding: value.prefix(13), as: UTF8.self)) ?? .max
            return end > now ? String(decoding: field, as: UTF8.self) : nil
        }
    }

    /// For people who look for what went wrong.
    func dump() -> String {
        self.data.keyspace.now = self.host.wallClock
        let ticks =
            (self.data.keyspace.now / 1_000_000 - 1_735_689_600) * 62_500 + self.data.keyspace.now % 1_000_000 / 16
        return "\(self.host.name) at \(ticks): "
            + self.data.keyspace.keys().map { key in
                let text = String(decoding: key, as: UTF8.self)
                guard case .bulk(let value)? = self.data.keyspace.execute("GET", [Bytes("GET".utf8), key]) else {
                    return text
                }
                return "\(text)=\(String(decoding: value, as: UTF8.self))"
            }.joined(separator: " | ")
    }

    // MARK: Its life

    func start() {
        precondition(!self.isRunning)
        self.isRunning = true
        self.data.keyspace = self.saved
        self.data.forgetScripts()
        self.runID = (0..<40).map { _ in String(self.network.world.generator.next(upTo: 16), radix: 16) }.joined()
        self.network.world.note(self.host, "starts")
        self.replicas = []
        self.synchronised = nil
        self.synchronise()
        self.network.listen(self.host, at: self.endpoint) { [unowned self] connection in
            let visitor = Visitor(server: self, connection: connection)
            self.visitors.append(visitor)
            return visitor
        }
    }

    /// As by SIGKILL: its connections are reset.
    func crash() {
        guard self.isRunning else { return }
        self.isRunning = false
        self.network.world.note(self.host, "crashes")
        self.network.stopListening(self.host, at: self.endpoint)
        self.visitors = []
        if self.persistence == .none { self.saved = RedisKeyspace() }
    }

    // MARK: Replication

    /// It is the master from now on.
    func lead() {
        guard self.role == .replica else { return }
        self.network.world.note(self.host, "is a master")
        self.role = .master
        self.leader = nil
        self.judge()
    }

    /// It takes over another one's data from now on, whatever it has. Its clients are sent away, as Sentinels have it done.
    func follow(_ leader: SimulatedRedis) {
        guard self.leader !== leader, leader !== self else { return }
        self.network.world.note(self.host, "is a replica of \(leader.host.name)")
        self.leader?.replicas.removeAll { $0 === self }
        self.role = .replica
        self.leader = leader
        self.synchronised = nil
        self.judge()
        for visitor in self.visitors { visitor.connection.cut() }
        self.visitors = []
        self.synchronise()
    }

    /// Asks its leader for what it may have missed, and again after a second, as long as it follows that one.
    private func synchronise() {
        guard self.isRunning, let leader = self.leader else { return }
        self.network.post(from: self.host, to: leader.replication) {
            guard leader.isRunning else { return }
            if !leader.replicas.contains(where: { $0 === self }) { leader.replicas.append(self) }
            leader.replicate(to: self)
        }
        self.network.world.enqueue(self.replication, at: self.network.world.time + 1_000_000_000) {
            if self.leader === leader { self.synchronise() }
        }
    }

    private func replicate(to replica: SimulatedRedis) {
        let (data, offset) = (self.data.keyspace, self.offset)
        self.network.post(from: self.host, to: replica.replication) {
            guard replica.isRunning, replica.leader === self, offset > replica.synchronised ?? -1 else { return }
            replica.synchronised = offset
            replica.offset = offset
            replica.data.keyspace = data
            replica.save()
        }
    }

    private func changed() {
        self.offset += 1
        self.replicas.removeAll { $0.leader !== self }
        for replica in self.replicas { self.replicate(to: replica) }
        self.save()
    }

    private func save() {
        switch self.persistence {
        case .none: break
        case .always: self.saved = self.data.keyspace
        case .everySecond:
            guard !self.isSaveScheduled else { return }
            self.isSaveScheduled = true
            let data = self.runID
            self.network.world.enqueue(self.disk, at: self.network.world.time + 1_000_000_000) {
                self.isSaveScheduled = false
                if self.isRunning, data == self.runID { self.saved = self.data.keyspace }
            }
        }
    }

    /// What is asked and answered, for whoever wants to see all of it.
    private func tell(_ request: [Bytes], _ answer: ServerReply, _ client: Host) {
        guard self.network.world.trace.hasConversations else { return }
        let words = request.map { word in
            let text = String(decoding: word.prefix(60), as: UTF8.self)
            return text.contains("\n") ? "…" : text
        }
        let reply = String(buffer: answer.encoded()).split(separator: "\r\n").joined(separator: " ")
        self.network.world.note(
            self.host, "\(client.name) asks \(words.joined(separator: " ")) -> \(reply.prefix(200))")
    }

    // MARK: Connections

    private final class Visitor: SimulatedNetwork.Visitor {
        private unowned let server: SimulatedRedis
        let connection: SimulatedConnection
        var parser = RequestParser()
        var channels: Set<Bytes> = []
        let id: Int64

        init(server: SimulatedRedis, connection: SimulatedConnection) {
            self.server = server
            self.connection = connection
            server.connectionCount += 1
            self.id = server.connectionCount
        }

        func received(_ bytes: ByteBuffer) {
            self.parser.received(bytes)
            while let request = self.parser.next() {
                let answer = self.server.execute(request, of: self)
                self.server.tell(request, answer, self.connection.client)
                self.connection.say(answer.encoded())
            }
        }

        func closed() { self.server.visitors.removeAll { $0 === self } }
    }

    // MARK: Commands

    private func execute(_ words: [Bytes], of visitor: Visitor) -> ServerReply {
        let text = words.map { String(decoding: $0, as: UTF8.self) }
        self.data.keyspace.now = self.host.wallClock
        switch text[0].uppercased() {
        case "HELLO":
            precondition(text[1] == "3" && !text.contains("AUTH"), "\(text) is not simulated")
            return .map([
                (Bytes("server".utf8), .bulk("redis")), (Bytes("version".utf8), .bulk("7.0.15")),
                (Bytes("proto".utf8), .integer(3)), (Bytes("id".utf8), .integer(visitor.id)),
                (Bytes("mode".utf8), .bulk("standalone")),
                (Bytes("role".utf8), .bulk(self.role == .master ? "master" : "replica")),
                (Bytes("modules".utf8), .array([])),
            ])
        case "PING": return .status("PONG")
        case "SUBSCRIBE":
            precondition(words.count == 2, "one channel at a time is simulated")
            visitor.channels.insert(words[1])
            return .push([.bulk("subscribe"), .bulk(words[1]), .integer(Int64(visitor.channels.count))])
        case "INFO":
            let lines = [
                "run_id:\(self.runID)", "role:\(self.role == .master ? "master" : "slave")",
                "maxmemory_policy:noeviction",
                "aof_enabled:\(self.persistence == .none ? 0 : 1)", "",
            ]
            return .bulk(lines.joined(separator: "\r\n"))
        case "CONFIG":
            precondition(text.dropFirst() == ["GET", "save"], "\(text) is not simulated")
            return .map([(Bytes("save".utf8), .bulk(""))])
        case _:
            guard let reply = self.data.execute(words) else { preconditionFailure("\(text) is not simulated") }
            return reply
        }
    }

    private func publish(_ message: Bytes, to channel: Bytes) -> Int64 {
        let readers = self.visitors.filter { $0.channels.contains(channel) }
        for reader in readers {
            reader.connection.say(ServerReply.push([.bulk("message"), .bulk(channel), .bulk(message)]).encoded())
        }
        return Int64(readers.count)
    }
}
