import DequeModule
import LockKernel
import LockTransport
import Logging
import NIOCore

/// The shell of the client: what happens on its event loop.
///
/// What is decided is decided by ``RedisClientStateMachine``. Here no mutex is ever held; whatever is called from here may
/// call back in at once, so a machine's action is carried out when its method has returned.
final class RedisClientLoop {
    typealias Request = RedisRequest<RedisCompletion>
    typealias Instant = BootInstant

    /// An inbox's storage is used again unless it has grown beyond this.
    private static let maximumKeptRequests = 4_096

    let configuration: RedisClientConfiguration
    let eventLoop: any EventLoop
    let environment: NetworkEnvironment
    private let delegate: any RedisClientDelegate
    private let logger: Logger
    private let inbox: RedisInbox
    let status: RedisClientStatus

    private var machine: RedisClientStateMachine<RedisConnection, RedisCompletion>
    private let timer: EventLoopTimer
    private var attempt: (any ConnectAttempt)?
    /// The attempt whose place is being looked up.
    private var lookup: RedisConnectionID?
    /// Where the present attempt or connection goes.
    private var location: RedisLocation
    /// From the moment when it is connected. Announced once it is active.
    private var connection: RedisConnection?
    private var tls = RedisTLSContexts()
    /// The server of the connection turned out not to be the one that is looked for.
    private var isGivenUp = false
    /// While a new connection is announced, only what the delegate submits goes on it.
    private var isAnnouncing = false
    /// While somebody gathers requests, nothing is written.
    private var gatherings = 0
    private var openChannels = 0
    private var isFinished = false
    private var whenGone: (() -> Void)?
    private var spareRequests: [Request] = []

    init(
        configuration: RedisClientConfiguration,
        eventLoop: any EventLoop,
        environment: NetworkEnvironment,
        delegate: any RedisClientDelegate,
        logger: Logger,
        inbox: RedisInbox,
        status: RedisClientStatus
    ) {
        self.configuration = configuration
        self.eventLoop = eventLoop
        self.environment = environment
        self.delegate = delegate
        self.logger = logger
        self.inbox = inbox
        self.status = status
        self.location = RedisLocation(endpoint: configuration.endpoint, tag: 0)
        self.machine = RedisClientStateMachine(configuration)
        self.timer = EventLoopTimer(eventLoop: eventLoop, environment: environment.machine)
    }

    var now: Instant { self.environment.machine.now }

    // MARK: Requests

    /// A request from a caller that is on the event loop.
    ///
    /// - Parameter isUrgent: false: it leaves with the next one, at the latest at the end of this turn.
    func submit(_ request: Request, isUrgent: Bool = true) {
        self.drainBefore()
        self.take(request, now: self.connection?.gatheringSince ?? self.now)
        self.afterRequests(isUrgent: isUrgent)
    }

    func submit(_ requests: [Request]) {
        self.drainBefore()
        let now = self.connection?.gatheringSince ?? self.now
        for request in requests { self.take(request, now: now) }
        self.afterRequests()
    }

    /// What the same caller has put into the inbox before must leave before. But not before what waited for a connection.
    private func drainBefore() {
        if self.inbox.hasSome, !self.isAnnouncing { self.drain() }
    }

    /// Takes what is in the inbox.
    func drain() {
        var requests = exchange(&self.spareRequests, with: [])
        var cancelled: [RequestID] = []
        self.inbox.take(into: &requests, cancelled: &cancelled)
        let now = self.connection?.gatheringSince ?? self.now
        if cancelled.isEmpty {
            for request in requests { self.take(request, now: now) }
        } else {
            let ids = Set(cancelled)
            let error = RedisError(
                .cancelled, endpoint: self.configuration.fixedEndpoint, "cancelled before it was sent")
            for request in requests {
                if ids.contains(request.id) {
                    request.completion.complete(.failure(error))
                } else {
                    self.take(request, now: now)
                }
            }
            if let failed = self.machine.cancelled(ids) { self.fail(failed) }
            self.connection?.cancel(ids)
        }
        self.afterRequests()
        requests.removeAll(keepingCapacity: requests.capacity <= Self.maximumKeptRequests)
        self.spareRequests = requests
    }

    private func take(_ request: Request, now: Instant) {
        switch self.machine.submitted(request, now: now) {
        case .send(let connection): connection.send(request, now: now)
        case .wait: break
        case .fail(let error): request.completion.complete(.failure(error))
        }
    }

