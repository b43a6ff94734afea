public import DistributedLocks
import Synchronization

/// A clock that moves only when a test moves it.
///
/// Give the same clock to the client and to the store, start what is to be tested, wait until it has armed its timer, and
/// move the clock. No test has to sleep.
///
/// ```swift
/// let clock = ManualClock()
/// try await withInMemoryLocks(clock: clock) { locks, store in
///     let handle = try await locks.acquire("inventory/42", lease: .seconds(30))
///     try await clock.waitForSleeper(until: clock.now() + .seconds(10))  // the renewal is due a third of the lease later
///     clock.advance(by: .seconds(10))
///     …
/// }
/// ```
public final class ManualClock: LockClock {
    private struct Sleeper {
        let instant: ContinuousClock.Instant
        let continuation: CheckedContinuation<Void, any Error>
    }

    private struct Watcher {
        let matches: @Sendable (ContinuousClock.Instant) -> Bool
        let count: Int
        let continuation: CheckedContinuation<[ContinuousClock.Instant], any Error>
    }

    private struct State {
        var now: ContinuousClock.Instant
        var nextKey: UInt64 = 0
        var sleepers: [UInt64: Sleeper] = [:]
        var watchers: [UInt64: Watcher] = [:]
        var runsFreely = false

        mutating func makeKey() -> UInt64 {
            defer { self.nextKey += 1 }
            return self.nextKey
        }

        func instants(matching matches: (ContinuousClock.Instant) -> Bool) -> [ContinuousClock.Instant] {
            self.sleepers.values.map(\.instant).filter(matches).sorted()
        }

        /// Takes out whoever is due, the earliest first.
        mutating func takeDue() -> [Sleeper] {
            let due = self.sleepers.filter { $0.value.instant <= self.now }
            for key in due.keys { self.sleepers[key] = nil }
            return due.sorted { ($0.value.instant, $0.key) < ($1.value.instant, $1.key) }.map(\.value)
        }

        /// Takes out the watchers that see what they wait for.
        mutating func takeSatisfied() -> [(Watcher, [ContinuousClock.Instant])] {
            var satisfied: [(Watcher, [ContinuousClock.Instant])] = []
            for (key, watcher) in self.watchers {
                let instants = self.instants(matching: watcher.matches)
                guard instants.count >= watcher.count else { continue }
                self.watchers[key] = nil
                satisfied.append((watcher, instants))
            }
            return satisfied
        }
    }

    private let state: Mutex<State>

    /// Makes a clock that stands still.
    ///
    /// - Parameter start: What it shows at first: the present instant unless told otherwise.
    public init(start: ContinuousClock.Instant = .now) {
        self.state = Mutex(State(now: start))
    }

    /// What the clock shows.
    public func now() -> ContinuousClock.Instant { self.state.withLock { $0.now } }

    /// How many tasks sleep on this clock.
    public var sleeperCount: Int { self.state.withLock { $0.sleepers.count } }

    /// The instants for which tasks sleep, the earliest first.
    public var sleepers: [ContinuousClock.Instant] { self.state.withLock { $0.instants(matching: { _ in true }) } }

    /// Waits until the clock has been moved to an instant, or past it.
    ///
    /// - Throws: `CancellationError` when the task was cancelled first.
    public func sleep(until instant: ContinuousClock.Instant) async throws {
        let key = self.state.withLock { $0.makeKey() }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                enum Now { case over, cancelled, asleep([(Watcher, [ContinuousClock.Instant])]) }
                let now = self.state.withLock { state -> Now in
                    if Task.isCancelled { return .cancelled }
                    if state.runsFreely { state.now = max(state.now, instant) }
                    if instant <= state.now { return .over }
                    state.sleepers[key] = Sleeper(instant: instant, continuation: continuation)
                    return .asleep(state.takeSatisfied())
                }
                switch now {
                case .over:
                    continuation.resume()
                case .cancelled:
                    continuation.resume(throwing: CancellationError())
                case .asleep(let satisfied):
                    for (watcher, instants) in satisfied { watcher.continuation.resume(returning: instants) }
                }
            }
        } onCancel: {
            let sleeper = self.state.withLock { $0.sleepers.removeValue(forKey: key) }
            sleeper?.continuation.resume(throwing: CancellationError())
        }
    }

    /// Moves the clock on, and wakes whoever is due.
    public func advance(by duration: Duration) {
        precondition(duration >= .zero, "a clock does not go back")
        self.advance { $0 + duration }
    }

    /// Moves the clock to an instant, and wakes whoever is due. An instant in the past changes nothing.
    public func advance(to instant: ContinuousClock.Instant) {
        self.advance { max($0, instant) }
    }

    private func advance(_ move: (ContinuousClock.Instant) -> ContinuousClock.Instant) {
        let due = self.state.withLock { state in
            state.now = move(state.now)
            return state.takeDue()
        }
        for sleeper in due { sleeper.continuation.resume() }
    }

    /// Waits until at least so many tasks sleep on this clock.
    ///
    /// - Throws: `CancellationError` when the task was cancelled first.
    public func waitForSleepers(count: Int) async throws {
        _ = try await self.watch(count: count) { _ in true }
    }

    /// Waits until a task sleeps until exactly this instant.
    ///
    /// - Throws: `CancellationError` when the task was cancelled first.
    public func waitForSleeper(until instant: ContinuousClock.Instant) async throws {
        _ = try await self.watch(count: 1) { $0 == instant }
    }

    /// Waits until a task sleeps until an instant that fits.
    ///
    /// - Returns: the earliest such instant.
    /// - Throws: `CancellationError` when the task was cancelled first.
    @discardableResult
    public func waitForSleeper(
        where matches: @escaping @Sendable (ContinuousClock.Instant) -> Bool
    ) async throws -> ContinuousClock.Instant {
        try await self.watch(count: 1, matches)[0]
    }

    private func watch(
        count: Int,
        _ matches: @escaping @Sendable (ContinuousClock.Instant) -> Bool
    ) async throws -> [ContinuousClock.Instant] {
        let key = self.state.withLock { $0.makeKey() }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                enum Now { case satisfied([ContinuousClock.Instant]), cancelled, waits }
                let now = self.state.withLock { state -> Now in
                    if Task.isCancelled { return .cancelled }
                    let instants = state.instants(matching: matches)
                    if instants.count >= count { return .satisfied(instants) }
                    state.watchers[key] = Watcher(matches: matches, count: count, continuation: continuation)
                    return .waits
                }
                switch now {
                case .satisfied(let instants): continuation.resume(returning: instants)
                case .cancelled: continuation.resume(throwing: CancellationError())
                case .waits: break
                }
            }
        } onCancel: {
            let watcher = self.state.withLock { $0.watchers.removeValue(forKey: key) }
            watcher?.continuation.resume(throwing: CancellationError())
        }
    }

    /// From now on every sleep is over at once, and takes the clock along: for the end of a test, when nobody moves the
    /// clock any more.
    func runFreely() {
        let due = self.state.withLock { state in
            state.runsFreely = true
            if let last = state.sleepers.values.map(\.instant).min() { state.now = max(state.now, last) }
            return state.takeDue()
        }
        for sleeper in due { sleeper.continuation.resume() }
    }
}
