import LockKernel
import Testing

@testable import DistributedLocks

@Suite struct HoldStateMachineTests {
    private typealias Machine = HoldStateMachine<String, String, String>

    private let deadline = start + .seconds(10)

    @Test func `it is valid until the deadline, and not at it`() {
        let machine = Machine(validUntil: self.deadline)
        #expect(machine.loss(at: start) == nil)
        #expect(machine.loss(at: self.deadline - .nanoseconds(1)) == nil)
        #expect(machine.loss(at: self.deadline) == .leaseExpired)
    }

    @Test func `validity grows and never shrinks`() {
        var machine = Machine(validUntil: self.deadline)
        machine.extended(until: start + .seconds(20))
        machine.extended(until: start + .seconds(15))
        #expect(machine.validUntil == start + .seconds(20))
    }

    @Test func `the first end stays`() {
        var lost = Machine(validUntil: self.deadline)
        _ = lost.lost(.broken)
        #expect(lost.lost(.leaseExpired).wake.isEmpty)
        #expect(!lost.released(at: start).isFirst)
        #expect(lost.end == .lost(.broken))

        var released = Machine(validUntil: self.deadline)
        #expect(released.released(at: start).isFirst)
        #expect(!released.released(at: start).isFirst)
        _ = released.lost(.broken)
        #expect(released.end == .released)
        #expect(released.loss(at: start + .seconds(99)) == nil)
    }

    @Test func `a release after the deadline is a loss`() {
        var machine = Machine(validUntil: self.deadline)
        #expect(machine.released(at: self.deadline).isFirst)
        #expect(machine.end == .lost(.leaseExpired))
    }

    @Test func `a loss cancels the body once, and the body waits for that`() {
        var machine = Machine(validUntil: self.deadline)
        #expect(machine.bodyStarted("body") == false)
        #expect(machine.lost(.broken).cancelsBody)
        #expect(!machine.lost(.broken).cancelsBody)
        #expect(machine.bodyCancellationBegan() == "body")
        #expect(machine.hasRunningBody)
        #expect(machine.bodyEnded() == false)
        #expect(machine.bodyWaits("waiter") == true)
        #expect(machine.bodyCancelled() == "waiter")
        #expect(!machine.hasRunningBody)
    }

    @Test func `a body that ends after its cancellation is over does not wait`() {
        var machine = Machine(validUntil: self.deadline)
        _ = machine.bodyStarted("body")
        _ = machine.lost(.broken)
        _ = machine.bodyCancellationBegan()
        #expect(machine.bodyEnded() == false)
        #expect(machine.bodyCancelled() == nil)
        #expect(machine.bodyWaits("waiter") == false)
    }

    @Test func `a body that was cancelled runs on until it ends`() {
        var machine = Machine(validUntil: self.deadline)
        _ = machine.bodyStarted("body")
        _ = machine.lost(.broken)
        _ = machine.bodyCancellationBegan()
        #expect(machine.bodyCancelled() == nil)
        #expect(machine.hasRunningBody)
        #expect(machine.bodyEnded() == true)
        #expect(!machine.hasRunningBody)
    }

    @Test func `a body that starts after the loss starts cancelled`() {
        var machine = Machine(validUntil: self.deadline)
        #expect(!machine.lost(.broken).cancelsBody)
        #expect(machine.bodyStarted("body") == true)
        #expect(machine.bodyEnded() == true)
    }

    @Test func `a body that has ended is not cancelled`() {
        var machine = Machine(validUntil: self.deadline)
        _ = machine.bodyStarted("body")
        #expect(machine.bodyEnded() == true)
        #expect(!machine.lost(.broken).cancelsBody)
    }

    @Test func `a body that ends before its cancellation begins is not cancelled, and does not wait`() {
        var machine = Machine(validUntil: self.deadline)
        _ = machine.bodyStarted("body")
        #expect(machine.lost(.broken).cancelsBody)
        #expect(machine.hasRunningBody)
        #expect(machine.bodyEnded() == true)
        #expect(machine.bodyCancellationBegan() == nil)
        #expect(!machine.hasRunningBody)
    }

