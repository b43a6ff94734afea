import LockKernel
import Synchronization

@testable import EmbeddedLocks

/// Tells when sockets of a simulated host are readable, on a queue of the process's own.
final class SimulatedPoller: SocketPoller {
    private struct Entry: Sendable {
        let socket: Int32
        let isOnce: Bool
        var isPaused = false
        let ready: @Sendable () -> Void
    }

    private struct State {
        var entries: [SocketWatch: Entry] = [:]
        var lastNumber: UInt64 = 0
        var willLook = false
    }

    private let host: SimulatedHost
    private let queue: any WorkQueue
    private let state = Mutex(State())

    init(_ host: SimulatedHost, _ queue: any WorkQueue) {
        self.host = host
        self.queue = queue
    }

    func lookSoon() {
        let isFirst = self.state.withLock { state in
            defer { state.willLook = true }
            return !state.willLook
        }
        if isFirst { self.queue.async { self.look() } }
    }

    private func look() {
        let entries = self.state.withLock { state in
            state.willLook = false
            return state.entries.filter { !$0.value.isPaused }.sorted { $0.key.number < $1.key.number }
        }
        for (watch, entry) in entries where self.host.isReadable(entry.socket) {
            // What it does may have ended this one.
            let isThere = self.state.withLock { state in
                guard state.entries[watch] != nil else { return false }
                if entry.isOnce { state.entries[watch] = nil }
                return true
            }
            guard isThere else { continue }
            if entry.isOnce { self.close(entry.socket) }
            entry.ready()
            // It may not have read all.
            self.lookSoon()
        }
    }

    private func close(_ socket: Int32) { try? self.host.change { $0.close(socket) } }

    func watch(_ socket: Int32, isOnce: Bool, ready: @escaping @Sendable () -> Void) -> SocketWatch {
        defer { self.lookSoon() }
        return self.state.withLock { state in
            state.lastNumber += 1
            let watch = SocketWatch(number: state.lastNumber)
            state.entries[watch] = Entry(socket: socket, isOnce: isOnce, ready: ready)
            return watch
        }
    }

    func cancel(_ watch: SocketWatch) {
        if let entry = self.state.withLock({ $0.entries.removeValue(forKey: watch) }) { self.close(entry.socket) }
    }

    func pause(_ watch: SocketWatch) { self.state.withLock { $0.entries[watch]?.isPaused = true } }

    func resume(_ watch: SocketWatch) {
        self.state.withLock { $0.entries[watch]?.isPaused = false }
        self.lookSoon()
    }
}

/// The threads of a process that can be stopped for good: what they would do from then on stays undone.
final class SimulatedThreads: ThreadSource {
    private struct State {
        var isStopped = false
        var undone: [(queue: any WorkQueue, work: @Sendable () -> Void)] = []
    }

    private let state = Mutex(State())
    private let machine = SystemThreads()
    private let keeperQueue = SystemThreads().makeQueue("simulated keeper")

    func stop() { self.state.withLock { $0.isStopped = true } }

    /// Does what was left undone.
    func goOn() {
        let undone = self.state.withLock { state in
            state.isStopped = false
            defer { state.undone = [] }
            return state.undone
        }
        for (queue, work) in undone { queue.async(work) }
    }

    fileprivate func run(_ work: @escaping @Sendable () -> Void, of queue: any WorkQueue) {
        let isStopped = self.state.withLock { state in
            if state.isStopped { state.undone.append((queue, work)) }
            return state.isStopped
        }
        if !isStopped { work() }
    }

    private struct Queue: WorkQueue {
        let threads: SimulatedThreads
        let queue: any WorkQueue

        func async(_ work: @escaping @Sendable () -> Void) {
            self.queue.async { self.threads.run(work, of: self.queue) }
        }

        func async(after delay: Duration, _ work: @escaping @Sendable () -> Void) {
            self.queue.async(after: delay) { self.threads.run(work, of: self.queue) }
        }
    }

    private final class Keeper: KeeperThread {
        let queue: Queue

        init(_ queue: Queue) { self.queue = queue }

        func enqueue(_ job: consuming ExecutorJob) {
            let job = UnownedJob(job)
            let executor = self.asUnownedTaskExecutor()
            self.queue.async { job.runSynchronously(on: executor) }
        }

        func call(after delay: Duration, _ body: @escaping @Sendable () -> Void) {
            self.queue.async(after: delay, body)
        }
    }

    private let theKeeper = Mutex<Keeper?>(nil)

    var keeper: any KeeperThread {
        self.theKeeper.withLock { keeper in
            if let keeper { return keeper }
            let made = Keeper(Queue(threads: self, queue: self.keeperQueue))
            keeper = made
            return made
        }
    }

    func makeQueue(_ label: String) -> any WorkQueue {
        Queue(threads: self, queue: self.machine.makeQueue(label))
    }

    func pause(microseconds: UInt32) { self.machine.pause(microseconds: microseconds) }
    func yield() { self.machine.yield() }
}
