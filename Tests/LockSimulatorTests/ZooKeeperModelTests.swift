import NIOCore
import TestKit
import Testing
import ZooKeeperLocks

@testable import LockSimulator

/// The simulated ZooKeeper against a real one: the same requests, byte for byte, on the same sessions; the same answers, watch events and
/// transaction numbers. In between, sessions are closed, lost and attached again, and the server is killed and started again.
@Suite(.enabled(if: ZooKeeperServer.isRequired), .timeLimit(.minutes(10))) struct ZooKeeperModelTests {
    /// Containers are removed when the server thinks of it.
    private static let options = ZooKeeperServer.Options(
        tickMilliseconds: 1_000, properties: ["znode.container.checkIntervalMs": "86400000"])

    @Test(arguments: 1...4 as ClosedRange<UInt64>)
    func `random requests are answered as by a real server`(seed: UInt64) async throws {
        try await ZooKeeperServer.withServer(Self.options) { server in
            let both = BothZooKeepers(port: server.port, ZooKeeperRequests(generator: SeededGenerator(seed: seed)))
            defer { both.close() }
            for part in 1...3 {
                let difference = try await onThread { try both.difference(steps: 1_000) }
                try #require(difference == nil, "seed \(seed), part \(part): \(difference ?? "")")
                server.kill()
                try await server.start()
                try await onThread { try both.restarted() }
            }
        }
    }
}

/// The model and a real server, to which the same happens.
/// A test uses it on one thread at a time, and waits for that.
final class BothZooKeepers: @unchecked Sendable {
    private final class Client {
        let session: Int64
        let password: [UInt8]
        let timeout: Int32
        var connection: PlainZooKeeperConnection
        /// With the model.
        var visitor: Int
        var lastXid: Int32 = 0

        init(
            session: Int64, password: [UInt8], timeout: Int32, connection: PlainZooKeeperConnection, visitor: Int
        ) {
            self.session = session
            self.password = password
            self.timeout = timeout
            self.connection = connection
            self.visitor = visitor
        }
    }

    /// What a server has said until it answered, or closed.
    private struct Said: Equatable, CustomStringConvertible {
        /// In no order: that of several which one transaction fires is the server's affair.
        var events: [String] = []
        var replies: [String] = []
        var isClosed = false

        var description: String { "\(self.replies) \(self.events)\(self.isClosed ? " closed" : "")" }
    }

    private struct Difference: Error {
        let text: String
    }

    private let port: Int
    private let model = LoneZooKeeper()
    private var requests: ZooKeeperRequests
    private var clients: [Client] = []

    init(port: Int, _ requests: ZooKeeperRequests) {
        self.port = port
        self.requests = requests
    }

    func close() { for client in self.clients { client.connection.close() } }

    func difference(steps: Int) throws -> String? {
        var step = 0
        do {
            while self.clients.count < 3 { try self.newClient(timeout: 20_000) }
            while step < steps {
                step += 1
                try self.step()
            }
            return nil
        } catch let difference as Difference {
            return "step \(step): \(difference.text)"
        }
    }

    private func step() throws {
        let client = self.requests.pick(self.clients)
        switch self.requests.number(0...999) {
        case 0...9:
            try self.ask(client, .closeSession)
            self.forget(client)
            try self.newClient(timeout: 20_000)
        case 10...29:
            client.connection.close()
            self.model.leave(client.visitor)
            try self.attach(client, password: client.password)
        case 30...34: try self.attachWithWrongPassword(client)
        case 35: try self.silence()
        case 36...45: try self.ask(client, .authenticate(scheme: "digest", credentials: Array("me:secret".utf8)))
        case 46...50: try self.ask(client, .authenticate(scheme: "digest", credentials: Array("you:secret".utf8)))
        case _: try self.ask(client, self.requests.next())
        }
        // What the others were told meanwhile.
        for other in self.clients { try self.ask(other, .ping) }
    }

