import Foundation

/// Runs on a thread of its own what waits for a server or a process in place.
///
/// Tests run on a thread for each processor, and many of them measure times: one that waited there for a process to
/// start would keep the others waiting, too.
package func onThread<Success: Sendable>(_ body: @escaping @Sendable () throws -> Success) async throws -> Success {
    try await withCheckedThrowingContinuation { done in
        Thread { done.resume(with: Result { try body() }) }.start()
    }
}

/// The same for a body that is asynchronous and blocks now and then, as by a conversation with a server: what it awaits of its own
/// runs on a thread that nobody else needs.
package func awayFromThePool<Success: Sendable>(_ body: @Sendable () async throws -> Success) async throws -> Success {
    try await withTaskExecutorPreference(BlockingExecutor()) { try await moved(body) }
}

/// Begins on the executor that the task prefers. What is not concurrent stays where its caller is.
@concurrent private func moved<Success: Sendable>(_ body: @Sendable () async throws -> Success) async throws -> Success
{
    // Without anything that has to be done there, the compiler leaves the change of threads to the body, which makes none.
    precondition(isAwayFromThePool)
    return try await body()
}

/// Whether this is such a thread.
package var isAwayFromThePool: Bool { DispatchQueue.getSpecific(key: BlockingExecutor.key) ?? false }

private final class BlockingExecutor: TaskExecutor {
    static let key = DispatchSpecificKey<Bool>()

    // Serial: it has a thread of its own whenever it has work, where a concurrent one shares those of the pool.
    private let queue = DispatchQueue(label: "tests that block")

    init() { self.queue.setSpecific(key: Self.key, value: true) }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let executor = self.asUnownedTaskExecutor()
        self.queue.async { job.runSynchronously(on: executor) }
    }
}
