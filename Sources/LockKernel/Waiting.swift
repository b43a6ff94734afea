// Checked in debug builds only: a checked continuation costs an allocation, and has a size that is known at run time only.
#if DEBUG
/// Takes what a task waits for, exactly once.
@usableFromInline
package typealias WaitContinuation<Value> = CheckedContinuation<Value, Never>
#else
/// Takes what a task waits for, exactly once.
@usableFromInline
package typealias WaitContinuation<Value> = UnsafeContinuation<Value, Never>
#endif

/// Waits for a continuation to be resumed by whoever it is handed to, whatever becomes of the task.
@inlinable
package func withWaitContinuation<Value: Sendable>(
    isolation: isolated (any Actor)? = #isolation,
    _ handOver: (WaitContinuation<Value>) -> Void
) async -> Value {
    #if DEBUG
    await withCheckedContinuation(handOver)
    #else
    await withUnsafeContinuation(handOver)
    #endif
}

/// As ``withWaitContinuation(_:)``; if the task is cancelled, the wait is given up.
///
/// A task's cancellation handler may run before the continuation is there to be resumed. So `giveUp` is called once more after
/// that, and may be called when there is nothing to give up any more.
///
/// - Parameter giveUp: has the continuation resumed. It runs on the canceller's thread, under the lock of the cancelled task.
@inlinable
package func withWaitContinuation<Value: Sendable>(
    isolation: isolated (any Actor)? = #isolation,
    givingUp giveUp: @Sendable () -> Void,
    _ handOver: (WaitContinuation<Value>) -> Void
) async -> Value {
    await withTaskCancellationHandler {
        await withWaitContinuation { continuation in
            handOver(continuation)
            if Task.isCancelled { giveUp() }
        }
    } onCancel: {
        giveUp()
    }
}
