package import LockKernel
import Logging
import Metrics
import Synchronization

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
public final class LockClient: Sendable {
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
    let alarm: Alarm
    let state: Mutex<State>

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
        self.alarm = Alarm(self.time)
        self.state = Mutex(State(leaseScope: backend.capabilities.leaseScope, entropy: environment.entropy))
    }

    /// Where the backend does its input and output, if tasks can run there: see ``CallerExecutor/taskExecutor``. `nil` as a
    /// preference is none.
    public var taskExecutor: (any TaskExecutor)? { (self.backend as? any CallerExecutor)?.taskExecutor }

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
}

extension LockClient {
    /// All that changes, behind one mutex. Nothing is resumed, called or awaited while it is held.
    struct State {
        enum Lifecycle {
            case new
            case running
            case stopping
            case ended
        }

        /// One attempt that is under way, and who waits for its next step.
        struct Attempt {
            var machine: AcquireStateMachine
            let claim: LockClaim
            /// What it is set to in ``State/attemptDeadlines``; `nil` if it is not there.
            var deadline: BootInstant?
            /// Resumed once: by whoever takes it out, under the mutex. With `nil` if the attempt goes on.
            var waiter: WaitContinuation<WaitEnd?>?
            /// What happened before the waiter was there.
            var end: WaitEnd?
            /// A grant came when it was over.
            var isStray = false
        }

        /// How the wait in a queue ended.
        enum WaitEnd: Sendable {
            case finished(AcquireStateMachine.Outcome)
            case startAnew
        }

        var lifecycle: Lifecycle = .new
        var isRunCalled = false
        var startWaiters: [UInt64: WaitContinuation<Void>] = [:]
        var nextID: UInt64 = 1
        var attempts: [AttemptID: Attempt] = [:]
        var attemptDeadlines = Deadlines()
        var holds: [AttemptID: Hold] = [:]
        var keeper: KeeperStateMachine
        var cleanup = CleanupStateMachine()
        var cleanupsUnderWay = 0
        var releasesUnderWay = 0
        var highWater = TokenHighWater()
        var generator: BufferedRandomNumberGenerator
        /// For when the timer loop has set its alarm; `nil` while it is not asleep, or sleeps without end.
        var alarmSetFor: BootInstant?

        init(leaseScope: LockCapabilities.LeaseScope, entropy: any EntropySource) {
            self.generator = BufferedRandomNumberGenerator(entropy)
            self.keeper = KeeperStateMachine(leaseScope: leaseScope)
        }

        var isStopping: Bool {
            switch self.lifecycle {
            case .new, .running: false
            case .stopping, .ended: true
            }
        }

        mutating func makeID() -> UInt64 {
            defer { self.nextID += 1 }
            return self.nextID
        }

        mutating func nextWakeup() -> BootInstant? {
            var next = self.keeper.nextWakeup()
            if let cleanup = self.cleanup.nextWakeup() { next = next.map { min($0, cleanup) } ?? cleanup }
            if let deadline = self.attemptDeadlines.next() { next = next.map { min($0, deadline) } ?? deadline }
            return next
        }

        /// Whether the timer loop sleeps longer than it may.
        mutating func needsPoke() -> Bool {
            guard let next = self.nextWakeup() else { return false }
            return self.alarmSetFor.map { next < $0 } ?? true
        }
    }
}
