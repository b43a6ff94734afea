import Dispatch

/// Where the background work of all clients of a process runs: a thread apart from those that run everybody's tasks.
///
/// Code that keeps the threads of the global pool busy would otherwise keep leases from being renewed, and locks would be
/// lost for no other reason.
final class KeeperExecutor: TaskExecutor {
    static let shared = KeeperExecutor()

    private let queue = DispatchQueue(label: "distributed-locks.keeper", qos: .userInitiated)

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let executor = self.asUnownedTaskExecutor()
        self.queue.async { job.runSynchronously(on: executor) }
    }
}
