import LockKernel
import LockTransport
import NIOCore

/// Connections between the hosts of a world.
final class SimulatedNetwork {
    /// A server's end of a connection.
    protocol Visitor: AnyObject {
        func received(_ bytes: ByteBuffer)
        /// The client is gone.
        func closed()
    }

    /// Something else that waits for ways to be open.
    protocol Held: AnyObject {
        func unblocked()
    }

    private struct Listener {
        let host: Host
        let source: World.Source
        let accept: (SimulatedConnection) -> any Visitor
    }

    let world: World
    private var listeners: [ServerEndpoint: Listener] = [:]
    private(set) var connections: [SimulatedConnection] = []
    private var held: [any Held] = []
    /// Between these hosts nothing arrives any more, and nothing is lost: it comes when the way is open again.
    private var blocked: Set<String> = []
    /// How long bytes are on their way, in nanoseconds.
    var latency: ClosedRange<Int64> = 20_000...400_000

    init(_ world: World) { self.world = world }

    // MARK: Servers

    /// - Parameter accept: called with each connection, on that host.
    func listen(_ host: Host, at endpoint: ServerEndpoint, accept: @escaping (SimulatedConnection) -> any Visitor) {
        self.listeners[endpoint] = Listener(
            host: host, source: self.world.makeSource(host, "socket"), accept: accept)
        host.ended.append { [weak self] in self?.stopListening(host, at: endpoint) }
    }

    /// Who has a connection there is told that it is reset.
    func stopListening(_ host: Host, at endpoint: ServerEndpoint) {
        self.listeners[endpoint] = nil
        for connection in self.connections where connection.server === host { connection.cut() }
    }

    /// What a process on this host sees of the world.
    func environment(of host: Host) -> NetworkEnvironment {
        NetworkEnvironment(host.makeEnvironment(), connector: SimulatedConnector(network: self, host: host))
    }

    /// Something that servers say to each other. It is lost where there is no way: they say it again.
    func post(from host: Host, to source: World.Source, _ body: @escaping () -> Void) {
        guard !self.isBlocked(host, source.host) else { return }
        self.world.enqueue(source, at: self.world.time + self.world.duration(self.latency), body)
    }

    // MARK: Faults

    private static func way(_ one: Host, _ other: Host) -> String {
        one.name < other.name ? "\(one.name) \(other.name)" : "\(other.name) \(one.name)"
    }

    func isBlocked(_ one: Host, _ other: Host) -> Bool {
        !self.blocked.isEmpty && self.blocked.contains(Self.way(one, other))
    }

    func block(_ one: Host, _ other: Host) {
        self.world.note(one, "no way to \(other.name)")
        self.blocked.insert(Self.way(one, other))
    }

    func unblock(_ one: Host, _ other: Host) {
        guard self.blocked.remove(Self.way(one, other)) != nil else { return }
        self.world.note(one, "has a way to \(other.name) again")
        for connection in self.connections { connection.unblocked() }
        for other in self.held { other.unblocked() }
    }

    func holds(_ other: any Held) { self.held.append(other) }

    func holdsNoLonger(_ other: any Held) { self.held.removeAll { $0 === other } }

    /// Ends all connections between two hosts: both are told.
    func cut(_ one: Host, _ other: Host) {
        for connection in self.connections where connection.isBetween(one, other) { connection.cut() }
    }

    func forget(_ connection: SimulatedConnection) { self.connections.removeAll { $0 === connection } }

    // MARK: Connecting

    fileprivate func connect(_ attempt: SimulatedAttempt, from host: Host, to target: ConnectTarget) {
        let world = self.world
        let timeout = world.time + Int64(clamping: target.timeout.attoseconds / 1_000_000_000)
        guard let listener = self.listeners[target.endpoint] else {
            return attempt.loop.execute(at: world.time + world.duration(self.latency)) {
                attempt.fail(IOError(errnoCode: ECONNREFUSED, reason: "connect"))
            }
        }
        guard !self.isBlocked(host, listener.host), listener.host.state != .isDead else {
            return attempt.loop.execute(at: timeout) {
                attempt.fail(ChannelError.connectTimeout(TimeAmount(target.timeout)))
            }
        }
        let connection = SimulatedConnection(
            network: self, client: host, clientLoop: attempt.loop, server: listener.host, serverSource: listener.source)
        self.connections.append(connection)
        // The kernel of the server accepts, whatever its process does. That one hears of it before anything is sent to it.
        let arrival = world.time + world.duration(self.latency)
        connection.toServerUntil = arrival
        attempt.loop.execute(at: arrival + world.duration(self.latency)) { attempt.succeed(connection) }
        world.enqueue(listener.source, at: arrival) {
            connection.accepted(listener.accept)
        }
    }
}

