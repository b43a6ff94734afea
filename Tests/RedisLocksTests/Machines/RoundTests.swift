import DistributedLocks
import LockKernel
import Testing

@testable import RedisLocks

@Suite struct RedlockRoundTests {
    private let start = BootInstant.now

    private func round(
        _ count: Int = 5,
        token: Int64 = 100,
        lease: Duration = .seconds(10),
        unasked: [Int] = [],
        late: [Int] = []
    ) -> RedlockRoundStateMachine {
        RedlockRoundStateMachine(
            instances: (0..<count).map { unasked.contains($0) ? "down" : nil },
            isLate: (0..<count).map { late.contains($0) },
            token: token,
            lease: lease,
            minimumValidity: .milliseconds(100),
            skew: 10_000,
            startedAt: self.start
        )
    }

    private func told(_ fence: Int64, _ time: Int64 = 0) -> RedlockRoundStateMachine.Told {
        RedlockRoundStateMachine.Told(fence: fence, time: time)
    }

    private func busy(_ holder: String = "a", isQueued: Bool = false) -> RedlockRoundStateMachine.Answer {
        .busy(holder: holder, isQueued: isQueued)
    }

    // Q1: the slow ones are not waited for.
    @Test func `a quorum decides, however slow the others are`() {
        var round = self.round()
        #expect(round.answered(0, .granted, told: nil, now: self.start) == .none)
        #expect(round.answered(3, .failed("down"), told: nil, now: self.start) == .none)
        #expect(round.answered(1, .granted, told: nil, now: self.start) == .none)
        // 1 % of the lease and 2 ms are taken off.
        let validUntil = self.start + .milliseconds(10_000 - 102)
        #expect(round.answered(4, .granted, told: nil, now: self.start) == .granted(validUntil: validUntil, margin: 0))
        #expect(round.answered(2, .granted, told: nil, now: self.start) == .none)
        #expect(round.grantedCount == 4)
    }

    // Q2
    @Test func `it fails as soon as no quorum can come about, and names who said what`() {
        var round = self.round()
        #expect(round.answered(0, .granted, told: nil, now: self.start) == .none)
        #expect(round.answered(1, self.busy(), told: nil, now: self.start) == .none)
        #expect(round.answered(2, .behind(holder: ""), told: nil, now: self.start) == .none)
        #expect(round.answered(3, .failed("closed"), told: nil, now: self.start) == .failed)
        // The last one has not answered yet, which says nothing.
        #expect(round.failure.reasons.map(\.instance) == [3])
        #expect(round.failure.isBusy)
        #expect(!round.failure.isWithoutQuorum)
        #expect(round.answered(4, .granted, told: nil, now: self.start) == .none)
        // Where it was granted, or may have been, it is released.
        #expect((0..<5).filter { round.mayHold($0) } == [0, 3, 4])
    }

    @Test func `one down and two busy are no lack of a quorum while the others have not answered`() {
        var round = self.round(unasked: [0])
        #expect(round.answered(1, self.busy(), told: nil, now: self.start) == .none)
        #expect(round.answered(2, self.busy(), told: nil, now: self.start) == .failed)
        #expect(!round.failure.isWithoutQuorum && round.failure.isBusy)
        var silent = self.round(unasked: [0])
        #expect(silent.answered(1, self.busy(), told: nil, now: self.start) == .none)
        #expect(silent.timeIsOver() == .failed)
        #expect(silent.failure.isWithoutQuorum)
    }

    @Test func `instances that refuse for good are told from those that could not be asked`() {
        var round = self.round(3, unasked: [0])
        #expect(round.answered(1, .refused("NOPERM"), told: nil, now: self.start) == .failed)
        #expect(round.failure.isWithoutQuorum && !round.failure.isRefused)
        var refused = self.round(3)
        #expect(refused.answered(1, .refused("NOPERM"), told: nil, now: self.start) == .none)
        #expect(refused.answered(2, .refused("NOPERM"), told: nil, now: self.start) == .failed)
        #expect(refused.failure.isWithoutQuorum && refused.failure.isRefused)
        #expect(refused.failure.reasons.map(\.reason) == ["NOPERM", "NOPERM"])
        // A script that was refused may have done a part of its work.
        #expect((0..<3).allSatisfy { refused.mayHold($0) })
    }

