import LockKernel
import LockTransport
import Logging
import NIOCore

/// What a server answered.
struct ZooKeeperReply: Sendable {
    let answer: ZooKeeperAnswer
    /// The transaction that the server had carried out last; of a write, the write itself.
    let zxid: Int64
    /// An instant before the first byte of the request was handed to the connection.
    let sentAt: BootInstant

    init(answer: ZooKeeperAnswer, zxid: Int64, sentAt: BootInstant) {
        self.answer = answer
        self.zxid = zxid
        self.sentAt = sentAt
    }
}

/// Told about the session of a client, on its event loop.
protocol ZooKeeperClientDelegate: AnyObject {
    /// The session is attached to a server. Do what must come first, then call ``ZooKeeperClient/setUpFinished()``.
    ///
    /// - Parameters:
    ///   - isNew: the session was made just now.
    ///   - sentAt: before the first byte of what attached it.
    func attached(_ session: ZooKeeperSession, isNew: Bool, sentAt: BootInstant)
    /// The connection ended, or could not be made. The session may live on. What was out has no answer yet when this comes.
    func suspended(_ error: ZooKeeperError)
    /// The session is over, and its nodes and watches with it. Another one follows.
    func expired(_ session: ZooKeeperSession)
    func watchFired(_ event: WatchEvent)
}

/// One session with an ensemble, over one connection at a time. Lives on its event loop: all methods are called there.
///
/// Requests of one turn of the loop leave in one write and are answered in order. Watches on data are set again when the
/// session is attached to another server.
final class ZooKeeperClient {
    typealias Completion = (Result<ZooKeeperReply, ZooKeeperError>) -> Void
    typealias Instant = BootInstant

    let configuration: ZooKeeperClientConfiguration
    let eventLoop: any EventLoop
    let environment: NetworkEnvironment
    /// The client is owned by its delegate.
    weak var delegate: (any ZooKeeperClientDelegate)?
    private let logger: Logger
    private let endpoints: [ServerEndpoint]
    private var machine: ZooKeeperSessionStateMachine
    private let timer: EventLoopTimer
    /// When it is stopping: how long its session is tried to be closed.
    private var leaveLimit: Scheduled<Void>?
    private var attempt: (any ConnectAttempt)?
    /// What is known of the present attempt to connect, as long as nothing has been heard.
    private var silence: (endpoint: ServerEndpoint, startedAt: Instant, acceptedAt: Instant?)?
    private var connection: ZooKeeperConnection?
    private var dataWatches = DataWatchesStateMachine()
    private var hasExpired = false
    private var openChannels = 0
    private var isFinished = false
    private var whenGone: (() -> Void)?
    /// How the last attempt or connection ended; nil while connected.
    private(set) var lastError: ZooKeeperError?

    init(
        configuration: ZooKeeperClientConfiguration, eventLoop: any EventLoop, logger: Logger,
        environment: NetworkEnvironment = .system
    ) {
        self.configuration = configuration
        self.eventLoop = eventLoop
        self.environment = environment
        self.logger = logger
        var generator = environment.machine.generator
        self.endpoints = configuration.endpoints.shuffled(using: &generator)
        self.machine = ZooKeeperSessionStateMachine(configuration, first: 0)
        self.timer = EventLoopTimer(eventLoop: eventLoop, environment: environment.machine)
    }

    var now: Instant { self.environment.machine.now }

    /// Whether what is submitted is sent.
    var isOpen: Bool { self.machine.isOpen }

    /// Whether what must come first is being done.
    var isSettingUp: Bool { self.machine.isSettingUp }

    var session: ZooKeeperSession? { self.machine.session }

    // MARK: Requests

    /// Sends a request. The completion is called once: at once if there is no connection.
    ///
    /// A request has no deadline of its own: it is answered, or its connection ends.
    func submit(_ request: ZooKeeperRequest, completion: @escaping Completion) {
        guard let connection, self.machine.isOpen || self.machine.isSettingUp else {
            completion(.failure(self.notConnected))
            return
        }
        connection.send(request, completion: completion)
    }

    var notConnected: ZooKeeperError {
        let code = self.isFinished ? ZooKeeperError.Code.stopped : .notSent
        if let lastError { return ZooKeeperError(code, endpoint: lastError.endpoint, lastError.reason) }
        guard let silence else { return ZooKeeperError(code, "not connected yet") }
        let reason = Silence.reason(
            accepted: silence.acceptedAt, started: silence.startedAt, now: self.now, request: "the greeting")
        return ZooKeeperError(code, endpoint: silence.endpoint, reason)
    }

    /// Nobody wants to hear of this watch any more. The server keeps it until it fires.
    func forgetWatch(_ path: String) {
        self.dataWatches.ended(path)
    }

    func answered(_ request: ZooKeeperRequest) {
        switch request {
        case .getData(let path, true), .exists(let path, true): self.dataWatches.watched(path)
        default: break
        }
    }