    // MARK: Sessions

    private func newClient(timeout: Int32) throws {
        let connection = try PlainZooKeeperConnection(port: self.port)
        let greeting = ConnectRequest(
            lastZxidSeen: self.requests.zxid, timeoutMilliseconds: timeout, sessionID: 0,
            password: [UInt8](repeating: 0, count: 16))
        let real = try self.greet(connection, greeting)
        self.model.nextSession = real?.sessionID ?? 0
        let visitor = self.model.connect()
        let modelled = try self.greet(visitor, greeting)
        guard let real, let modelled, real.timeoutMilliseconds == modelled.timeoutMilliseconds else {
            throw Difference(text: "a new session is \(modelled as Any) instead of \(real as Any)")
        }
        self.clients.append(
            Client(
                session: real.sessionID, password: real.password, timeout: real.timeoutMilliseconds,
                connection: connection, visitor: visitor))
    }

    private func forget(_ client: Client) {
        client.connection.close()
        self.clients.removeAll { $0 === client }
    }

    private func attach(_ client: Client, password: [UInt8]) throws {
        client.connection = try PlainZooKeeperConnection(port: self.port)
        client.visitor = self.model.connect()
        client.lastXid = 0
        var greeting = ConnectRequest(
            lastZxidSeen: self.requests.zxid, timeoutMilliseconds: client.timeout, sessionID: client.session,
            password: password)
        let real = try self.greet(client.connection, greeting)
        let isRight = password == client.password
        greeting.password = isRight ? ZooKeeperService.password(of: client.session) : [1]
        let modelled = try self.greet(client.visitor, greeting)
        guard real?.timeoutMilliseconds == modelled?.timeoutMilliseconds, real?.sessionID == modelled?.sessionID else {
            throw Difference(text: "attached again it is \(modelled as Any) instead of \(real as Any)")
        }
        if real?.sessionID == client.session { try self.ask(client, self.requests.watches()) }
    }

    private func attachWithWrongPassword(_ client: Client) throws {
        client.connection.close()
        self.model.leave(client.visitor)
        try self.attach(client, password: [UInt8](repeating: 9, count: 16))
        client.connection.close()
        try self.attach(client, password: client.password)
    }

    /// A session ends because nothing is heard of it.
    private func silence() throws {
        try self.newClient(timeout: 1)
        guard let client = self.clients.popLast() else { return }
        let path = "/a/silent-\(client.session)"
        try self.ask(client, .create(path: path, data: [], access: .open, mode: .ephemeral))
        let isThere = try self.exists(path)
        client.connection.close()
        self.model.leave(client.visitor)
        while isThere, try self.exists(path) {}
        self.model.end(allBut: self.clients.map(\.session))
        for other in self.clients { try self.ask(other, .ping) }
    }

    /// Asks the real server alone, without any effect. All others give a sign of life.
    private func exists(_ path: String) throws -> Bool {
        for client in self.clients {
            var bytes = ByteBuffer()
            client.lastXid += 1
            let request = ZooKeeperRequest.exists(path: path)
            request.writeFrame(xid: client.lastXid, into: &bytes)
            try client.connection.send(Array(bytes.readableBytesView))
            // Events that come now are those of the end of the session; they are told to both.
            let said = try self.real(client, until: client.lastXid, request)
            self.early[ObjectIdentifier(client), default: []] += said.events
            if said.replies.last?.contains("NoNode") == true { return false }
        }
        return true
    }

    /// What the real server has told before it was asked for.
    private var early: [ObjectIdentifier: [String]] = [:]

    /// The server was killed, and has started again.
    func restarted() throws {
        self.model.restart()
        for client in self.clients {
            client.connection.close()
            try self.attach(client, password: client.password)
        }
    }

    // MARK: Asking both

