import Synchronization

/// Opens once; whoever waits goes on.
final class Latch: Sendable {
    private struct State {
        var isOpen = false
        var nextKey: UInt64 = 0
        var waiters: [UInt64: CheckedContinuation<Bool, Never>] = [:]
    }

    private let state = Mutex(State())

    var isOpen: Bool { self.state.withLock { $0.isOpen } }

    func open() {
        let waiters = self.state.withLock { state in
            state.isOpen = true
            defer { state.waiters = [:] }
            return state.waiters.values
        }
        for waiter in waiters { waiter.resume(returning: true) }
    }

    /// Waits, and does not care about cancellation.
    func wait() async {
        _ = await withCheckedContinuation { self.add($0, key: nil) }
    }

    /// Waits.
    ///
    /// - Throws: `CancellationError`.
    func waitUnlessCancelled() async throws {
        let key = self.state.withLock { state in
            defer { state.nextKey += 1 }
            return state.nextKey
        }
        let isOpen = await withTaskCancellationHandler {
            await withCheckedContinuation { self.add($0, key: key) }
        } onCancel: {
            self.state.withLock { $0.waiters.removeValue(forKey: key) }?.resume(returning: false)
        }
        if !isOpen { throw CancellationError() }
    }

    private func add(_ continuation: CheckedContinuation<Bool, Never>, key: UInt64?) {
        let isOpen = self.state.withLock { state -> Bool? in
            if state.isOpen { return true }
            if key != nil && Task.isCancelled { return false }
            state.waiters[key ?? UInt64.max - state.nextKey] = continuation
            state.nextKey += 1
            return nil
        }
        if let isOpen { continuation.resume(returning: isOpen) }
    }
}

/// Waits until the task is cancelled.
func untilCancelled() async throws {
    try await Latch().waitUnlessCancelled()
}
