// What some stores can do besides, which a store need not know of.

/// A backend with which nothing that a client asks later can overtake a release.
///
/// For scoped calls: they need not wait for the answer to a release then.
public protocol OrderedRelease: LockBackend {
    /// Releases a grant without waiting for the answer.
    ///
    /// - Parameters:
    ///   - claim: The grant.
    ///   - heldFor: For how long the lock was held. A backend whose store may forget a lock can so wait for the answer where
    ///     that costs little beside it.
    ///   - ended: Called once, also before this returns: when the store has answered, or it is not known whether it was done;
    ///     then it is tried again as after ``LockBackend/release(_:)``. A backend that repeats the release itself until the
    ///     store has confirmed it, or cannot know of the claim any more, calls it at once.
    /// - Returns: false if the backend does no such thing now: then ``LockBackend/release(_:)`` is called, and `ended` never.
    func releaseInOrder(
        _ claim: LockClaim,
        heldFor: Duration,
        ended: @escaping @Sendable (Result<ReleaseReply, LockError>) -> Void
    ) -> Bool
}

/// A backend on whose own threads tasks can run.
public protocol CallerExecutor: LockBackend {
    /// Where this backend does its input and output.
    ///
    /// A task that prefers this executor asks and is answered without changing threads, which makes up most of the time of an
    /// uncontended lock: `withTaskExecutorPreference(executor) { @concurrent in … }`, or `addTask(executorPreference:)`. A closure
    /// that is not `@concurrent` may stay where its caller is. What runs there must not block: it would stop the backend, its
    /// renewals among it.
    var taskExecutor: any TaskExecutor { get }
}

/// A backend whose store sees whether the processes of a client live.
public protocol ProcessLiveness: LockBackend {
    /// Descriptors by which others see that this client lives: it counts as dead only when the last process that has
    /// them open is gone. None before the first exchange.
    var livenessDescriptors: [Int32] { get }
}