    @Test func `who does not wait for the lock waits for all answers, to know who holds it`() {
        var round = RedlockRoundStateMachine(
            instances: Array(repeating: nil, count: 3),
            isLate: [false, false, false],
            token: 1,
            lease: .seconds(10),
            minimumValidity: .zero,
            failsEarly: false,
            skew: 10_000,
            startedAt: self.start
        )
        #expect(round.answered(0, self.busy("a"), told: nil, now: self.start) == .none)
        #expect(round.answered(1, self.busy("b"), told: nil, now: self.start) == .none)
        #expect(round.answered(2, self.busy("b"), told: nil, now: self.start) == .failed)
        #expect(round.failure.holder == "b")
    }

    @Test func `instances that cannot be asked count as lost from the start`() {
        var round = self.round(unasked: [0, 1, 2])
        #expect(!round.isAsked(0) && round.isAsked(3))
        #expect(round.answered(3, .granted, told: nil, now: self.start) == .failed)
        #expect(round.failure.isWithoutQuorum)
        #expect(!round.mayHold(0))
    }

    @Test func `one that is late as a rule is not waited for, but counts if it answers`() {
        var round = self.round(late: [3, 4])
        #expect(round.answered(0, .granted, told: nil, now: self.start) == .none)
        #expect(round.answered(1, self.busy(), told: nil, now: self.start) == .failed)
        var other = self.round(late: [3, 4])
        #expect(other.answered(0, .granted, told: nil, now: self.start) == .none)
        #expect(other.answered(3, .granted, told: nil, now: self.start) == .none)
        guard case .granted = other.answered(4, .granted, told: nil, now: self.start) else {
            Issue.record("three have granted")
            return
        }
    }

    @Test func `where too few are prompt, the late ones are waited for`() {
        var round = self.round(late: [2, 3, 4])
        #expect(round.answered(0, .granted, told: nil, now: self.start) == .none)
        #expect(round.answered(1, .granted, told: nil, now: self.start) == .none)
        guard case .granted = round.answered(2, .granted, told: nil, now: self.start) else {
            Issue.record("three have granted")
            return
        }
    }

    @Test func `who is queued somewhere is asked again there when it is its turn`() {
        var round = self.round(3)
        #expect(round.answered(0, .granted, told: nil, now: self.start) == .none)
        #expect(round.answered(1, self.busy(isQueued: true), told: nil, now: self.start) == .none)
        #expect(round.answered(2, self.busy(isQueued: true), told: nil, now: self.start) == .none)
        #expect(round.turn(0) == false)
        #expect(round.turn(2) == true)
        #expect(round.turn(2) == false)
        guard case .granted = round.answered(2, .granted, told: nil, now: self.start) else {
            Issue.record("two have granted")
            return
        }
        #expect(round.turn(1) == false)
    }

    @Test func `the holder is named when it keeps everybody else from a quorum`() {
        let one = String(repeating: "a", count: 27)
        let other = String(repeating: "b", count: 27)
        var round = self.round()
        _ = round.answered(0, self.busy(one + ":x"), told: nil, now: self.start)
        _ = round.answered(1, self.busy(other + ":x"), told: nil, now: self.start)
        _ = round.answered(2, self.busy(one + ":x"), told: nil, now: self.start)
        #expect(round.failure.holder == nil)
        _ = round.answered(3, self.busy(one + ":x+q"), told: nil, now: self.start)
        #expect(round.failure.holder?.hasPrefix(one) == true)
        // One that has just been granted a higher token is in the way, too.
        var late = self.round(3)
        _ = late.answered(0, .behind(holder: one + ":x"), told: nil, now: self.start)
        _ = late.answered(1, .behind(holder: ""), told: nil, now: self.start)
        #expect(late.failure.isBusy)
    }

    // Q5
    @Test func `a round that took so long that little of the lease is left has failed`() {
        var round = self.round(3, lease: .seconds(1))
        #expect(round.answered(0, .granted, told: nil, now: self.start) == .none)
        #expect(round.answered(1, .granted, told: nil, now: self.start + .milliseconds(888)) == .failed)
        #expect(round.mayHold(0) && round.mayHold(1) && round.mayHold(2))
        var inTime = self.round(3, lease: .seconds(1))
        #expect(inTime.answered(0, .granted, told: nil, now: self.start) == .none)
        guard case .granted = inTime.answered(1, .granted, told: nil, now: self.start + .milliseconds(887)) else {
            Issue.record("100 ms and more are left")
            return
        }
    }

    @Test func `when the time is over it has failed, once`() {
        var round = self.round(3)
        #expect(round.timeIsOver() == .failed)
        #expect(round.timeIsOver() == .none)
        #expect(round.answered(0, .granted, told: nil, now: self.start) == .none)
        #expect(round.answered(1, .granted, told: nil, now: self.start) == .none)
    }

