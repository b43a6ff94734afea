public import DistributedLocks
import LockKernel
package import LockTransport
public import Logging
public import NIOCore
import NIOPosix
import Synchronization

/// Locks on one Redis master, at a fixed place or found by Sentinels.
///
/// - A free lock costs one round trip, a release one. Waiters are served in the order in which they asked: a release hands
///   the lock over to the next one and tells it so, in one step. Nobody polls.
/// - The key of a lock is a string that was set with `NX` and `PX`, the convention of redis-py, redsync and others: a fleet
///   that uses several libraries excludes each other on the same key.
/// - Fencing tokens are of the domain `clock`. They rise even if the server lost its memory.
/// - Leases are measured by the server's wall clock. A step of that clock is noticed by holders and logged.
///
/// It needs Redis 7.0 or newer (or Valkey) that is a master, and no cluster.
public final class RedisLockBackend: OrderedRelease, CallerExecutor {
    private struct State {
        var machine: MasterMachine
        var sink: (any LockEventSink)?
        var encodings: ClaimEncodings
    }

    /// Names the server and the database, without credentials.
    public let identity: String
    let configuration: RedisLockConfiguration
    let client: RedisClient
    /// The same as ``client``, unless that one may be kept waiting for replicas.
    let renewingClient: RedisClient
    let monitor: SentinelMonitor?
    let scripts: RedisScript.Group
    private let state: Mutex<State>
    private let alarm: Alarm
    let environment: Environment
    let logger: Logger
    private let eventLoopExecutor: EventLoopTaskExecutor

    /// Uses a server. Nothing is connected before ``run()``.
    ///
    /// - Parameters:
    ///   - configuration: Where the server is, and how it is used.
    ///   - eventLoopGroup: Whose event loops do the input and output; one of them is used. `nil`: the process's own
    ///     group (`MultiThreadedEventLoopGroup.singleton`).
    ///   - logger: Where steps of the server's clock, lost connections, refusals that are waited out and settings with which the
    ///     server forgets locks are told.
    /// - Throws: `LockError` `invalidConfiguration`.
    public convenience init(
        configuration: RedisLockConfiguration,
        eventLoopGroup: (any EventLoopGroup)? = nil,
        logger: Logger = Logger(label: "dlock.redis") { _ in SwiftLogNoOpLogHandler() }
    ) throws(LockError) {
        try self.init(
            configuration: configuration, eventLoopGroup: eventLoopGroup, logger: logger, environment: .system)
    }

    package init(
        configuration: RedisLockConfiguration,
        eventLoopGroup: (any EventLoopGroup)?,
        logger: Logger,
        environment: NetworkEnvironment
    ) throws(LockError) {
        try configuration.check()
        self.configuration = configuration
        self.identity =
            configuration.description + (configuration.keyPrefix == "dlock:" ? "" : "#" + configuration.keyPrefix)
        self.logger = logger
        self.environment = environment.machine
        self.alarm = Alarm(environment.machine)
        var generator = environment.machine.generator
        let clientName = OwnerText.randomClient(using: &generator)
        self.state = Mutex(
            State(
                machine: MasterMachine(confirmsGrants: configuration.replicationAcks > 0, now: environment.machine.now),
                encodings: ClaimEncodings(client: clientName)))
        let delegate = Delegate()
        let eventLoop = (eventLoopGroup ?? MultiThreadedEventLoopGroup.singleton).any()
        self.eventLoopExecutor = EventLoopTaskExecutor(eventLoop)
        self.monitor = configuration.sentinelConfiguration.map {
            SentinelMonitor(configuration: $0, eventLoop: eventLoop, logger: logger, environment: environment)
        }
        self.scripts = self.monitor == nil ? .oneMaster : .sentinel
        var client = configuration.client(locator: self.monitor)
        if configuration.replicationAcks > 0 {
            self.renewingClient = RedisClient(
                configuration: client,
                eventLoop: eventLoop,
                delegate: NoDelegate(),
                logger: logger,
                environment: environment
            )
            client.setup = [Self.subscription(clientName)]
            self.client = RedisClient(
                configuration: client, eventLoop: eventLoop, delegate: delegate, logger: logger,
                environment: environment)
        } else {
            client.setup = [Self.subscription(clientName)]
            self.client = RedisClient(
                configuration: client, eventLoop: eventLoop, delegate: delegate, logger: logger,
                environment: environment)
            self.renewingClient = self.client
        }
        delegate.backend = self
    }

    private static func subscription(_ client: String) -> RedisCommand {
        RedisCommand("SUBSCRIBE", "dlock.push:" + client)
    }

    /// Leases from 50 ms to a day, one for each grant; first in, first out.
    public var capabilities: LockCapabilities {
        LockCapabilities(
            kind: "redis",
            leaseRange: .milliseconds(50)...(.seconds(86_400)),
            leaseScope: .grant,
            fairness: .firstInFirstOut
        )
    }

    /// The event loop of the connection.
    public var taskExecutor: any TaskExecutor { self.eventLoopExecutor }

    /// Why nothing can be asked, or why the server did not do what waiters asked last.
    public func trouble() async -> LockError? {
        if case .connected = self.client.state { return self.state.withLock { $0.machine.trouble } }
        guard let error = self.client.lastError else {
            return LockError(.unreachable, "\(self.configuration) is not connected yet")
        }
        return LockError(whileDisconnected: error)
    }

    /// Sets where events go.
    public func start(delivering sink: any LockEventSink) {
        self.state.withLock { $0.sink = sink }
    }

