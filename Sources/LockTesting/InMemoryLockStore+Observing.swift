public import DistributedLocks
import Synchronization

extension InMemoryLockStore {
    /// Whether nothing is held or waited for.
    public var isEmpty: Bool {
        self.update { state, now in
            state.timePassed(now: now)
            return state.machine.isEmpty
        }
    }

    /// What the store knows of a lock now.
    public func status(of name: some LockNameConvertible) throws(LockError) -> LockStatus {
        let name = try name.lockName()
        return self.update { state, now in
            state.timePassed(now: now)
            return state.machine.status(of: name, at: now)
        }
    }

    /// What the store knows of all locks that are held or waited for.
    public func statusOfAll() -> [LockStatus] {
        self.update { state, now in
            state.timePassed(now: now)
            return state.machine.statusOfAll(at: now)
        }
    }

    /// Waits until nothing is held or waited for.
    ///
    /// - Throws: `CancellationError` when the task was cancelled first.
    public func waitUntilEmpty() async throws {
        try await self.observe { machine, _ in machine.isEmpty }
    }

    /// Waits until so many wait for a lock.
    ///
    /// - Throws: `CancellationError` when the task was cancelled first; `LockError` if the name is invalid.
    public func waitForWaiters(_ count: Int, of name: some LockNameConvertible) async throws {
        let name = try name.lockName()
        try await self.observe { machine, _ in machine.locks[name]?.waiters.count ?? 0 == count }
    }

    /// Waits until a lock's state fits.
    ///
    /// - Parameters:
    ///   - name: The lock.
    ///   - matches: Looks at the state after every change. It must not use the store.
    /// - Throws: `CancellationError` when the task was cancelled first; `LockError` if the name is invalid.
    public func wait(
        for name: some LockNameConvertible,
        until matches: @escaping @Sendable (LockStatus) -> Bool
    ) async throws {
        let name = try name.lockName()
        try await self.observe { machine, now in matches(machine.status(of: name, at: now)) }
    }

    private func observe(_ isSatisfied: @escaping @Sendable (Machine, ContinuousClock.Instant) -> Bool) async throws {
        let key = self.update { state, _ in state.makeKey() }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                let isCancelled = self.update { state, _ in
                    if Task.isCancelled { return true }
                    state.observers[key] = Observer(isSatisfied: isSatisfied, continuation: continuation)
                    return false
                }
                if isCancelled { continuation.resume(throwing: CancellationError()) }
            }
        } onCancel: {
            let observer = self.state.withLock { $0.observers.removeValue(forKey: key) }
            observer?.continuation.resume(throwing: CancellationError())
        }
    }
}
