import DistributedLocks
import LockTesting
import Testing

@Suite struct CallerExecutorTests {
    private struct WithExecutor: ForwardingBackend, CallerExecutor {
        let base: InMemoryLockBackend
        let taskExecutor: any TaskExecutor
    }

    private final class OwnExecutor: TaskExecutor {
        func enqueue(_ job: consuming ExecutorJob) { globalConcurrentExecutor.enqueue(job) }
    }

    @Test func `a client has the executor of its backend, if that has one`() {
        let store = InMemoryLockStore()
        #expect(LockClient(backend: store.connect()).taskExecutor == nil)
        let executor = OwnExecutor()
        let client = LockClient(backend: WithExecutor(base: store.connect(), taskExecutor: executor))
        #expect(client.taskExecutor as? OwnExecutor === executor)
    }
}
