import DistributedLocks
import TestKit
import Testing

@testable import Fencing

@Suite(.timeLimit(.minutes(1))) struct ProcessFencesTests {
    private typealias Machine = ProcessFencesStateMachine
    private static let shelf = name("shelf")

    private static func machine(_ resources: Int = 2, _ waiters: Int = 2) -> Machine {
        Machine(maximumResources: resources, maximumWaitersPerResource: waiters)
    }

    private static func refusal(_ presented: FencingStamp, _ highest: FencingStamp) -> FenceRefusal {
        FenceRefusal(resource: Self.shelf, presented: presented, highest: highest, reason: .stale)
    }

    @Test func `one at a time, in the order of arrival`() {
        var machine = Self.machine()
        #expect(machine.arrived(1, at: Self.shelf, stamp(5)) == .enter(.first))
        #expect(machine.arrived(2, at: Self.shelf, stamp(5)) == .wait)
        #expect(machine.arrived(3, at: Self.shelf, stamp(6)) == .wait)
        #expect(machine.left(Self.shelf) == .init(enter: .init(id: 2, decision: .same)))
        #expect(machine.left(Self.shelf) == .init(enter: .init(id: 3, decision: .raised(from: stamp(5)))))
        #expect(machine.left(Self.shelf) == .init())
        #expect(machine.highest(of: Self.shelf) == stamp(6))
    }

    @Test func `a stale one is refused at once, and one that became stale while it waited when its turn comes`() {
        var machine = Self.machine()
        #expect(machine.arrived(1, at: Self.shelf, stamp(5)) == .enter(.first))
        #expect(machine.arrived(2, at: Self.shelf, stamp(4)) == .refuse(Self.refusal(stamp(4), stamp(5))))
        #expect(machine.arrived(3, at: Self.shelf, stamp(7)) == .wait)
        #expect(machine.arrived(4, at: Self.shelf, stamp(6)) == .wait)
        #expect(machine.left(Self.shelf).enter?.id == 3)
        #expect(machine.left(Self.shelf) == .init(refuse: [.init(id: 4, refusal: Self.refusal(stamp(6), stamp(7)))]))
        #expect(machine.arrived(5, at: Self.shelf, stamp(6)) == .refuse(Self.refusal(stamp(6), stamp(7))))
        #expect(machine.arrived(6, at: Self.shelf, stamp(7)) == .enter(.same))
    }

    @Test func `whoever gave up does not enter, and resources do not wait for each other`() {
        var machine = Self.machine()
        #expect(machine.arrived(1, at: Self.shelf, stamp(5)) == .enter(.first))
        #expect(machine.arrived(2, at: name("other"), stamp(1)) == .enter(.first))
        #expect(machine.arrived(3, at: Self.shelf, stamp(5)) == .wait)
        let (gaveUp, gaveUpAgain) = (machine.gaveUp(3, at: Self.shelf), machine.gaveUp(3, at: Self.shelf))
        #expect(gaveUp && !gaveUpAgain)
        #expect(machine.left(Self.shelf) == .init())
        #expect(machine.left(name("other")) == .init())
    }

    @Test func `resources and waiters are bounded, and nothing is forgotten to make room`() {
        var machine = Self.machine(1, 1)
        #expect(machine.arrived(1, at: Self.shelf, stamp(5)) == .enter(.first))
        #expect(machine.arrived(2, at: Self.shelf, stamp(5)) == .wait)
        #expect(machine.arrived(3, at: Self.shelf, stamp(5)) == .tooManyWaiters)
        #expect(machine.arrived(4, at: name("other"), stamp(5)) == .tooManyResources)
        _ = machine.left(Self.shelf)
        _ = machine.left(Self.shelf)
        #expect(machine.arrived(5, at: name("other"), stamp(5)) == .tooManyResources)
        #expect(machine.arrived(6, at: Self.shelf, stamp(4)) == .refuse(Self.refusal(stamp(4), stamp(5))))
    }

    @Test func `a thousand writers with random tokens write one after another, and never a lower one after a higher`()
        async throws
    {
        let fences = ProcessFences()
        struct Log {
            var written: [FencingStamp] = []
            var refused = 0
            var inside = 0
        }
        let log = Mutexed(Log())
        await withTaskGroup(of: Void.self) { group in
            for index in 0..<1_000 {
                group.addTask {
                    let mine = stamp(Int64(1 + index / 8 + index % 3))
                    do {
                        try await fences.fenced("shelf", mine) {
                            log.withLock { $0.inside += 1 }
                            await Task.yield()
                            log.withLock {
                                #expect($0.inside == 1)
                                $0.inside -= 1
                                $0.written.append(mine)
                            }
                        }
                    } catch is FenceRefusal {
                        log.withLock { $0.refused += 1 }
                    } catch {
                        Issue.record(error)
                    }
                }
            }
        }
        let end = log.withLock { $0 }
        #expect(end.written.count + end.refused == 1_000)
        #expect(end.written.map(\.token) == end.written.map(\.token).sorted())
        #expect(fences.highest(of: Self.shelf) == end.written.last)
    }

    @Test func `cancelling one that waits takes it out of the line, and the next one enters`() async throws {
        let fences = ProcessFences()
        let (gate, open) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let (inside, entered) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let first = Task {
            try await fences.fenced("shelf", stamp(1)) {
                entered.yield()
                for await _ in gate { break }
            }
        }
        for await _ in inside { break }
        let waiting = Task { try await fences.fenced("shelf", stamp(1)) {} }
        try await eventually("it waits") { fences.numberOfWaiters(at: Self.shelf) == 1 }
        waiting.cancel()
        await #expect(throws: CancellationError.self) { try await waiting.value }
        let next = Task { try await fences.fenced("shelf", stamp(2)) { "in" } }
        open.yield()
        try await first.value
        #expect(try await next.value == "in")
    }

    @Test func `a body that throws leaves the resource free, and its error is the caller's`() async throws {
        struct Oops: Error {}
        let fences = ProcessFences()
        await #expect(throws: Oops.self) { try await fences.fenced("shelf", stamp(1)) { throw Oops() } }
        #expect(try await fences.fenced("shelf", stamp(1)) { 7 } == 7)
        #expect(try fences.adopt(Self.shelf, stamp(1, "zxid")) == .adopted(from: stamp(1)))
        await #expect(throws: FenceRefusal.self) { try await fences.fenced("shelf", stamp(2)) {} }
        await #expect(throws: LockError.self) { try await fences.fenced("", stamp(2)) {} }
    }
}
