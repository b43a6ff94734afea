import Synchronization

/// Calls other people's code, on threads of its own.
///
/// Cancelling a task runs its `onCancel` handlers, which may block. Whoever finds a reason to cancel is often a thread that keeps
/// everybody's locks (the keeper's, a socket poller's, an event loop), so it leaves the call to these. A call that blocks keeps one of
/// them.
package final class BlockingCalls: Sendable {
    /// As many calls may block at one time in a process; further ones wait until one of them ends.
    package static let maximumThreads = 64

    private struct State {
        var waiting: [@Sendable () -> Void] = []
        var threads = 0
    }

    private let state = Mutex(State())
    private let makeQueue: @Sendable (_ label: String) -> any WorkQueue

    package init(makeQueue: @escaping @Sendable (_ label: String) -> any WorkQueue) { self.makeQueue = makeQueue }

    /// Has it called, soon.
    package func call(_ body: @escaping @Sendable () -> Void) {
        let starts = self.state.withLock { state in
            state.waiting.append(body)
            guard state.threads < Self.maximumThreads else { return false }
            state.threads += 1
            return true
        }
        guard starts else { return }
        self.makeQueue("distributed-locks.cancellation").async { self.work() }
    }

    private func work() {
        while let body = self.next() { body() }
    }

    private func next() -> (@Sendable () -> Void)? {
        self.state.withLock { state in
            if !state.waiting.isEmpty { return state.waiting.removeFirst() }
            state.threads -= 1
            return nil
        }
    }
}