    func beginGathering() { self.gatherings += 1 }

    func endGathering() {
        self.gatherings -= 1
        if self.gatherings == 0 { self.connection?.flushSoon() }
    }

    private func afterRequests(isUrgent: Bool = true) {
        if self.gatherings == 0 {
            if isUrgent { self.connection?.flushSoon() } else { self.connection?.flushAtEndOfTurn() }
        }
        self.armTimer()
    }

    private func fail(_ failed: RedisClientStateMachine<RedisConnection, RedisCompletion>.Failed) {
        for completion in failed.completions { completion.complete(.failure(failed.error)) }
    }

    // MARK: Running

    /// - Parameter whenGone: called once, when nothing of the client is left.
    func start(whenGone: @escaping () -> Void) {
        self.whenGone = whenGone
        if let id = self.machine.started() {
            self.connect(id)
        } else {
            self.finishIfGone()
        }
    }

    func stop() {
        let action = self.machine.stopped()
        self.timer.cancel()
        self.report()
        switch action {
        case .closeConnection(let connection, let waiting):
            self.fail(waiting)
            connection.close(self.stoppedError)
        case .abandonAttempt(let waiting):
            self.fail(waiting)
            if let connection = self.connection {
                connection.close(self.stoppedError)
            } else {
                self.abandonAttempt()
                self.ended(self.stoppedError)
            }
        case .finish(let waiting):
            self.fail(waiting)
            self.finish()
        case .nothing:
            break
        }
    }

    private var stoppedError: RedisError {
        RedisError(.stopped, endpoint: self.configuration.fixedEndpoint, "the client was stopped")
    }

    private func finish() {
        self.isFinished = true
        for request in self.inbox.stop() { self.take(request, now: self.now) }
        self.finishIfGone()
    }

    private func finishIfGone() {
        guard self.isFinished, self.openChannels == 0 else { return }
        exchange(&self.whenGone, with: nil)?()
    }

    // MARK: Connecting

    private func connect(_ id: RedisConnectionID) {
        self.report()
        guard let locator = self.configuration.locator else { return self.connect(id, to: self.location) }
        self.lookup = id
        let loop = NIOLoopBound(self, eventLoop: self.eventLoop)
        let eventLoop = self.eventLoop
        locator.locate { result in
            if eventLoop.inEventLoop { return loop.value.located(id, result) }
            eventLoop.execute { loop.value.located(id, result) }
        }
    }

    private func located(_ id: RedisConnectionID, _ result: Result<RedisLocation, RedisError>) {
        // Abandoned meanwhile.
        guard self.lookup == id else { return }
        self.lookup = nil
        switch result {
        case .success(let location): self.connect(id, to: location)
        case .failure(let error): self.ended(error)
        }
    }

    private func connect(_ id: RedisConnectionID, to location: RedisLocation) {
        self.location = location
        let target = self.configuration.located(location.endpoint).target
        let now = self.now
        self.machine.attemptStarted(now: now)
        self.attempt = self.environment.connector.connect(to: target, on: self.eventLoop, opened: self.opened) {
            result in
            self.attempt = nil
            switch result {
            case .success(let channel): self.connected(id, channel, deadline: now + target.timeout)
            case .failure(let error): self.ended(self.describe(error))
            }
        }
    }

    private func abandonAttempt() {
        self.lookup = nil
        self.attempt?.abandon()
        self.attempt = nil
    }

    func moved(to location: RedisLocation) {
        if self.location != location { self.giveUp("the server is at \(location.endpoint) now") }
        self.hurry()
    }

    func left(_ location: RedisLocation) {
        guard self.location == location else { return }
        self.giveUp("the server is not here any more")
        self.hurry()
    }

    /// Why nothing can be asked yet; nil if the first attempt is over.
    var silence: String? { self.machine.silence(now: self.now) }

    func hurry() {
        if let id = self.machine.hurried() { self.connect(id) }
    }

    /// Ends the connection, or the attempt to connect. One that is being looked up is told by the lookup.
    private func giveUp(_ reason: String) {
        let endpoint = self.location.endpoint
        if let connection = self.connection {
            connection.close(RedisError(.outcomeUnknown, endpoint: endpoint, reason))
        } else if self.attempt != nil {
            self.abandonAttempt()
            self.ended(RedisError(.notSent, endpoint: endpoint, reason))
        }
    }

