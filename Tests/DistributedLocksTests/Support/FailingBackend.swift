import DistributedLocks
import LockTesting

/// A backend whose `run()` fails when it is told to.
struct FailingBackend: ForwardingBackend {
    struct Failure: Error {}

    let base: InMemoryLockBackend
    let fails = Latch()

    func run() async throws {
        try await self.fails.waitUnlessCancelled()
        throw Failure()
    }
}
