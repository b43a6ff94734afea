import CSimulator
import DequeModule
import HeapModule
import LockKernel

/// A world with a time of its own, in which everything that runs is run by one thread, one step after another.
///
/// What is ready is run in an order that the seed chooses: the jobs of Swift's tasks, what event loops and queues have to do, what the
/// network delivers, timers that have fired. The time goes on a little with each step, and to the next timer when nothing is ready. So a
/// run is a function of its seed, as long as what runs in it reads no clock, draws no number and meets nobody but through this world.
///
/// One world at a time in a process: the jobs of the whole process are taken over.
final class World: @unchecked Sendable {
    /// Does its work in order. Several of them in any order.
    final class Source {
        let host: Host
        let name: String
        fileprivate var work: Deque<() -> Void> = []
        fileprivate var isListed = false

        fileprivate init(host: Host, name: String) {
            self.host = host
            self.name = name
        }
    }

    private enum Ready {
        case source(Source)
        /// Of the pool: with as many threads as there are jobs, any of them may be the next.
        case job(UnownedJob, Host)

        var host: Host {
            switch self {
            case .source(let source): source.host
            case .job(_, let host): host
            }
        }
    }

    private struct Timer: Comparable {
        let time: Int64
        let number: UInt64
        let source: Source
        let body: () -> Void

        static func < (left: Timer, right: Timer) -> Bool { (left.time, left.number) < (right.time, right.number) }
        static func == (left: Timer, right: Timer) -> Bool { left.number == right.number }
    }

    /// Nanoseconds since the world began.
    private(set) var time: Int64 = 0
    private(set) var steps = 0
    var generator: SimulationGenerator
    let trace: Trace
    /// Whose turn it is; the controller's where nobody's is.
    private var current: Host
    /// The source that is being run. An event loop is asked whether it is that.
    private(set) var currentSource: Source?
    private(set) var controller: Host
    private(set) var hosts: [Host] = []
    private var ready: [Ready] = []
    private var timers = Heap<Timer>()
    private var timerCount: UInt64 = 0

    private nonisolated(unsafe) static var present: World?

    init(seed: UInt64, trace: Trace) {
        self.generator = SimulationGenerator(seed: seed)
        self.trace = trace
        // Made in two steps: a host has its world.
        let controller = Host(name: "controller")
        self.controller = controller
        self.current = controller
        controller.world = self
        self.hosts = [controller]
        precondition(Self.present == nil, "one world at a time")
        Self.present = self
        Self.takeOver
    }

    /// Nothing of this world runs any more.
    func end() { Self.present = nil }

    private static let takeOver: Void = {
        let isDone = csim_take_over_jobs { job in
            guard let world = World.present else { fatalError("a job of Swift's outside of a world") }
            let job = unsafeBitCast(job, to: UnownedJob.self)
            world.list(.job(job, world.current))
        }
        precondition(isDone, "this Swift runtime gives its jobs to nobody")
    }()

    // MARK: Who there is

    /// A machine with one process, whose clock has run for a while.
    func makeHost(_ name: String) -> Host {
        let host = Host(name: name)
        host.world = self
        host.bootTime = Int64.random(in: 1...1_000_000_000_000_000, using: &self.generator)
        self.hosts.append(host)
        return host
    }

    func makeSource(_ host: Host, _ name: String) -> Source { Source(host: host, name: name) }

    /// What is begun there belongs to this host.
    func on(_ host: Host, _ body: () -> Void) {
        let before = self.current
        self.current = host
        body()
        self.current = before
    }

    // MARK: What there is to do

    func enqueue(_ source: Source, _ body: @escaping () -> Void) {
        source.work.append(body)
        self.list(source)
    }

    /// Not before this time has come. A host that stands still, or is dead, hears nothing of it meanwhile.
    func enqueue(_ source: Source, at time: Int64, _ body: @escaping () -> Void) {
        self.timerCount += 1
        self.timers.insert(Timer(time: max(time, self.time), number: self.timerCount, source: source, body: body))
    }

    private func list(_ source: Source) {
        guard !source.isListed else { return }
        source.isListed = true
        self.list(.source(source))
    }

    private func list(_ ready: Ready) {
        let host = ready.host
        switch host.state {
        case .runs: self.ready.append(ready)
        case .stands, .isDead: host.parked.append { self.ready.append(ready) }
        }
    }

    func resumed(_ host: Host) {
        let parked = host.parked
        host.parked = []
        for body in parked { body() }
    }

    // MARK: Steps

    /// Runs until it is said to be over, or nothing is left to do, or the time is over.
    ///
    /// - Returns: whether it is over as it should be.
    func run(until isOver: () -> Bool, atMost limit: Int64) -> Bool {
        while !isOver() {
            guard self.time < limit else { return false }
            guard self.step() else {
                // Nobody does anything any more.
                self.time = limit
                return isOver()
            }
        }
        return true
    }

    /// How long a step takes, in nanoseconds.
    private static let longestStep: Int64 = 20_000

    /// Does one thing. False: there is nothing to do, now or later.
    private func step() -> Bool {
        while self.ready.isEmpty {
            guard let next = self.timers.min else { return false }
            self.time = max(self.time, next.time)
            self.fire()
        }
        self.steps += 1
        let index = Int(self.generator.next(upTo: UInt64(self.ready.count)))
        self.ready.swapAt(index, self.ready.count - 1)
        let ready = self.ready.removeLast()
        guard ready.host.state == .runs else {
            self.list(ready)
            return true
        }
        self.current = ready.host
        switch ready {
        case .job(let job, _):
            csim_run_job(unsafeBitCast(job, to: UnsafeMutableRawPointer.self))
        case .source(let source):
            source.isListed = false
            let body = source.work.removeFirst()
            if !source.work.isEmpty { self.list(source) }
            self.currentSource = source
            body()
            self.currentSource = nil
        }
        self.current = self.controller
        self.time += Int64(self.generator.next(upTo: UInt64(Self.longestStep)))
        self.fire()
        return true
    }

    private func fire() {
        while let next = self.timers.min, next.time <= self.time {
            _ = self.timers.popMin()
            self.enqueue(next.source, next.body)
        }
    }

    /// A thread that waits in place: nothing else happens meanwhile, but the time goes on.
    func passes(_ nanoseconds: Int64) { self.time += nanoseconds }

    func duration(_ range: ClosedRange<Int64>) -> Int64 {
        range.lowerBound + Int64(self.generator.next(upTo: UInt64(range.upperBound - range.lowerBound + 1)))
    }
}

/// SplitMix64 (https://prng.di.unimi.it/splitmix64.c).
struct SimulationGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    init(seed: UInt64) { self.state = seed }

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// From 0 up to, and not including, this.
    mutating func next(upTo bound: UInt64) -> UInt64 {
        bound <= 1 ? 0 : self.next() % bound
    }

    mutating func chance(_ parts: UInt64, of whole: UInt64) -> Bool { self.next(upTo: whole) < parts }

    mutating func pick<Element>(_ elements: [Element]) -> Element {
        elements[Int(self.next(upTo: UInt64(elements.count)))]
    }
}
