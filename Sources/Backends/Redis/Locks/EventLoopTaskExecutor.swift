import NIOCore

/// Runs tasks on an event loop.
///
/// What becomes ready in one turn of the loop, as by the replies of one read, is run together: the loop is asked once.
final class EventLoopTaskExecutor: TaskExecutor {
    private let eventLoop: any EventLoop
    private let ready: NIOLoopBoundBox<Ready>

    private struct Ready {
        var jobs: [UnownedJob] = []
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
        var jobs: [UnownedJob] = []
        swap(&jobs, &self.ready.value.jobs)
        let executor = self.asUnownedTaskExecutor()
        // What they make ready comes in the next turn, so that input and output have theirs.
        for job in jobs { job.runSynchronously(on: executor) }
        if self.ready.value.jobs.isEmpty {
            // Its storage serves again.
            jobs.removeAll(keepingCapacity: true)
            swap(&jobs, &self.ready.value.jobs)
        }
    }
}