    @Test func `who waits for the end is woken once`() {
        var machine = Machine(validUntil: self.deadline)
        #expect(machine.lossAwaited(1, by: "one") == nil)
        #expect(machine.lossAwaited(2, by: "two") == nil)
        #expect(machine.lossNoLongerAwaited(2) == "two")
        #expect(machine.lossNoLongerAwaited(2) == nil)
        #expect(machine.lost(.broken).wake == ["one"])
        #expect(machine.lossAwaited(3, by: "three") == .lost(.broken))
        #expect(machine.lossNoLongerAwaited(1) == nil)
    }

    private enum Event: CaseIterable {
        case loss, release, extend, start, end, waits, begins, cancelled, awaits, forgets
    }

    @Test func `in any order of events there is one end, one cancellation, and everybody is woken once`() {
        struct World {
            var machine: Machine
            enum Body { case none, running, ending, waiting, over }
            var body = Body.none
            var isToBeCancelled = false
            var isCancelling = false
            var cancellations = 0
            var waits = 0
            var awaiting: Set<UInt64> = []
            var keys: UInt64 = 0
            var firstEnd: Machine.End?
        }
        var count = 0
        func explore(_ world: World, depth: Int) {
            count += 1
            #expect(world.cancellations <= 1)
            if let end = world.firstEnd { #expect(world.machine.end == end && world.awaiting.isEmpty) }
            guard depth > 0 else { return }
            for event in Event.allCases {
                var next = world
                func woken(_ names: [String]) {
                    #expect(Set(names) == Set(next.awaiting.map(String.init)) && names.count == next.awaiting.count)
                    next.awaiting = []
                }
                switch event {
                case .loss:
                    let action = next.machine.lost(.broken)
                    if next.firstEnd == nil {
                        woken(action.wake)
                        next.firstEnd = .lost(.broken)
                    } else {
                        #expect(action.wake.isEmpty && !action.cancelsBody)
                    }
                    if action.cancelsBody {
                        next.cancellations += 1
                        next.isToBeCancelled = true
                    }
                case .release:
                    let (isFirst, wake) = next.machine.released(at: start)
                    #expect(isFirst == (next.firstEnd == nil))
                    if isFirst {
                        woken(wake)
                        next.firstEnd = .released
                    }
                case .extend:
                    next.machine.extended(until: start + .seconds(20))
                case .start:
                    guard next.body == .none else { continue }
                    let startsCancelled = next.machine.bodyStarted("body")
                    if case .lost = next.firstEnd { #expect(startsCancelled) } else { #expect(!startsCancelled) }
                    next.body = .running
                case .end:
                    guard next.body == .running else { continue }
                    let isOver = next.machine.bodyEnded()
                    #expect(isOver == !next.isCancelling)
                    next.body = isOver ? .over : .ending
                case .waits:
                    guard next.body == .ending else { continue }
                    let waits = next.machine.bodyWaits("body")
                    #expect(waits == next.isCancelling)
                    next.body = waits ? .waiting : .over
                case .begins:
                    guard next.isToBeCancelled else { continue }
                    next.isToBeCancelled = false
                    let body = next.machine.bodyCancellationBegan()
                    #expect((body != nil) == (next.body == .running))
                    next.isCancelling = body != nil
                case .cancelled:
                    guard next.isCancelling else { continue }
                    next.isCancelling = false
                    let waiter = next.machine.bodyCancelled()
                    #expect((waiter != nil) == (next.body == .waiting))
                    if waiter != nil { next.body = .over }
                case .awaits:
                    next.keys += 1
                    let end = next.machine.lossAwaited(next.keys, by: String(next.keys))
                    #expect(end == next.firstEnd)
                    if end == nil { next.awaiting.insert(next.keys) }
                case .forgets:
                    guard next.keys > 0 else { continue }
                    let waiter = next.machine.lossNoLongerAwaited(next.keys)
                    #expect((waiter != nil) == (next.awaiting.remove(next.keys) != nil))
                }
                #expect(next.machine.hasRunningBody == (next.body != .none && next.body != .over))
                explore(next, depth: depth - 1)
            }
        }
        explore(World(machine: Machine(validUntil: self.deadline)), depth: 6)
        #expect(count > 10_000)
    }
}
