import Dispatch
import Synchronization

/// A body whose `onCancel` handler blocks until it is let go.
///
/// The body sleeps meanwhile, and wakes when its handler has returned: a task that is being cancelled can neither go to sleep nor
/// wake, and would keep a thread of the pool.
package final class BlockingHandler: Sendable {
    private struct State {
        var sleeper: CheckedContinuation<Void, Never>?
        var isOver = false
    }

    private let semaphore = DispatchSemaphore(value: 0)
    private let entered = Atomic(false)
    private let blocks = Atomic(false)
    private let state = Mutex(State())

    package init() {}

    package var hasEntered: Bool { self.entered.load(ordering: .acquiring) }

    /// Whether the handler runs, and has not been let go.
    package var isBlocking: Bool { self.blocks.load(ordering: .acquiring) }

    package func body() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = self.state.withLock { state in
                    if !state.isOver { state.sleeper = continuation }
                    return state.isOver
                }
                if isOver { continuation.resume() }
                self.entered.store(true, ordering: .releasing)
            }
        } onCancel: {
            self.blocks.store(true, ordering: .releasing)
            // Not for ever, if the test has failed.
            _ = self.semaphore.wait(timeout: .now() + 60)
            self.blocks.store(false, ordering: .releasing)
            let sleeper = self.state.withLock { state in
                state.isOver = true
                return state.sleeper.take()
            }
            sleeper?.resume()
        }
    }

    package func letGo() { self.semaphore.signal() }
}
