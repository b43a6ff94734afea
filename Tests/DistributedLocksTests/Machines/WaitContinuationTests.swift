import LockKernel
import Synchronization
import TestKit
import Testing

@Suite struct WaitContinuationTests {
    /// Where a test leaves its continuation.
    private final class Box: Sendable {
        private let state = Mutex<(waiter: WaitContinuation<String>?, count: Int)>((nil, 0))

        var giveUps: Int { self.state.withLock { $0.count } }
        var isWaiting: Bool { self.state.withLock { $0.waiter != nil } }

        func put(_ waiter: WaitContinuation<String>) { self.state.withLock { $0.waiter = waiter } }
        func resume(_ text: String) { self.state.withLock { $0.waiter.take() }?.resume(returning: text) }

        func giveUp() {
            self.state.withLock { $0.count += 1 }
            self.resume("given up")
        }
    }

    @Test func `a wait ends when it is resumed, and nothing is given up`() async {
        let box = Box()
        let result = await withWaitContinuation(givingUp: { box.giveUp() }) { continuation in
            box.put(continuation)
            box.resume("done")
        }
        #expect(result == "done" && box.giveUps == 0)
    }

    @Test func `a task that is cancelled while it waits gives up`() async throws {
        let box = Box()
        let task = Task { await withWaitContinuation(givingUp: { box.giveUp() }) { box.put($0) } }
        try await eventually("it waits") { box.isWaiting }
        task.cancel()
        #expect(await task.value == "given up")
        // Twice, if the cancellation came between the put and the look at it.
        #expect(box.giveUps >= 1)
    }

    @Test func `a task that was cancelled before does not wait for ever`() async {
        let box = Box()
        let task = Task {
            while !Task.isCancelled { await Task.yield() }
            // The handler runs now, before the continuation is there.
            return await withWaitContinuation(givingUp: { box.giveUp() }) { box.put($0) }
        }
        task.cancel()
        #expect(await task.value == "given up")
        #expect(box.giveUps >= 1)
    }

    @Test(arguments: 0..<200)
    func `however a cancellation falls, the wait ends once`(round: Int) async {
        let box = Box()
        let task = Task { await withWaitContinuation(givingUp: { box.giveUp() }) { box.put($0) } }
        let resuming = Task { box.resume("done") }
        task.cancel()
        _ = await resuming.value
        #expect(["given up", "done"].contains(await task.value))
    }
}