    func reconnect(_ id: RedisConnectionID, _ refusal: RedisError) {
        guard let connection = self.connection, connection.id == id else { return }
        self.isGivenUp = true
        connection.close(refusal.ofConnection(to: self.location.endpoint))
    }

    func reconnectIfSilent(for duration: Duration) {
        guard let connection = self.connection, let silence = connection.silence(for: duration),
            self.machine.foundSilent(now: self.now)
        else { return }
        self.isGivenUp = true
        connection.close(silence)
    }

    /// A channel was made, which is closed before the client is gone.
    private func opened(_ channel: any Channel) {
        self.openChannels += 1
        channel.closeFuture.assumeIsolated().whenComplete { _ in
            self.openChannels -= 1
            self.finishIfGone()
        }
    }

    /// - Parameter deadline: when the connection must be usable, not just connected.
    private func connected(_ id: RedisConnectionID, _ channel: any Channel, deadline: Instant) {
        self.machine.accepted(now: self.now)
        let connection = RedisConnection(id: id, client: self, location: self.location, connectDeadline: deadline)
        do {
            if let handler = try self.tls.context(of: self.configuration, at: self.location.endpoint)?.makeHandler() {
                try channel.pipeline.syncOperations.addHandler(handler)
            }
            self.connection = connection
            try channel.pipeline.syncOperations.addHandler(connection)
            try channel.syncOptions?.setOption(.autoRead, value: true)
        } catch {
            if let connection = self.connection {
                connection.close(self.describe(error))
            } else {
                self.ended(self.describe(error))
            }
            channel.close(promise: nil)
        }
    }

    private func describe(_ error: any Error) -> RedisError {
        self.configuration.located(self.location.endpoint).describe(error)
    }

    // MARK: Connections

    func activated(_ connection: RedisConnection, _ greeting: RedisGreeting, pushed: [[RESPValue]]) {
        // What was submitted by now is later than what waits, and comes after what the delegate submits.
        if self.inbox.hasSome { self.drain() }
        guard self.machine.connected(connection, now: self.now) else { return connection.close(self.stoppedError) }
        self.report()
        self.logger.debug(
            "connected",
            metadata: ["redis.endpoint": "\(self.location.endpoint)", "redis.connection": "\(connection.id)"]
        )
        self.isAnnouncing = true
        self.delegate.connected(connection.id, greeting: greeting)
        // The delegate may do anything, and a write of its may find the connection lost.
        for elements in pushed where self.connection === connection {
            self.delegate.pushed(elements, on: connection.id)
        }
        self.isAnnouncing = false
        let now = connection.gatheringSince ?? self.now
        for request in self.machine.takeWaiting() { self.take(request, now: now) }
        connection.flushSoon()
    }

    func pushed(_ elements: [RESPValue], on id: RedisConnectionID) {
        self.delegate.pushed(elements, on: id)
    }

    func ended(_ connection: RedisConnection, _ error: RedisError, wasActive: Bool) {
        self.connection = nil
        self.ended(error) {
            if wasActive { self.delegate.disconnected(connection.id, error) } else { self.delegate.notConnected(error) }
        }
    }

    private func ended(_ error: RedisError) {
        self.ended(error) { self.delegate.notConnected(error) }
    }

    private func ended(_ error: RedisError, announce: () -> Void) {
        let isNews = self.machine.lastError?.message != error.message
        if error.code == .unusableServer { self.tls.forget() }
        let isGivenUp = exchange(&self.isGivenUp, with: false)
        let action = self.machine.ended(
            error, isGivenUp: isGivenUp, now: self.now, random: self.environment.machine.fraction())
        self.report()
        announce()
        switch action {
        case .retry(let failed):
            self.logger.log(
                level: isNews ? .info : .debug,
                "not connected",
                metadata: [
                    "redis.endpoint": "\(self.configuration.locator?.name ?? "\(self.configuration.endpoint)")",
                    "redis.error": "\(error.description)",
                ]
            )
            self.armTimer()
            if let failed { self.fail(failed) }
        case .finish:
            self.finish()
        }
    }

    // MARK: Time

    private func armTimer() {
        guard self.machine.isTimed, let instant = self.machine.timerToArm(now: self.now) else { return }
        self.timer.arm(instant) { self.timerFired() }
    }

    private func timerFired() {
        let action = self.machine.timerFired(now: self.now)
        if let failed = action.expired { self.fail(failed) }
        if let id = action.connect { self.connect(id) }
        self.armTimer()
    }

    private func report() {
        self.status.set(self.machine.summary, self.machine.lastError)
    }
}