/// Bytes between a client's channel and a server. Each way keeps its order.
final class SimulatedConnection {
    private unowned let network: SimulatedNetwork
    let client: Host
    let server: Host
    let clientLoop: SimulatedEventLoop
    private let serverSource: World.Source
    fileprivate var channel: SimulatedChannel?
    private var visitor: (any SimulatedNetwork.Visitor)?
    private var isOpen = true
    /// When the last bytes of each way arrive.
    fileprivate var toServerUntil: Int64 = 0
    private var toClientUntil: Int64 = 0
    /// What waits until the way is open.
    private var held: [() -> Void] = []

    fileprivate init(
        network: SimulatedNetwork, client: Host, clientLoop: SimulatedEventLoop, server: Host,
        serverSource: World.Source
    ) {
        self.network = network
        self.client = client
        self.clientLoop = clientLoop
        self.server = server
        self.serverSource = serverSource
    }

    func isBetween(_ one: Host, _ other: Host) -> Bool {
        self.client === one && self.server === other || self.client === other && self.server === one
    }

    fileprivate func accepted(_ visit: (SimulatedConnection) -> any SimulatedNetwork.Visitor) {
        guard self.isOpen else { return }
        self.visitor = visit(self)
    }

    private func arrival(after earlier: inout Int64) -> Int64 {
        let world = self.network.world
        earlier = max(earlier + 1, world.time + world.duration(self.network.latency))
        return earlier
    }

    private func send(_ body: @escaping () -> Void) {
        if self.network.isBlocked(self.client, self.server) { self.held.append(body) } else { body() }
    }

    fileprivate func unblocked() {
        guard !self.network.isBlocked(self.client, self.server) else { return }
        let held = self.held
        self.held = []
        for body in held { body() }
    }

    // MARK: The client's end

    /// - Returns: whether it could be written: a connection that the other end has reset is found out by that.
    func clientSent(_ bytes: ByteBuffer) -> Bool {
        guard self.isOpen else { return false }
        self.send {
            let time = self.arrival(after: &self.toServerUntil)
            self.network.world.enqueue(self.serverSource, at: time) { if self.isOpen { self.visitor?.received(bytes) } }
        }
        return true
    }

    func clientClosed() {
        self.channel = nil
        self.send {
            let time = self.arrival(after: &self.toServerUntil)
            self.network.world.enqueue(self.serverSource, at: time) { self.closed() }
        }
    }

    private func closed() {
        guard self.isOpen else { return }
        self.isOpen = false
        self.network.forget(self)
        exchange(&self.visitor, with: nil)?.closed()
    }

    // MARK: The server's end

    /// Sends to the client.
    func say(_ bytes: ByteBuffer) {
        guard self.isOpen else { return }
        self.send {
            let time = self.arrival(after: &self.toClientUntil)
            self.clientLoop.execute(at: time) { self.channel?.received(bytes) }
        }
    }

    /// Ends it from the server's side.
    func close() {
        guard self.isOpen else { return }
        self.send {
            let time = self.arrival(after: &self.toClientUntil)
            self.clientLoop.execute(at: time) { self.channel?.ended(nil) }
        }
        self.closed()
    }

    /// Both ends find it broken, whatever was on its way.
    func cut() {
        guard self.isOpen else { return }
        self.isOpen = false
        self.held = []
        self.network.forget(self)
        let world = self.network.world
        self.clientLoop.execute(at: world.time + world.duration(self.network.latency)) {
            self.channel?.ended(IOError(errnoCode: ECONNRESET, reason: "read"))
        }
        world.enqueue(self.serverSource, at: world.time + world.duration(self.network.latency)) {
            exchange(&self.visitor, with: nil)?.closed()
        }
    }
}

private struct SimulatedConnector: Connector, @unchecked Sendable {
    let network: SimulatedNetwork
    let host: Host

    func connect(
        to target: ConnectTarget,
        on eventLoop: any EventLoop,
        opened: @escaping (any Channel) -> Void,
        finished: @escaping (Result<any Channel, any Error>) -> Void
    ) -> any ConnectAttempt {
        guard let loop = eventLoop as? SimulatedEventLoop else { preconditionFailure("a loop that is not of a world") }
        let attempt = SimulatedAttempt(loop: loop, opened: opened, finished: finished)
        self.network.connect(attempt, from: self.host, to: target)
        return attempt
    }
}

private final class SimulatedAttempt: ConnectAttempt {
    let loop: SimulatedEventLoop
    private let opened: (any Channel) -> Void
    private var finished: ((Result<any Channel, any Error>) -> Void)?

    init(
        loop: SimulatedEventLoop, opened: @escaping (any Channel) -> Void,
        finished: @escaping (Result<any Channel, any Error>) -> Void
    ) {
        self.loop = loop
        self.opened = opened
        self.finished = finished
    }

    func succeed(_ connection: SimulatedConnection) {
        guard let finished = self.finished.take() else { return connection.clientClosed() }
        let channel = SimulatedChannel(self.loop, connection)
        connection.channel = channel
        self.opened(channel)
        channel.activate()
        finished(.success(channel))
    }

    func fail(_ error: any Error) { self.finished.take()?(.failure(error)) }

    func abandon() { self.finished = nil }
}
