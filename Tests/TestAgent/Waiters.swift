import DistributedLocks
import LockURLs

/// `test-agent --waiters URL NAME COUNT LEASE-MS`: waits for one lock from many tasks of one client. It writes
/// `served` for each that was granted the lock, or was told that it had lost it.
struct Waiters {
    let name: String
    let count: Int
    let lease: Duration

    func run(url: String) async throws {
        try await withLockClient(url) { locks in
            await withDiscardingTaskGroup { group in
                for _ in 0..<self.count {
                    group.addTask {
                        do {
                            try await locks.withLock(self.name, lease: self.lease) { _ in }
                            TestAgent.say("served")
                        } catch let error as LockError where error.code == .lost {
                            TestAgent.say("served")
                        } catch {
                            TestAgent.say("failed \(error)")
                        }
                    }
                }
            }
        }
    }
}
