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
        /// Something of it waits in its middle: what is behind that waits, too.
        fileprivate var isHeldUp = false

        fileprivate init(host: Host, name: String) {
            self.host = host
            self.name = name
        }
    }

    private enum Ready {
        case source(Source)
        /// Of the pool: with as many threads as there are jobs, any of them may be the next.
        case job(UnownedJob, Host)
        /// A step that has waited in its middle.
        case rest(Rest)

        var host: Host {
            switch self {
            case .source(let source): source.host
            case .job(_, let host): host
            case .rest(let rest): rest.host
            }
        }
    }

    /// What is left of a step that waits in its middle.
    private final class Rest {
        let host: Host
        let thread: StepThreads.One
        var isListed = false

        init(host: Host, thread: StepThreads.One) {
            self.host = host
            self.thread = thread
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
    private var rests: [Rest] = []
    private let waits: Source
    /// What is done when the world ends, before anything of it is gone.
    var ended: [() -> Void] = []
    /// Whether a step may wait in its middle while others go on. It takes a thread for each that waits; one at a time runs.
    var stepsMayWait = false

    private nonisolated(unsafe) static var present: World?

    init(seed: UInt64, trace: Trace) {
        self.generator = SimulationGenerator(seed: seed)
        self.trace = trace
        // Made in two steps: a host has its world.
        let controller = Host(name: "controller")
        self.controller = controller
        self.current = controller
        self.waits = Source(host: controller, name: "waits")
        controller.world = self
        self.hosts = [controller]
        precondition(Self.present == nil, "one world at a time")
        Self.present = self
        Self.takeOver
    }

    /// Nothing of this world runs any more.
    func end() {
        let ended = self.ended
        self.ended = []
        for body in ended { body() }
        // Who waits in the middle of something comes to its end, as the dead do.
        for host in self.hosts where self.rests.contains(where: { $0.host === host }) { host.kill() }
        if !self.rests.isEmpty {
            StepThreads.shared.run { self.rests.first.map { .goesOn(self.takeUp($0)) } ?? .isOver }
        }
        Self.present = nil
    }

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
        guard !source.isListed, !source.isHeldUp else { return }
        source.isListed = true
        self.list(.source(source))
    }

    private func list(_ ready: Ready) {
        let host = ready.host
        switch (host.state, ready) {
        case (.runs, _): self.ready.append(ready)
        // Until its end, which changes nothing any more.
        case (.isDead, .rest): self.ready.append(ready)
        case (.stands, _), (.isDead, _): host.parked.append { self.ready.append(ready) }
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
    func run(until isOver: @escaping () -> Bool, atMost limit: Int64) -> Bool {
        // Who waits in the middle of a step may come back to this when the next run has begun.
        let next = { [self] () -> StepThreads.Turn in
            guard !isOver(), self.time < limit else { return .isOver }
            if let turn = self.step() { return turn }
            // Nobody does anything any more.
            self.time = limit
            return .isOver
        }
        if self.stepsMayWait {
            StepThreads.shared.run(next)
        } else {
            while case .isDone = next() {}
        }
        return isOver()
    }

    /// How long a step takes, in nanoseconds.
    private static let longestStep: Int64 = 20_000

    /// Does one thing. `nil`: there is nothing to do, now or later.
    private func step() -> StepThreads.Turn? {
        while self.ready.isEmpty {
            guard let next = self.timers.min else { return nil }
            self.time = max(self.time, next.time)
            self.fire()
        }
        self.steps += 1
        let index = Int(self.generator.next(upTo: UInt64(self.ready.count)))
        self.ready.swapAt(index, self.ready.count - 1)
        let ready = self.ready.removeLast()
        if case .rest(let rest) = ready, rest.host.state != .stands { return .goesOn(self.takeUp(rest)) }
        guard ready.host.state == .runs else {
            self.list(ready)
            return .isDone
        }
        self.current = ready.host
        switch ready {
        case .job(let job, _):
            csim_run_job(unsafeBitCast(job, to: UnsafeMutableRawPointer.self))
        case .source(let source):
            source.isListed = false
            guard !source.isHeldUp else { break }
            let body = source.work.removeFirst()
            if !source.work.isEmpty { self.list(source) }
            self.currentSource = source
            body()
            self.currentSource = nil
            if source.isHeldUp {
                source.isHeldUp = false
                if !source.work.isEmpty { self.list(source) }
            }
        case .rest: preconditionFailure("who stands still goes on with nothing")
        }
        self.stepEnded()
        return .isDone
    }

    private func stepEnded() {
        self.current = self.controller
        self.time += Int64(self.generator.next(upTo: UInt64(Self.longestStep)))
        self.fire()
    }

    private func fire() {
        while let next = self.timers.min, next.time <= self.time {
            _ = self.timers.popMin()
            self.enqueue(next.source, next.body)
        }
    }

    /// A thread of a process waits in place.
    func wait(_ host: Host, nanoseconds: Int64) {
        guard host.state != .isDead else { return }
        guard self.stepsMayWait, let thread = StepThreads.shared.current else {
            // Nothing else happens meanwhile, but the time goes on.
            self.time += nanoseconds
            return
        }
        let (current, source) = (self.current, self.currentSource)
        source?.isHeldUp = true
        let rest = Rest(host: host, thread: thread)
        self.rests.append(rest)
        self.enqueue(self.waits, at: self.time + nanoseconds) { self.list(rest) }
        self.currentSource = nil
        self.stepEnded()
        StepThreads.shared.wait()
        (self.current, self.currentSource) = (current, source)
    }

    private func list(_ rest: Rest) {
        guard !rest.isListed else { return }
        rest.isListed = true
        self.list(.rest(rest))
    }

    private func takeUp(_ rest: Rest) -> StepThreads.One {
        self.rests.removeAll { $0 === rest }
        return rest.thread
    }

    /// What of it waits in its middle comes to its end.
    func killed(_ host: Host) {
        for rest in self.rests where rest.host === host {
            rest.isListed = true
            self.ready.removeAll { if case .rest(let other) = $0 { other === rest } else { false } }
            self.ready.append(.rest(rest))
        }
    }

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
