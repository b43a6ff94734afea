import DequeModule
import LockKernel

/// A machine of a world, with one process on it.
final class Host: @unchecked Sendable {
    enum State {
        case runs
        /// As after SIGSTOP, or while a virtual machine is moved: it does nothing, and its clock goes on.
        case stands
        case isDead
    }

    let name: String
    unowned var world: World!
    /// How long the machine had been up when the world began, in nanoseconds.
    var bootTime: Int64 = 0
    /// How far its wall clock is from the world's, in nanoseconds.
    var wallClockError: Int64 = 0
    private(set) var state = State.runs
    /// What comes while it stands, or is dead. A dead process does nothing, not even end its objects: so they are kept.
    var parked: [() -> Void] = []
    /// What is said to whoever has a connection with it when it dies.
    var ended: [() -> Void] = []

    init(name: String) { self.name = name }

    func stop() {
        guard self.state == .runs else { return }
        self.state = .stands
        self.world.note(self, "stands still")
    }

    func resume() {
        guard self.state == .stands else { return }
        self.state = .runs
        self.world.note(self, "goes on")
        self.world.resumed(self)
    }

    /// Nothing of it runs any more. Its machine closes its connections.
    func kill() {
        guard self.state != .isDead else { return }
        self.state = .isDead
        self.world.note(self, "is killed")
        let ended = self.ended
        self.ended = []
        for body in ended { body() }
    }

    func makeEnvironment() -> Environment {
        Environment(
            time: SimulatedTime(self), entropy: SimulatedEntropy(self), threads: SimulatedThreads(self),
            process: SimulatedProcess(self))
    }

    /// The present instant of its clock.
    var now: BootInstant { BootInstant(nanoseconds: self.world.time + self.bootTime) }

    /// When its clock has reached an instant, in nanoseconds of the world.
    func worldTime(of instant: BootInstant) -> Int64 {
        let duration = self.now.duration(to: instant)
        let nanoseconds = (duration.attoseconds + 999_999_999) / 1_000_000_000
        return self.world.time + Int64(clamping: max(nanoseconds, 0))
    }

    /// Microseconds since 1970 by its wall clock. Worlds begin in 2026.
    var wallClock: Int64 { 1_780_000_000_000_000 + (self.world.time + self.wallClockError) / 1_000 }
}

private struct SimulatedTime: TimeSource {
    /// Whoever sleeps. Woken once: by the time, or by being cancelled.
    private final class Sleeper: @unchecked Sendable {
        var continuation: UnsafeContinuation<Void, any Error>?
        var isCancelled = false

        func wake() { self.continuation.take()?.resume() }

        func cancel() {
            self.isCancelled = true
            self.continuation.take()?.resume(throwing: CancellationError())
        }
    }

    let host: Host
    private let timers: World.Source

    init(_ host: Host) {
        self.host = host
        self.timers = host.world.makeSource(host, "timers")
    }

    func now() -> BootInstant { self.host.now }

    func sleep(until instant: BootInstant) async throws {
        let sleeper = Sleeper()
        try await withTaskCancellationHandler {
            try await withUnsafeThrowingContinuation { (continuation: UnsafeContinuation<Void, any Error>) in
                // May have been called before.
                if sleeper.isCancelled { return continuation.resume(throwing: CancellationError()) }
                sleeper.continuation = continuation
                self.host.world.enqueue(self.timers, at: self.host.worldTime(of: instant)) { sleeper.wake() }
            }
        } onCancel: {
            sleeper.cancel()
        }
    }

    func wallClock() -> Int64 { self.host.wallClock }

    func bootTime() -> Int64 { self.host.world.time + self.host.bootTime }
}

extension SimulatedTime: @unchecked Sendable {}

private final class SimulatedEntropy: EntropySource, @unchecked Sendable {
    private var generator: SimulationGenerator

    init(_ host: Host) { self.generator = SimulationGenerator(seed: host.world.generator.next()) }

    func fill(_ words: inout [UInt64]) {
        for index in words.indices { words[index] = self.generator.next() }
    }
}

private struct SimulatedProcess: ProcessSource {
    let hostName: String
    let number: Int32

    init(_ host: Host) {
        self.hostName = host.name
        self.number = Int32(host.world.generator.next(upTo: 30_000)) + 1
    }
}

private struct SimulatedThreads: ThreadSource, @unchecked Sendable {
    private let host: Host
    let keeper: any KeeperThread
    /// Those of a process that stands still wait for it, and for nobody else.
    let cancellations = BodyCancellations()

    init(_ host: Host) {
        self.host = host
        self.keeper = SimulatedKeeper(host)
    }

    func makeQueue(_ label: String) -> any WorkQueue { SimulatedQueue(self.host, label) }

    func pause(microseconds: UInt32) { self.host.world.passes(Int64(microseconds) * 1_000) }

    func yield() {}
}

private struct SimulatedQueue: WorkQueue, @unchecked Sendable {
    private let source: World.Source

    init(_ host: Host, _ label: String) { self.source = host.world.makeSource(host, label) }

    func async(_ work: @escaping @Sendable () -> Void) { self.source.host.world.enqueue(self.source, work) }

    func async(after delay: Duration, _ work: @escaping @Sendable () -> Void) {
        let world = self.source.host.world!
        let nanoseconds = max(0, delay.attoseconds / 1_000_000_000) + 1
        world.enqueue(self.source, at: world.time + Int64(clamping: nanoseconds), work)
    }
}

private final class SimulatedKeeper: KeeperThread {
    private let queue: SimulatedQueue

    init(_ host: Host) { self.queue = SimulatedQueue(host, "keeper") }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let executor = self.asUnownedTaskExecutor()
        self.queue.async { job.runSynchronously(on: executor) }
    }

    func call(after delay: Duration, _ body: @escaping @Sendable () -> Void) {
        self.queue.async(after: delay, body)
    }
}