    /// Connects, and connects again whenever the connection is lost, and touches the claims that wait, until it is
    /// cancelled.
    public func run() async throws {
        await withDiscardingTaskGroup { group in
            if let monitor = self.monitor { self.run(monitor, &group) }
            group.addTask { await self.client.run() }
            if self.renewingClient !== self.client { group.addTask { await self.renewingClient.run() } }
            while !Task.isCancelled {
                let now = self.environment.now
                self.feed { $0.timerFired(now: now) }
                await self.alarm.sleep(until: self.ask { $0.slept() })
            }
        }
        // Whoever hears of events has this backend.
        self.state.withLock { $0.sink = nil }
    }

    // MARK: The machine

    /// The one way into the machine: feeds an event, and does what follows when the mutex has been left.
    @inline(__always) func feed(_ event: (inout MasterMachine) -> MasterMachine.Effects) {
        let effects = self.state.withLock { event(&$0.machine) }
        effects.forEach { self.perform($0) }
    }

    /// As ``feed(_:)``, for events that are answered by a value or by nothing.
    @inline(__always) func ask<Answer>(_ question: (inout MasterMachine) -> Answer) -> Answer {
        self.state.withLock { question(&$0.machine) }
    }

    /// An acquire is about to leave. Returns what it says of the claim.
    @inline(__always)
    func requested(_ claim: LockClaim, maximumWaiters: Int?) -> (owner: ScriptArgument, times: ScriptArgument) {
        self.state.withLock { state in
            state.machine.requested(claim)
            return (state.encodings.owner(of: claim), state.encodings.times(lease: claim.lease, maximumWaiters))
        }
    }

    func owner(of claim: LockClaim) -> ScriptArgument { self.state.withLock { $0.encodings.owner(of: claim) } }

    /// A claim that is not over.
    func claim(_ attempt: AttemptID) -> (LockClaim, owner: ScriptArgument)? {
        self.state.withLock { state in
            state.machine.claim(attempt).map { ($0, state.encodings.owner(of: $0)) }
        }
    }

    /// The claim is over, and its release can leave in order. `nil` if it cannot: then nothing has changed.
    @inline(__always)
    func releasedInOrder(_ claim: LockClaim) -> ScriptArgument? {
        self.state.withLock { state in
            guard state.machine.canReleaseInOrder else { return nil }
            state.machine.ended(claim.attempt)
            return state.encodings.owner(of: claim)
        }
    }

    private func perform(_ effect: MasterMachine.Effect) {
        switch effect {
        case .touch(let attempt): self.touch(attempt)
        case .grant(let attempt, let token, let validUntil):
            self.tell(.granted(attempt, LockGrant(token: token, tokenDomain: .clock, validity: validUntil)))
        case .confirm(let attempt, let token, let validUntil, let connection):
            // One that was taken back meanwhile is released by that.
            guard let (claim, _) = self.claim(attempt) else { return }
            self.confirm(
                claim, LockGrant(token: token, tokenDomain: .clock, validity: validUntil), on: connection)
        case .held(let attempt, let holder): self.tell(.held(attempt, by: OwnerText.holders(in: holder)))
        case .gone(let attempt): self.tell(.gone(attempt))
        case .lost(let attempt): self.tell(.lost(attempt, .broken))
        case .fail(let attempt, let reason): self.tell(.failed(attempt, reason.error))
        case .renewAll: self.tell(.reconnected)
        case .lookAtSettings(let connection): self.lookAtSettings(on: connection)
        case .warnOfRefusal(let reason): self.warnOfRefusal(reason.error)
        case .warnOfClock(let step): self.warnOfClock(step)
        case .wake: self.alarm.poke()
        }
    }

    private func warnOfRefusal(_ error: LockError) {
        self.logger.warning(
            "the server refuses what it is asked; whoever waits for a lock goes on waiting until it does not",
            metadata: ["lock.backend": "\(self.identity)", "redis.error": "\(error.message)"]
        )
    }

    private func warnOfClock(_ step: Duration) {
        self.logger.warning(
            "the server's clock was stepped: leases end earlier or later than they should",
            metadata: ["lock.backend": "\(self.identity)", "lock.clock.step": "\(step)"]
        )
    }

    func tell(_ event: LockEvent) {
        self.state.withLock { $0.sink }?.receive(event)
    }

    private func run(_ monitor: SentinelMonitor, _ group: inout DiscardingTaskGroup) {
        monitor.follow(self.client)
        if self.renewingClient !== self.client { monitor.follow(self.renewingClient) }
        group.addTask { await monitor.run() }
    }

    /// Of a connection that hears nothing.
    private struct NoDelegate: RedisClientDelegate {
        func connected(_ id: RedisConnectionID, greeting: RedisGreeting) {}
        func disconnected(_ id: RedisConnectionID, _ error: RedisError) {}
        func pushed(_ elements: [RESPValue], on id: RedisConnectionID) {}
    }

    /// Takes what the connection tells, on its event loop.
    private final class Delegate: RedisClientDelegate {
        private let weakBackend = Mutex(WeakBackend())

        private struct WeakBackend {
            weak var value: RedisLockBackend?
        }

        var backend: RedisLockBackend? {
            get { self.weakBackend.withLock { $0.value } }
            set { self.weakBackend.withLock { $0.value = newValue } }
        }

        func connected(_ id: RedisConnectionID, greeting: RedisGreeting) {
            guard let backend = self.backend else { return }
            let now = backend.environment.now
            backend.feed { $0.connected(id, isFound: backend.monitor != nil, now: now) }
        }

        func disconnected(_ id: RedisConnectionID, _ error: RedisError) {
            self.backend?.ask { $0.disconnected() }
        }

        func pushed(_ elements: [RESPValue], on id: RedisConnectionID) {
            guard let backend = self.backend,
                let message = PushedMessage(elements, hasEpochs: backend.monitor != nil)
            else { return }
            let now = backend.environment.now
            backend.feed { $0.pushed(message, connection: id, now: now) }
        }
    }
}
