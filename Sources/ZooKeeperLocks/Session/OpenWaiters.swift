import LockKernel
import LockTransport
import NIOCore

/// Who waits until there is a session to ask with, each for so long. Lives on the event loop.
final class OpenWaiters {
    private struct Waiter {
        let timer: Scheduled<Void>
        let resume: (Bool) -> Void
    }

    private let eventLoop: any EventLoop
    private var waiters: [UInt64: Waiter] = [:]
    private var last: UInt64 = 0

    init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
    }

    /// - Parameter body: called once: whether it was resumed in time.
    func add(within patience: Duration, _ body: @escaping (_ isInTime: Bool) -> Void) {
        self.last += 1
        let id = self.last
        let waiters = NIOLoopBound(self, eventLoop: self.eventLoop)
        let timer = self.eventLoop.scheduleTask(in: TimeAmount(patience)) {
            if let waiter = waiters.value.waiters.removeValue(forKey: id) { waiter.resume(false) }
        }
        self.waiters[id] = Waiter(timer: timer, resume: body)
    }

    /// In the order in which they came.
    func resumeAll() {
        for (_, waiter) in exchange(&self.waiters, with: [:]).sorted(by: { $0.key < $1.key }) {
            waiter.timer.cancel()
            waiter.resume(true)
        }
    }
}