    func watchFired(_ event: WatchEvent) {
        switch event.kind {
        case .deleted, .dataChanged, .created:
            self.dataWatches.ended(event.path)
            self.delegate?.watchFired(event)
        case .childrenChanged, .other:
            break
        }
    }

    func saw(zxid: Int64) {
        self.machine.saw(zxid: zxid)
    }

    // MARK: Running

    /// Connects, and goes on until it is stopped.
    func start(whenGone: @escaping () -> Void) {
        self.whenGone = whenGone
        if let server = self.machine.started() {
            self.connect(server)
        } else {
            self.finish()
        }
    }

    /// For so long a client that stops tries to close its session, over another connection if it has to.
    private static let patienceAtEnd = TimeAmount.seconds(2)

    /// Ends the session, so that its nodes are gone at once, and the connection. May take two seconds; a session that cannot be
    /// closed in that time ends by itself.
    func stop() {
        let action = self.machine.stopped()
        if case .none = action { return }
        self.timer.cancel()
        switch action {
        case .none: return
        case .finish: return self.finish()
        case .close: return self.closeNow()
        case .closeSession:
            if let connection = self.connection { self.closeSession(over: connection) }
        case .connect(let server):
            if let server { self.carryOut(.connect(server: server)) }
        }
        let client = NIOLoopBound(self, eventLoop: self.eventLoop)
        self.leaveLimit = self.eventLoop.scheduleTask(in: Self.patienceAtEnd) { client.value.leavingGivenUp() }
    }

    private func closeSession(over connection: ZooKeeperConnection) {
        connection.send(.closeSession) { [weak self, weak connection] result in
            if case .success = result { self?.machine.sessionClosed() }
            connection?.closeGracefully() ?? ()
        }
    }

    private func leavingGivenUp() {
        guard self.machine.isLeaving else { return }
        self.machine.leavingGivenUp()
        self.logger.warning(
            "the session could not be closed: what it has made goes when it ends",
            metadata: ["zookeeper.session": "\(self.machine.session.map(String.init(describing:)) ?? "")"]
        )
        self.closeNow()
    }

    private func closeNow() {
        if let connection = self.connection {
            connection.close(.stopped, "the client was stopped")
        } else {
            self.attempt?.abandon()
            self.attempt = nil
            self.carryOut(self.machine.ended(now: self.now, random: 0))
        }
    }

    private func finish() {
        self.isFinished = true
        self.leaveLimit?.cancel()
        self.leaveLimit = nil
        self.finishIfGone()
    }

    private func finishIfGone() {
        guard self.isFinished, self.openChannels == 0 else { return }
        exchange(&self.whenGone, with: nil)?()
    }

    // MARK: Connecting

    func target(_ endpoint: ServerEndpoint) -> ConnectTarget {
        ConnectTarget(endpoint: endpoint, tls: self.configuration.tls, timeout: self.configuration.attemptTimeout)
    }

    private func connect(_ server: Int) {
        let endpoint = self.endpoints[server]
        let target = self.target(endpoint)
        let now = self.now
        let deadline = now.advanced(by: target.timeout)
        self.silence = (endpoint, now, nil)
        self.attempt = self.environment.connector.connect(to: target, on: self.eventLoop, opened: self.opened) {
            result in
            self.attempt = nil
            switch result {
            case .success(let channel): self.connected(channel, endpoint, deadline: deadline)
            case .failure(let error): self.failed(error, endpoint)
            }
        }
    }

    private func opened(_ channel: any Channel) {
        self.openChannels += 1
        channel.closeFuture.assumeIsolated().whenComplete { _ in
            self.openChannels -= 1
            self.finishIfGone()
        }
    }

    private func connected(_ channel: any Channel, _ endpoint: ServerEndpoint, deadline: Instant) {
        self.silence?.acceptedAt = self.now
        let connection = ZooKeeperConnection(
            client: self, endpoint: endpoint, deadline: deadline, patience: self.target(endpoint).timeout)
        do {
            if let handler = try self.tlsContext(endpoint)?.makeHandler() {
                try channel.pipeline.syncOperations.addHandler(handler)
            }
            self.connection = connection
            try channel.pipeline.syncOperations.addHandler(connection)
            try channel.syncOptions?.setOption(.autoRead, value: true)
        } catch {
            channel.close(promise: nil)
            if self.connection === connection {
                connection.close(.notSent, TransportError(error, target: self.target(endpoint)).reason)
            } else {
                self.failed(error, endpoint)
            }
        }
    }

    private func tlsContext(_ endpoint: ServerEndpoint) throws -> TLSContext? {
        guard let tls = self.configuration.tls else { return nil }
        // The names differ from server to server; so do the contexts.
        return try TLSContext(tls, endpoint: endpoint)
    }

