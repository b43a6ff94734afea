import DequeModule
import LockKernel
import Synchronization

/// Cancels the bodies of lost grants, on threads of its own.
///
/// Cancelling a task runs its `onCancel` handlers, which are other people's code and may block. The thread that finds a loss
/// keeps everybody's locks (the keeper's, a socket poller's, an event loop), so it only declares the loss, and leaves the
/// cancellation to these threads. A handler that blocks keeps one of them.
final class BodyCancellations: Sendable {
    static let shared = BodyCancellations()

    /// As many cancellations may block at one time in a process; further ones wait until one of them ends.
    static let maximumThreads = 64

    private struct State {
        var waiting: Deque<Hold> = []
        var threads = 0
    }

    private let state = Mutex(State())

    /// Has the body of a lost grant cancelled, soon.
    func cancelBody(of hold: Hold) {
        let starts = self.state.withLock { state in
            state.waiting.append(hold)
            guard state.threads < Self.maximumThreads else { return false }
            state.threads += 1
            return true
        }
        guard starts else { return }
        hold.time.environment.threads.makeQueue("distributed-locks.cancellation").async { self.work() }
    }

    private func work() {
        while let hold = self.next() { hold.cancelBody() }
    }

    private func next() -> Hold? {
        self.state.withLock { state in
            if let hold = state.waiting.popFirst() { return hold }
            state.threads -= 1
            return nil
        }
    }
}
