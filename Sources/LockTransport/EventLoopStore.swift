package import LockKernel
package import NIOCore

/// What lives on one event loop, for callers on any thread. The class itself needs no lock: it is used on that loop only.
package struct EventLoopStore<Core>: Sendable {
    package let eventLoop: any EventLoop
    package let core: NIOLoopBoundBox<Core>

    package init(_ core: sending Core, on eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        self.core = NIOLoopBoundBox.makeBoxSendingValue(core, eventLoop: eventLoop)
    }

    /// Never at once, even on the loop: a task's cancellation handlers run under its lock.
    @inlinable
    package func execute(_ body: @escaping @Sendable (Core) -> Void) {
        let core = self.core
        self.eventLoop.execute { body(core.value) }
    }

    /// Asks, and waits for the answer, whatever becomes of the task.
    @inlinable
    package func ask<Answer: Sendable>(
        isolation: isolated (any Actor)? = #isolation,
        _ question: @escaping @Sendable (Core, WaitContinuation<Answer>) -> Void
    ) async -> Answer {
        await withWaitContinuation { (continuation: WaitContinuation<Answer>) in
            self.execute { question($0, continuation) }
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// - Parameter cancelled: called if the task is cancelled, once or twice: after the question, and maybe before it as well. It has
    ///   the answer given.
    @inlinable
    package func ask<Answer: Sendable>(
        isolation: isolated (any Actor)? = #isolation,
        _ question: @escaping @Sendable (Core, WaitContinuation<Answer>) -> Void,
        cancelled: @escaping @Sendable (Core) -> Void
    ) async -> Answer {
        await withWaitContinuation(givingUp: { self.execute(cancelled) }) { (continuation: WaitContinuation<Answer>) in
            self.execute { question($0, continuation) }
        }
    }
}