    private func failed(_ error: any Error, _ endpoint: ServerEndpoint) {
        let described = TransportError(error, target: self.target(endpoint))
        self.ended(
            ZooKeeperError(
                described.isRefusal ? .unusableServer : .notSent,
                endpoint: endpoint,
                described.reason
            )
        )
    }

    var greeting: ConnectRequest { self.machine.greeting() }

    /// A server says nothing about why it closes a connection.
    var reasonOfClose: String {
        self.machine.isOpen || self.machine.isSettingUp
            ? "the server closed the connection"
            : "the server closed the connection without taking the session: it has no quorum, or is behind"
    }

    func greeted(_ connection: ZooKeeperConnection, _ response: ConnectResponse) {
        self.silence = nil
        switch self.machine.greeted(response) {
        case .attached(let session, let isNew):
            connection.opened(timeout: session.timeout)
            self.logger.debug(
                "attached",
                metadata: ["zookeeper.session": "\(session)", "zookeeper.new": "\(isNew)"]
            )
            if let digest = self.configuration.digest {
                connection.send(.authenticate(scheme: "digest", credentials: Array(digest.utf8))) { _ in }
            }
            if isNew { self.dataWatches.sessionEnded() }
            self.setWatches(self.dataWatches.attached(zxid: self.machine.lastZxid), over: connection)
            self.delegate?.attached(session, isNew: isNew, sentAt: connection.greetedAt)
        case .expired(let session):
            self.hasExpired = true
            self.dataWatches.sessionEnded()
            connection.close(.outcomeUnknown, "the session \(session) has expired")
            self.delegate?.expired(session)
        case .refuse(let reason):
            connection.close(.notSent, reason)
        case .closeSession(let session):
            connection.opened(timeout: session.timeout)
            self.closeSession(over: connection)
        case .close:
            connection.close(.stopped, "the client was stopped")
        }
    }

    private func setWatches(_ groups: [DataWatchesStateMachine.Group], over connection: ZooKeeperConnection) {
        for group in groups {
            connection.send(.setDataWatches(paths: group.paths, relativeZxid: group.zxid)) {
                [weak self, weak connection] result in
                guard let self, let connection, self.connection === connection else { return }
                switch result {
                case .success: _ = self.dataWatches.answered(isRefused: false)
                case .failure(let error) where error.serverCode != nil:
                    if self.dataWatches.answered(isRefused: true) { self.setWatchesLater(group, over: connection) }
                case .failure: break
                }
            }
        }
    }

    private func setWatchesLater(_ group: DataWatchesStateMachine.Group, over connection: ZooKeeperConnection) {
        let pause = TimeAmount.milliseconds(200 + Int64(800 * self.environment.machine.fraction()))
        let again = NIOLoopBound((self, connection), eventLoop: self.eventLoop)
        self.eventLoop.scheduleTask(in: pause) {
            let (client, connection) = again.value
            if client.connection === connection {
                client.setWatches(client.dataWatches.askedAgain(group), over: connection)
            }
        }
    }

    /// What must come first on the connection is done: from now on everything is sent.
    func setUpFinished() {
        if self.machine.setUpFinished(now: self.now) { self.lastError = nil }
    }

    /// Leaves the server for another one; the session lives on.
    func leaveServer(_ reason: String, isRefusal: Bool = false) {
        self.connection?.close(isRefusal ? .unusableServer : .outcomeUnknown, reason)
    }

    func ended(_ connection: ZooKeeperConnection, _ error: ZooKeeperError) {
        guard self.connection === connection else { return }
        self.connection = nil
        self.ended(error)
    }

    private func ended(_ error: ZooKeeperError) {
        self.silence = nil
        let isNews = self.lastError?.message != error.message
        self.lastError = error
        let action: ZooKeeperSessionStateMachine.EndedAction
        if exchange(&self.hasExpired, with: false) {
            action = self.machine.endedAfterExpiry()
        } else {
            action = self.machine.ended(now: self.now, random: self.environment.machine.fraction())
        }
        self.logger.log(
            level: isNews ? .info : .debug,
            "not connected",
            metadata: ["zookeeper.error": "\(error)"]
        )
        self.delegate?.suspended(error)
        self.carryOut(action)
    }

    private func carryOut(_ action: ZooKeeperSessionStateMachine.EndedAction) {
        switch action {
        case .connect(let server):
            // Not within the end of the connection before.
            let client = NIOLoopBound(self, eventLoop: self.eventLoop)
            self.eventLoop.execute { client.value.connectUnlessStopped(server) }
        case .wait(let until):
            self.timer.arm(until) {
                if let action = self.machine.timerFired(now: self.now) { self.carryOut(action) }
            }
        case .finish:
            self.timer.cancel()
            self.finish()
        }
    }

    private func connectUnlessStopped(_ server: Int) {
        // It may have been stopped, and be over, since the attempt was decided.
        if self.machine.isConnecting, self.attempt == nil, self.connection == nil { self.connect(server) }
    }
}
