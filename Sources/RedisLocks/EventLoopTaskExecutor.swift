import DequeModule
import NIOCore

/// Runs tasks on an event loop.
///
/// What becomes ready in one turn of the loop, as by the replies of one read, is run in the next ones, some at a time: the loop
/// is asked once for many.
final class EventLoopTaskExecutor: TaskExecutor {
    private let eventLoop: any EventLoop
    private let ready: NIOLoopBoundBox<Ready>

    private static let fewestJobs = 16

    private struct Ready {
        var jobs: Deque<UnownedJob> = []
        var isScheduled = false
    }

    init(_ eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        self.ready = NIOLoopBoundBox.makeBoxSendingValue(Ready(), eventLoop: eventLoop)
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        guard self.eventLoop.inEventLoop else {
            self.eventLoop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
            return
        }
        self.ready.value.jobs.append(job)
        self.schedule()
    }

    private func schedule() {
        guard !self.ready.value.isScheduled else { return }
        self.ready.value.isScheduled = true
        self.eventLoop.execute { self.run() }
    }

    private func run() {
        self.ready.value.isScheduled = false
        let executor = self.asUnownedTaskExecutor()
        // Half of them: what they send leaves before the rest is run, so that the server has something to do meanwhile.
        let count = self.ready.value.jobs.count
        for _ in 0..<min(count, max(Self.fewestJobs, count / 2)) {
            self.ready.value.jobs.removeFirst().runSynchronously(on: executor)
        }
        if !self.ready.value.jobs.isEmpty { self.schedule() }
    }
}
