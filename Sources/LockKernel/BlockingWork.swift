import Synchronization

/// Does what may block, on threads of its own: a few for a whole process.
///
/// Cancelling a task runs its `onCancel` handlers, which are other people's code. The thread that finds a loss keeps
/// everybody's locks (the keeper's, a socket poller's, an event loop), so it only declares the loss, and leaves the
/// cancellation to these threads. A handler that blocks keeps one of them.
package final class BlockingWork: Sendable {
    /// As many pieces of work may block at one time in a process; further ones wait until one of them ends.
    static let maximumThreads = 64

    private struct State {
        /// The first is the next one. There are many only while as many as may block do so.
        var waiting: [@Sendable () -> Void] = []
        var threads = 0
    }

    private let threads: any ThreadSource
    private let state = Mutex(State())

    init(threads: any ThreadSource) { self.threads = threads }

    /// Soon.
    package func run(_ work: @escaping @Sendable () -> Void) {
        let starts = self.state.withLock { state in
            state.waiting.append(work)
            guard state.threads < Self.maximumThreads else { return false }
            state.threads += 1
            return true
        }
        guard starts else { return }
        self.threads.makeQueue("distributed-locks.cancellation").async { self.work() }
    }

    private func work() {
        while let work = self.next() { work() }
    }

    private func next() -> (@Sendable () -> Void)? {
        self.state.withLock { state in
            if !state.waiting.isEmpty { return state.waiting.removeFirst() }
            state.threads -= 1
            return nil
        }
    }
}
