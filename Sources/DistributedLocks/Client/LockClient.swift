package import LockKernel
import Logging
import Metrics
public import ServiceLifecycle

/// Takes and keeps locks on one backend.
///
/// A client renews the leases of everything it holds, tells each holder in time when its lock is lost, and cleans up what
/// cancelled or failed calls may have left on the backend. All of that happens in ``run()``, so a client has to run for as
/// long as it is used: as a service of a `ServiceGroup`, or in a child task. `withLockClient` of LockURLs does it for
/// scripts and tests.
///
/// ```swift
/// try await locks.withLock("inventory/42", lease: .seconds(10), waitingAtMost: .seconds(5)) { held in
///     try await shop.sell(item: 42, fencingToken: held.token)
/// }
/// ```
///
/// Validity is reported conservatively, under stated clock bounds. With a fenced resource, stale writes are rejected, under
/// stated durability assumptions.
public final class LockClient: Sendable, Service {
    /// The backend that stores the locks.
    public let backend: any LockBackend
    /// The same, if nothing can overtake a release there.
    let orderedRelease: (any OrderedRelease)?
    /// How this client behaves where a call does not say it.
    public let configuration: Configuration

    let environment: Environment
    let time: ClientTime
    let logger: Logger
    let metrics: LockMetrics
    let tracing: LockTracing
    let engine: EngineShell

    /// Makes a client. It does nothing until ``run()`` is called.
    public convenience init(backend: some LockBackend, configuration: Configuration = Configuration()) {
        self.init(backend: backend, configuration: configuration, environment: .system)
    }

    /// Makes a client that has its random numbers and threads from an environment, and its time, too, unless the configuration
    /// has a clock that is not the machine's.
    package init(backend: some LockBackend, configuration: Configuration, environment: Environment) {
        self.backend = backend
        self.orderedRelease = backend as? any OrderedRelease
        self.environment = environment
        self.configuration = configuration
        self.time = ClientTime(configuration.clock, environment)
        var logger = configuration.logger
        logger[metadataKey: LogKey.backend] = .string(backend.identity)
        self.logger = logger
        self.metrics = LockMetrics(
            backend: backend.capabilities.kind,
            factory: configuration.metricsFactory ?? MetricsSystem.factory
        )
        self.tracing = LockTracing(tracer: configuration.tracer)
        self.engine = EngineShell(
            backend: backend, configuration: configuration, environment: environment, time: self.time, logger: logger,
            metrics: self.metrics)
    }

    /// Where the backend does its input and output, if tasks can run there: see ``CallerExecutor/taskExecutor``. `nil` as a
    /// preference is none.
    public var taskExecutor: (any TaskExecutor)? { (self.backend as? any CallerExecutor)?.taskExecutor }

    /// Does all background work of the client until it is cancelled or its service group shuts down gracefully.
    ///
    /// When it ends, calls that wait fail with `clientNotRunning`, holders are told that their grants are `lost` and their
    /// bodies are cancelled; within the shutdown timeout (2 s unless configured) everything that was held is released.
    /// Afterwards every call fails at once. A client runs once.
    ///
    /// - Throws: ``LockError`` if the client has run before; whatever makes the backend unable to go on.
    public func run() async throws { try await self.engine.run() }

    func now() -> BootInstant { self.time.now() }

    /// Tells what the backend knows of one lock. An unlocked name is no error: it has no holder.
    ///
    /// - Throws: ``LockError``: `invalidName`, `unreachable`, `noQuorum`, `serverRefused`, `outcomeUnknown`,
    ///   `clientNotRunning`; `CancellationError` if the caller was cancelled.
    public func status(of name: some LockNameConvertible) async throws -> LockStatus {
        let name = try name.lockName()
        let all = try await self.ask { backend throws(LockError) in try await backend.status(of: name) }
        return all.first
            ?? LockStatus(name: name, holders: [], waiters: [], lastToken: nil, tokenDomain: .clock)
    }

    /// Tells what the backend knows of all locks that are held or waited for, in the order of their names.
    ///
    /// - Throws: ``LockError``: `unreachable`, `noQuorum`, `serverRefused`, `outcomeUnknown`, `clientNotRunning`;
    ///   `CancellationError` if the caller was cancelled.
    public func statusOfAll() async throws -> [LockStatus] {
        let all = try await self.ask { backend throws(LockError) in try await backend.status(of: nil) }
        return all.sorted { $0.name.rawValue < $1.name.rawValue }
    }

    /// Breaks a lock by hand.
    ///
    /// The holder is told: its body is cancelled and its grant is `lost`. The next one is granted the lock when the holder
    /// has released it or when its lease has passed. The token goes on rising.
    ///
    /// A holder that is another program (a foreign library) cannot be told: then nothing is changed, and the reply is
    /// ``BreakReply/cannotBeTold(remainingLease:)``, unless the lock is broken immediately.
    ///
    /// - Parameters:
    ///   - name: The lock.
    ///   - immediately: Grants the lock to the next one without waiting. For the rest of the old lease two may believe to
    ///     hold the lock; only a fenced resource is safe then.
    /// - Throws: ``LockError``: `invalidName`, `unreachable`, `noQuorum`, `serverRefused`, `outcomeUnknown`,
    ///   `clientNotRunning`; `CancellationError` if the caller was cancelled: the lock may be broken all the same.
    public func breakLock(
        _ name: some LockNameConvertible,
        immediately: Bool = false
    ) async throws -> BreakReply {
        let name = try name.lockName()
        return try await self.ask { backend throws(LockError) in
            try await backend.breakLock(name, immediately: immediately)
        }
    }

    /// One exchange that serves people. Cancellation is told as everywhere else.
    private func ask<Answer: Sendable>(
        _ exchange: (any LockBackend) async throws(LockError) -> Answer
    ) async throws -> Answer {
        do throws(LockError) {
            try await self.waitUntilRunning(until: self.now() + self.configuration.startTimeout)
            return try await exchange(self.backend)
        } catch {
            switch error.code {
            case .cancelled: throw CancellationError()
            case .outcomeUnknown where Task.isCancelled: throw CancellationError()
            default: throw error
            }
        }
    }

    /// Waits until ``run()`` has started.
    ///
    /// - Throws: `clientNotRunning` if it has ended, or has not started in time.
    func waitUntilRunning(until deadline: BootInstant) async throws(LockError) {
        switch self.engine.ask({ $0.start }) {
        case .running: return
        case .ended: throw self.stoppedError()
        case .new: break
        }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [time] in try? await time.sleep(until: deadline) }
            group.addTask { [engine] in await engine.waitForStart() }
            await group.next()
            group.cancelAll()
        }
        if !self.engine.ask({ $0.isRunning }) {
            if Task.isCancelled { throw LockError(.cancelled, "cancelled while waiting for the lock client to run") }
            throw LockError(.clientNotRunning, "the lock client's run() has not been started, or it has ended")
        }
    }

    /// How many callers wait in a queue and know it. A store knows of a waiter before its client hears that it is queued.
    package var queuedCount: Int { self.engine.ask { $0.queuedCount } }

    /// Whether something was not taken back, for all that is known: it ends with its lease. Asked when the client has ended.
    package var hasUnconfirmedReleases: Bool { self.engine.ask { $0.hasUnconfirmedReleases } }
}
