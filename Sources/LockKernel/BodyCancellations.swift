import Synchronization

/// Cancels the bodies of lost grants, on threads of its own.
///
/// Cancelling a task runs its `onCancel` handlers, which are other people's code and may block. The thread that finds a loss
/// keeps everybody's locks (the keeper's, a socket poller's, an event loop), so it only declares the loss, and leaves the
/// cancellation to these threads. A handler that blocks keeps one of them.
package final class BodyCancellations: Sendable {
    /// As many cancellations may block at one time in a process; further ones wait until one of them ends.
    package static let maximumThreads = 64

    private struct State {
        /// Those from ``first`` on.
        var waiting: [@Sendable () -> Void] = []
        var first = 0
        var threads = 0
    }

    private let state = Mutex(State())

    package init() {}

    /// Has a body cancelled, soon.
    package func add(_ threads: some ThreadSource, _ cancelBody: @escaping @Sendable () -> Void) {
        let starts = self.state.withLock { state in
            state.waiting.append(cancelBody)
            guard state.threads < Self.maximumThreads else { return false }
            state.threads += 1
            return true
        }
        guard starts else { return }
        threads.makeQueue("distributed-locks.cancellation").async { self.work() }
    }

    private func work() {
        while let cancelBody = self.next() { cancelBody() }
    }

    private func next() -> (@Sendable () -> Void)? {
        self.state.withLock { state in
            if state.first < state.waiting.count {
                let cancelBody = state.waiting[state.first]
                state.waiting[state.first] = {}
                state.first += 1
                return cancelBody
            }
            state.waiting = []
            state.first = 0
            state.threads -= 1
            return nil
        }
    }
}
