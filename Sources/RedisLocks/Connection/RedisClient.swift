import LockKernel
import LockTransport
import Logging
import NIOCore
import Synchronization

/// Told about the connections of a client, on its event loop. Must return at once, and may submit requests.
protocol RedisClientDelegate: Sendable {
    /// A connection can be used. What is submitted from here leaves before everything that waited for a connection.
    func connected(_ id: RedisConnectionID, greeting: RedisGreeting)
    /// It has ended. Comes before any request is sent on a later connection, and before the requests that are out on
    /// this one end with ``RedisError/Code/outcomeUnknown``.
    func disconnected(_ id: RedisConnectionID, _ error: RedisError)
    /// An attempt to connect failed.
    func notConnected(_ error: RedisError)
    /// The server sent something by itself, between ``connected(_:greeting:)`` and ``disconnected(_:_:)`` of `id`.
    func pushed(_ elements: [RESPValue], on id: RedisConnectionID)
}

extension RedisClientDelegate {
    func notConnected(_ error: RedisError) {}
}

/// One server, reached over one connection at a time, which carries requests and pushes and is made anew when it is lost.
///
/// Requests that are submitted together leave in one write. Each has a deadline: a request that ends before its reply
/// comes, because of the deadline or of cancellation, harms no other. A request that was written is not sent
/// again, but for the call of a script that the server says it does not know.
final class RedisClient: Sendable {
    typealias Outcome = Result<RedisReply, RedisError>

    let configuration: RedisClientConfiguration
    let eventLoop: any EventLoop
    private let loop: NIOLoopBoundBox<RedisClientLoop>
    private let inbox = RedisInbox()
    private let status = RedisClientStatus()

    /// - Parameter eventLoop: must run until ``run()`` has returned. Callers whose tasks run on it save two changes of
    ///   thread for each request.
    init(
        configuration: RedisClientConfiguration,
        eventLoop: any EventLoop,
        delegate: any RedisClientDelegate,
        logger: Logger,
        environment: NetworkEnvironment = .system
    ) {
        self.configuration = configuration
        self.eventLoop = eventLoop
        self.loop = NIOLoopBoundBox.makeBoxSendingValue(
            RedisClientLoop(
                configuration: configuration,
                eventLoop: eventLoop,
                environment: environment,
                delegate: delegate,
                logger: logger,
                inbox: self.inbox,
                status: self.status
            ),
            eventLoop: eventLoop
        )
    }

    /// What the client is doing, for diagnostics.
    var state: RedisClientState { self.status.state }

    /// An answer may well take this long: three times what one has taken lately.
    var shortestSilence: Duration { self.status.roundTrip.shortestSilence }

    /// How the last attempt or connection ended, for diagnostics.
    var lastError: RedisError? { self.status.lastError }

    /// Why nothing can be asked yet, while the first attempt to connect is under way. Asked on the event loop.
    var silence: String? { self.loop.value.silence }