    // Q9
    @Test func `the next proposal is above what a quorum has granted, whatever a wild fence says`() {
        var round = self.round()
        for (instance, fence) in [200, 150, 1_000_000, 120, 130].enumerated() {
            _ = round.answered(instance, .behind(holder: ""), told: self.told(Int64(fence), 140), now: self.start)
        }
        #expect(round.nextToken() == 151)
        // Those that have granted have nothing to tell.
        var few = self.round()
        _ = few.answered(0, .granted, told: nil, now: self.start)
        _ = few.answered(1, .granted, told: nil, now: self.start)
        _ = few.answered(2, .behind(holder: ""), told: self.told(1_000_000, 1), now: self.start)
        _ = few.answered(3, .behind(holder: ""), told: self.told(120, 1), now: self.start)
        _ = few.timeIsOver()
        #expect(few.nextToken() == 121)
        // Two are slow: what the third of the others needs is needed.
        var slow = self.round(late: [3, 4])
        _ = slow.answered(0, .granted, told: nil, now: self.start)
        _ = slow.answered(1, .behind(holder: ""), told: self.told(140), now: self.start)
        _ = slow.answered(2, .granted, told: nil, now: self.start)
        #expect(slow.nextToken() == 141)
        // One that would not grant anything does not lower what the others need.
        var refused = self.round(3)
        _ = refused.answered(0, .tooFarAhead, told: self.told(5), now: self.start)
        _ = refused.answered(1, .granted, told: nil, now: self.start)
        _ = refused.answered(2, .behind(holder: ""), told: self.told(130), now: self.start)
        #expect(refused.nextToken() == 131)
        // It is over as soon as one of the three that can be used refuses. Were the others counted as such that grant nothing,
        // nothing would be learned from its fence, and the next round would end in the same way.
        var early = self.round(unasked: [1, 3])
        #expect(early.answered(0, .behind(holder: ""), told: self.told(150, 140), now: self.start) == .failed)
        #expect(early.nextToken() == 151)
        // What comes later is learned from, too.
        _ = early.answered(2, .behind(holder: ""), told: self.told(160, 140), now: self.start)
        #expect(early.nextToken() == 161)
        // Whoever was not heard has the fence of the others, as a rule; a wild one is nobody else's.
        var two = self.round(3)
        _ = two.answered(0, .behind(holder: ""), told: self.told(150, 140), now: self.start)
        #expect(two.answered(1, .behind(holder: ""), told: self.told(170, 140), now: self.start) == .failed)
        #expect(two.nextToken() == 171)
        var wild = self.round(unasked: [4])
        _ = wild.answered(0, .behind(holder: ""), told: self.told(1_000_000, 140), now: self.start)
        #expect(wild.answered(1, .behind(holder: ""), told: self.told(150, 140), now: self.start) == .failed)
        #expect(wild.nextToken() == 151)
        // The members have become more than this client knows: no quorum of them can be asked.
        var short = RedlockRoundStateMachine(
            instances: [nil, nil, nil], isLate: [false, false, false], quorum: 4, token: 100, lease: .seconds(10),
            minimumValidity: .zero, skew: 10_000, startedAt: self.start)
        #expect(short.answered(0, .behind(holder: ""), told: self.told(150, 140), now: self.start) == .failed)
        #expect(short.nextToken() == 101)
        // Nothing was told: it rises all the same.
        #expect(self.round().nextToken() == 101)
    }
    @Test func `above a floor tokens go on with the clock, at a slower pace, until the clock is above them`() {
        let (skew, second): (Int64, Int64) = (625_000, 62_500)
        let opened: Int64 = 1_000 * second
        let floor = opened + skew
        func token(_ time: Int64) -> Int64 { TokenProposals.token(above: floor, time: time, skew: skew) }
        var last = floor
        for step in 0..<2_000 {
            let time = opened + Int64(step) * second / 100
            #expect(token(time) > last)
            // No instance refuses it for being too far ahead.
            #expect(token(time + 1) <= time + 1 + skew)
            last = token(time)
        }
        // Below the clock it is of no use, and before it was opened nobody asks.
        #expect(token(opened + 12 * second) == opened + 12 * second)
        #expect(token(opened - second) == floor + 1)
        #expect(TokenProposals.token(above: 0, time: opened, skew: skew) == opened)
    }
}
