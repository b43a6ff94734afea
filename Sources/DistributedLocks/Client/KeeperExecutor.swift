import Dispatch

/// Where the background work of all clients of a process runs: a thread apart from those that run everybody's tasks.
///
/// Code that keeps the threads of the global pool busy would otherwise keep leases from being renewed, and locks would be
/// lost for no other reason. So what wakes this work must not need the pool either: see ``Alarm``.
final class KeeperExecutor: TaskExecutor {
    static let shared = KeeperExecutor()

    /// Serial: such a queue has a thread of its own whenever it has work, whatever the others do.
    private let queue = DispatchQueue(label: "distributed-locks.keeper", qos: .userInitiated)

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let executor = self.asUnownedTaskExecutor()
        self.queue.async { job.runSynchronously(on: executor) }
    }

    /// Calls somebody on this thread after a while.
    func call(after delay: Duration, _ body: @escaping @Sendable () -> Void) {
        // Rounded up, so that the instant has come when the call does.
        let nanoseconds = max(0, delay.attoseconds / 1_000_000_000) + 1
        self.queue.asyncAfter(deadline: .now() + .nanoseconds(Int(clamping: nanoseconds)), execute: body)
    }
}