    /// Connects, and connects again whenever the connection is lost, until the task is cancelled. Then what is out ends
    /// with ``RedisError/Code/outcomeUnknown``, what waits with ``RedisError/Code/notSent``, and the connection is closed;
    /// nothing of it is left when this returns. Called once.
    func run() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { (gone: CheckedContinuation<Void, Never>) in
                self.onLoop { $0.start { gone.resume() } }
            }
        } onCancel: {
            // Never at once: a task's cancellation handlers run under its lock.
            let loop = self.loop
            self.eventLoop.execute { loop.value.stop() }
        }
    }

    /// The server is known to be elsewhere from now on. What goes to another place is given up, and the next attempt is made
    /// without a pause.
    func moved(to location: RedisLocation) {
        if self.eventLoop.inEventLoop { return self.loop.value.moved(to: location) }
        self.onLoop { $0.moved(to: location) }
    }

    /// The server that was looked for is not there any more. What goes there is given up, and the place is looked up anew.
    func left(_ location: RedisLocation) {
        if self.eventLoop.inEventLoop { return self.loop.value.left(location) }
        self.onLoop { $0.left(location) }
    }

    /// Gives a connection up, if it is still there; its place is looked up anew, a host's name, too. However often this is
    /// called, there are at most four connections a second.
    ///
    /// - Parameter refusal: with what the server has refused to serve on it.
    func reconnect(_ connection: RedisConnectionID, _ refusal: RedisError) {
        if self.eventLoop.inEventLoop { return self.loop.value.reconnect(connection, refusal) }
        self.onLoop { $0.reconnect(connection, refusal) }
    }

    /// Gives the connection up if nothing has arrived on it for so long, and for three round trips, while requests were out; at
    /// most once a second. For those who cannot wait for `silenceTimeout`. What has arrived by now is read first.
    func reconnectIfSilent(for duration: Duration) {
        self.onLoop { $0.reconnectIfSilent(for: duration) }
    }

    /// Cuts the pause between two attempts to connect short, if there is one. Called on the event loop.
    func hurry() { self.loop.value.hurry() }

    private func onLoop(_ body: @escaping @Sendable (RedisClientLoop) -> Void) {
        let loop = self.loop
        self.eventLoop.execute { body(loop.value) }
    }

    // MARK: Requests

    /// Sends a command and waits for its reply.
    ///
    /// While there is no connection, it waits for one.
    ///
    /// - Parameters:
    ///   - deadline: compared with `ContinuousClock`; may be noticed about 2 ms later.
    ///   - connection: if it is not the present one any more, the request is not sent.
    /// - Throws: Cancelled before it was written: ``RedisError/Code/cancelled``. Cancelled after that:
    ///   ``RedisError/Code/outcomeUnknown``, at once; its late reply is swallowed. Otherwise see ``RedisError/Code``.
    func send(
        _ command: RedisCommand,
        deadline: BootInstant,
        onlyOn connection: RedisConnectionID? = nil
    ) async throws(RedisError) -> RedisReply {
        if Task.isCancelled { throw self.cancelledError }
        let id = self.inbox.nextID()
        let outcome: Outcome = await withWaitContinuation(
            givingUp: { self.cancel(id.rawValue..<id.rawValue + 1) }
        ) { continuation in
            self.put(
                RedisRequest(
                    id: id,
                    command: command,
                    deadline: deadline,
                    completion: .continuation(continuation),
                    onlyOn: connection
                )
            )
        }
        return try outcome.get()
    }

    /// Sends a command and waits for its reply, whatever becomes of the task: for what must be done in any case, and cheaper.
    ///
    /// - Throws: As ``send(_:deadline:)-(RedisCommand,_)``, except because of cancellation.
    func sendInAnyCase(
        _ command: RedisCommand,
        deadline: BootInstant
    ) async throws(RedisError) -> RedisReply {
        let id = self.inbox.nextID()
        let outcome: Outcome = await withWaitContinuation { continuation in
            self.put(
                RedisRequest(id: id, command: command, deadline: deadline, completion: .continuation(continuation)))
        }
        return try outcome.get()
    }

    /// Sends commands so that they leave one after another with nothing in between, and waits for all replies.
    ///
    /// - Returns: one outcome for each command, in order. Never throws; see ``send(_:deadline:)-(RedisCommand,_)``.
    func send(
        _ commands: [RedisCommand],
        deadline: BootInstant
    ) async -> [Outcome] {
        if commands.isEmpty { return [] }
        if Task.isCancelled { return commands.map { _ in .failure(self.cancelledError) } }
        let ids = self.inbox.nextIDs(count: commands.count)
        return await withWaitContinuation(givingUp: { self.cancel(ids) }) { continuation in
            let batch = RedisBatch(count: commands.count, continuation: continuation)
            self.put(
                commands.indices.map { index in
                    RedisRequest(
                        id: RequestID(rawValue: ids.lowerBound + UInt64(index)),
                        command: commands[index],
                        deadline: deadline,
                        completion: .batch(batch, index: index)
                    )
                }
            )
        }
    }

    /// Requests that are submitted until ``endGathering()`` leave in one write. Called on the event loop.
    func beginGathering() { self.loop.value.beginGathering() }

    func endGathering() { self.loop.value.endGathering() }

    /// Sends a command; `completion` is called once, on the event loop. It cannot be cancelled.
    ///
    /// If the caller is on the event loop, and the request cannot be sent or kept, that is before this returns.
    ///
    /// - Parameters:
    ///   - isUrgent: false: it leaves with the next request, at the latest at the end of this turn of the event loop.
    ///   - isWanted: asked, on the event loop, before a script is called again that the server did not know.
    func submit(
        _ command: RedisCommand,
        deadline: BootInstant,
        onlyOn connection: RedisConnectionID? = nil,
        isUrgent: Bool = true,
        isWanted: (@Sendable () -> Bool)? = nil,
        completion: @escaping @Sendable (Outcome) -> Void
    ) {
        let request = RedisRequest(
            id: self.inbox.nextID(),
            command: command,
            deadline: deadline,
            completion: RedisCompletion.callback(completion, isWanted: isWanted),
            onlyOn: connection
        )
        self.put(request, isUrgent: isUrgent)
    }

    /// Sends a command; `handler` is called once with `number`, on the event loop, where this is called, too. It cannot be cancelled.
    ///
    /// If the request cannot be sent or kept, that is before this returns.
    ///
    /// - Parameter tail: what follows the command's bytes: see ``RedisRequest/tail``.
    func submit(
        _ command: RedisCommand,
        tail: ByteBuffer? = nil,
        deadline: BootInstant,
        handler: any RedisOutcomeHandler,
        number: Int
    ) {
        self.loop.value.submit(
            RedisRequest(
                id: self.inbox.nextID(),
                command: command,
                tail: tail,
                deadline: deadline,
                completion: .handler(handler, number: number)
            )
        )
    }

    /// - Parameter isUrgent: from another thread the event loop is told at once in any case: what follows is there before it is.
    private func put(_ request: RedisRequest<RedisCompletion>, isUrgent: Bool = true) {
        if self.eventLoop.inEventLoop { return self.loop.value.submit(request, isUrgent: isUrgent) }
        switch self.inbox.put(request) {
        case .wake: self.wake()
        case .nothing: break
        case .refuse: self.refuse(request)
        }
    }

    private func put(_ requests: [RedisRequest<RedisCompletion>]) {
        if self.eventLoop.inEventLoop { return self.loop.value.submit(requests) }
        switch self.inbox.put(requests) {
        case .wake: self.wake()
        case .nothing: break
        case .refuse: for request in requests { self.refuse(request) }
        }
    }

    private func cancel(_ ids: Range<UInt64>) {
        switch self.inbox.cancel(ids) {
        case .wake: self.wake()
        case .nothing, .refuse: break
        }
    }

    private func wake() {
        self.onLoop { $0.drain() }
    }

    private func refuse(_ request: RedisRequest<RedisCompletion>) {
        let error = RedisError(.stopped, endpoint: self.configuration.fixedEndpoint, "the client has been stopped")
        switch request.completion {
        // The event loop may be gone by now, and nobody must wait for ever.
        case .continuation, .batch: request.completion.complete(.failure(error))
        case .callback, .handler: self.eventLoop.execute { request.completion.complete(.failure(error)) }
        }
    }

    private var cancelledError: RedisError {
        RedisError(.cancelled, endpoint: self.configuration.fixedEndpoint, "cancelled before it was sent")
    }

}

/// What can be seen of a client from any thread.
final class RedisClientStatus: Sendable {
    private let values = Mutex<(state: RedisClientState, lastError: RedisError?)>((.idle, nil))
    private let compactRoundTrip = Atomic<Int64>(0)

    var state: RedisClientState { self.values.withLock { $0.state } }
    var lastError: RedisError? { self.values.withLock { $0.lastError } }

    var roundTrip: RoundTrip { RoundTrip(compact: self.compactRoundTrip.load(ordering: .relaxed)) }

    func set(_ roundTrip: RoundTrip) { self.compactRoundTrip.store(roundTrip.compact, ordering: .relaxed) }

    func set(_ state: RedisClientState, _ lastError: RedisError?) {
        self.values.withLock { $0 = (state, lastError) }
    }
}
