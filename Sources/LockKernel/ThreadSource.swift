import Dispatch

/// Where threads and queues come from.
package protocol ThreadSource: Sendable {
    /// Where the background work of all clients of a process runs: a thread apart from those that run everybody's tasks.
    ///
    /// Code that keeps the threads of the global pool busy would otherwise keep leases from being renewed, and locks would
    /// be lost for no other reason. So what wakes this work must not need the pool either: see `Alarm`.
    var keeper: any KeeperThread { get }

    /// Where bodies of a process are cancelled that have lost their grants.
    var cancellations: BodyCancellations { get }

    /// A queue that does one thing after another, on a thread that it has whenever there is work, whatever others do.
    func makeQueue(_ label: String) -> any WorkQueue

    /// Keeps the thread that calls waiting.
    func pause(microseconds: UInt32)

    /// Lets another thread go first.
    func yield()
}

extension ThreadSource {
    /// Those of this process.
    package var cancellations: BodyCancellations { SystemThreads.cancellations }
}

/// Runs tasks, and calls somebody after a while, on one thread.
package protocol KeeperThread: TaskExecutor {
    /// Not before the time is over.
    func call(after delay: Duration, _ body: @escaping @Sendable () -> Void)
}

package protocol WorkQueue: Sendable {
    func async(_ work: @escaping @Sendable () -> Void)

    /// Not before the time is over.
    func async(after delay: Duration, _ work: @escaping @Sendable () -> Void)
}

/// The machine's own threads.
package struct SystemThreads: ThreadSource {
    private static let keeper = DispatchKeeper()
    fileprivate static let cancellations = BodyCancellations()

    package init() {}

    package var keeper: any KeeperThread { Self.keeper }

    package func makeQueue(_ label: String) -> any WorkQueue { DispatchWorkQueue(label) }

    package func pause(microseconds: UInt32) { usleep(microseconds) }

    package func yield() { sched_yield() }
}

/// Serial: such a queue has a thread of its own whenever it has work, where a concurrent one would share those of the
/// global pool.
private struct DispatchWorkQueue: WorkQueue {
    private let queue: DispatchQueue

    init(_ label: String) {
        self.queue = DispatchQueue(label: label, qos: .userInitiated)
    }

    func async(_ work: @escaping @Sendable () -> Void) { self.queue.async(execute: work) }

    func async(after delay: Duration, _ work: @escaping @Sendable () -> Void) {
        // Rounded up, so that the instant has come when the call does.
        let nanoseconds = max(0, delay.attoseconds / 1_000_000_000) + 1
        self.queue.asyncAfter(deadline: .now() + .nanoseconds(Int(clamping: nanoseconds)), execute: work)
    }
}

private final class DispatchKeeper: KeeperThread {
    private let queue = DispatchWorkQueue("distributed-locks.keeper")

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let executor = self.asUnownedTaskExecutor()
        self.queue.async { job.runSynchronously(on: executor) }
    }

    func call(after delay: Duration, _ body: @escaping @Sendable () -> Void) {
        self.queue.async(after: delay, body)
    }
}