    private func greet(_ connection: PlainZooKeeperConnection, _ request: ConnectRequest) throws -> ConnectResponse? {
        var bytes = ByteBuffer()
        request.writeFrame(into: &bytes)
        try connection.send(Array(bytes.readableBytesView))
        guard let frame = try connection.frame() else { return nil }
        var reader = JuteReader(ByteBuffer(bytes: frame))
        return try ConnectResponse(from: &reader)
    }

    private func greet(_ visitor: Int, _ request: ConnectRequest) throws -> ConnectResponse? {
        var bytes = ByteBuffer()
        request.writeFrame(into: &bytes)
        self.model.send(bytes, as: visitor)
        guard let frame = self.model.frame(visitor) else { return nil }
        var reader = JuteReader(frame)
        return try ConnectResponse(from: &reader)
    }

    private func ask(_ client: Client, _ request: ZooKeeperRequest) throws {
        var bytes = ByteBuffer()
        client.lastXid += 1
        let xid = request.fixedXid ?? client.lastXid
        request.writeFrame(xid: client.lastXid, into: &bytes)
        try client.connection.send(Array(bytes.readableBytesView))
        self.model.send(bytes, as: client.visitor)
        var real = try self.real(client, until: xid, request)
        real.events = (real.events + (self.early.removeValue(forKey: ObjectIdentifier(client)) ?? [])).sorted()
        var modelled = Said()
        while let frame = self.model.frame(client.visitor) { try self.note(frame, request, in: &modelled) }
        modelled.isClosed = modelled.replies.isEmpty && self.model.isGone(client.visitor)
        modelled.events.sort()
        guard real == modelled else {
            throw Difference(text: "\(request): \(modelled) instead of \(real)")
        }
    }

    private func real(_ client: Client, until xid: Int32, _ request: ZooKeeperRequest) throws -> Said {
        var said = Said()
        while let frame = try client.connection.frame() {
            if try self.note(ByteBuffer(bytes: frame), request, in: &said) == xid { return said }
        }
        said.isClosed = true
        return said
    }

    /// Returns its number.
    @discardableResult
    private func note(_ frame: ByteBuffer, _ request: ZooKeeperRequest, in said: inout Said) throws -> Int32 {
        var reader = JuteReader(frame)
        let header = try ReplyHeader(from: &reader)
        if header.xid == ZooKeeperRequest.watchXid {
            let event = try WatchEvent(from: &reader)
            said.events.append("\(event.kind) \(event.path) \(event.state)")
            return header.xid
        }
        if header.zxid > 0 { self.requests.zxid = max(self.requests.zxid, header.zxid) }
        let start = "\(header.xid) at \(header.zxid): "
        guard header.error == .ok else {
            said.replies.append(start + "\(header.error)")
            return header.xid
        }
        let answer = try ZooKeeperAnswer(to: request, from: &reader)
        if case .created(let path, _) = answer { self.requests.made = [path] + self.requests.made.prefix(7) }
        said.replies.append(start + "\(self.comparable(answer))")
        return header.xid
    }

    /// Without times, and children in their order.
    private func comparable(_ answer: ZooKeeperAnswer) -> ZooKeeperAnswer {
        switch answer {
        case .created(let path, let stat): .created(path: path, stat: self.timeless(stat))
        case .stat(let stat): .stat(self.timeless(stat))
        case .data(let data, let stat): .data(data, self.timeless(stat))
        case .children(let names, let stat): .children(names.sorted(), self.timeless(stat))
        case .multi(let parts):
            .multi(
                parts.map { part in
                    switch part {
                    case .created(let path, let stat): .created(path: path, stat: stat.map { self.timeless($0) })
                    case .stat(let stat): .stat(self.timeless(stat))
                    case .done, .failed: part
                    }
                })
        case .path, .done: answer
        }
    }

    private func timeless(_ stat: NodeStat) -> NodeStat {
        var stat = stat
        stat.ctime = 0
        stat.mtime = 0
        return stat
    }
}
