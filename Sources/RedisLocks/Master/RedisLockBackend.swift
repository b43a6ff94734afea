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
    struct State {
        var waiting = WaitingStateMachine()
        var sink: (any LockEventSink)?
        var alarmSetFor: BootInstant?
        var clock: ServerClock
        /// What stands behind the secrets of this client's owners.
        var suffixes: EncodedMetadata
        var times: (lease: Duration, maximumWaiters: Int?, arguments: ScriptArgument)?
        /// The one that carries requests now.
        var connection: RedisConnectionID?
        /// The next connection may be to another server.
        var mayBeAnother = false
        /// It was logged that the server refuses for now, and it has not served since.
        var isRefusalLogged = false
        /// Why the server did not do what it was asked last for those who wait; `nil` if it did.
        var trouble: LockError?
        /// What was warned of in the server's settings.
        var settingsWarned: Set<String> = []
        /// They were not told, and are not asked for any more.
        var areSettingsRefused = false
        /// Where the server knows the script of releases.
        var releaseScriptIsKnownOn: RedisConnectionID?
    }

    /// Names the server and the database, without credentials.
    public let identity: String
    let configuration: RedisLockConfiguration
    let client: RedisClient
    /// The same as ``client``, unless that one may be kept waiting for replicas.
    let renewingClient: RedisClient
    let monitor: SentinelMonitor?
    let scripts: RedisScript.Group
    let state: Mutex<State>
    let alarm: Alarm
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
                clock: ServerClock(origin: environment.machine.now),
                suffixes: EncodedMetadata { OwnerText.suffix(client: clientName, metadata: $0) }))
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
        if case .connected = self.client.state { return self.state.withLock { $0.trouble } }
        guard let error = self.client.lastError else {
            return LockError(.unreachable, "\(self.configuration) is not connected yet")
        }
        return LockError(error.code == .unusableServer ? .serverRefused : .unreachable, error.message)
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
                self.touch(self.state.withLock { $0.waiting.timerFired(now: now) })
                let next = self.state.withLock { state in
                    state.alarmSetFor = state.waiting.nextWakeup()
                    return state.alarmSetFor
                }
                await self.alarm.sleep(until: next)
            }
        }
        // Whoever hears of events has this backend.
        self.state.withLock { $0.sink = nil }
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
            self.backend?.connected(id)
        }

        func disconnected(_ id: RedisConnectionID, _ error: RedisError) {
            self.backend?.state.withLock { $0.connection = nil }
        }

        func pushed(_ elements: [RESPValue], on id: RedisConnectionID) {
            self.backend?.pushed(elements, connection: id)
        }
    }
}
