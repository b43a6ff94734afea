import DistributedLocks
import Testing

@testable import RedisLocks

@Suite struct RedlockClaimTests {
    private let busy = RedlockRoundStateMachine.Failure(isBusy: true)
    private let split = RedlockRoundStateMachine.Failure(isBusy: true, holder: nil)
    private let blocked = RedlockRoundStateMachine.Failure(isBusy: true, holder: "somebody")
    private let refused = RedlockRoundStateMachine.Failure()
    private let down = RedlockRoundStateMachine.Failure(isWithoutQuorum: true)

    @Test func `a lock that nobody wants is asked for at once`() {
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        #expect(claim.ready(isContended: false, gate: 2) == .round(hasTurn: false))
        claim.granted()
        #expect(claim.state == .held)
    }

    @Test func `who loses a round waits at the gate, and tries again when it has its turn`() {
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        _ = claim.ready(isContended: false, gate: 2)
        #expect(claim.roundFailed(self.busy, gate: 2) == .wait(gate: 2))
        #expect(claim.waitAnswered(.queued(isFirst: false), from: 2, gate: 2) == .none)
        #expect(claim.isPromised)
        #expect(claim.turn() == .round(hasTurn: true))
        // A turn that is told twice starts nothing twice.
        #expect(claim.turn() == .none)
    }

    @Test func `who has seen others want the lock goes to the gate first`() {
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        #expect(claim.ready(isContended: true, gate: 1) == .wait(gate: 1))
        #expect(claim.waitAnswered(.turn, from: 1, gate: 1) == .round(hasTurn: true))
        // But not who does not wait.
        var hurried = RedlockClaimStateMachine(joinsQueue: false)
        #expect(hurried.ready(isContended: true, gate: 1) == .round(hasTurn: false))
    }

    @Test func `rounds that fail again pause for longer and longer, up to a bound`() {
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        _ = claim.ready(isContended: true, gate: 0)
        _ = claim.waitAnswered(.queued(isFirst: false), from: 0, gate: 0)
        var pauses: [Duration] = []
        for _ in 0..<12 {
            #expect(claim.turn() == .round(hasTurn: true))
            switch claim.roundFailed(self.busy, gate: 0) {
            case .pause(let longest): pauses.append(longest)
            case .wait(gate: 0): break
            case let other: Issue.record("\(other)")
            }
        }
        #expect(pauses == pauses.sorted())
        #expect(pauses.first == .milliseconds(16))
        #expect(pauses.last == RedlockClaimStateMachine.longestPause)
        // A pause ends at the gate, or when an instance says that it is this one's turn.
        #expect(claim.timerFired(gate: 0) == .wait(gate: 0))
    }

    @Test func `who does not wait hears that the lock is busy when one holds it, and looks again after a split`() {
        var claim = RedlockClaimStateMachine(joinsQueue: false)
        _ = claim.ready(isContended: false, gate: 0)
        guard case .pause = claim.roundFailed(self.split, gate: 0) else {
            Issue.record("nobody has the lock")
            return
        }
        #expect(claim.timerFired(gate: 0) == .round(hasTurn: false))
        #expect(claim.roundFailed(self.blocked, gate: 0) == .busy(holder: "somebody"))
        #expect(claim.state == .over)

        var unlucky = RedlockClaimStateMachine(joinsQueue: false)
        _ = unlucky.ready(isContended: false, gate: 0)
        var last = RedlockClaimStateMachine.Step.none
        for _ in 0..<RedlockClaimStateMachine.maximumTries {
            last = unlucky.roundFailed(self.split, gate: 0)
            _ = unlucky.timerFired(gate: 0)
        }
        #expect(last == .busy(holder: nil))
    }

    @Test func `a token that was refused is proposed anew at once, and not for ever`() {
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        _ = claim.ready(isContended: false, gate: 0)
        #expect(claim.roundFailed(self.refused, gate: 0) == .round(hasTurn: false))
        var step = RedlockClaimStateMachine.Step.none
        for _ in 0..<RedlockClaimStateMachine.maximumRefusals {
            step = claim.roundFailed(self.refused, gate: 0)
            _ = claim.turn()
        }
        guard case .refuse = step else {
            Issue.record("\(step)")
            return
        }
    }

    @Test func `without a quorum the call fails when its time is over, unless it was promised a grant`() {
        var hurried = RedlockClaimStateMachine(joinsQueue: false)
        _ = hurried.ready(isContended: false, gate: 0)
        #expect(hurried.roundFailed(self.down, gate: 0) == .noQuorum)
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        _ = claim.ready(isContended: false, gate: 0)
        guard case .pause = claim.roundFailed(self.down, gate: 0) else {
            Issue.record("it may have been a moment only")
            return
        }
        #expect(claim.patienceIsOver() == false)
        #expect(claim.state == .over)
        var promised = RedlockClaimStateMachine(joinsQueue: true)
        _ = promised.ready(isContended: true, gate: 0)
        _ = promised.waitAnswered(.queued(isFirst: false), from: 0, gate: 0)
        _ = promised.turn()
        #expect(promised.roundFailed(self.down, gate: nil) == .gather)
        #expect(promised.patienceIsOver() == true)
        #expect(promised.ready(isContended: false, gate: 1) == .wait(gate: 1))
    }

    @Test func `a gate that is lost is left for the next one`() {
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        _ = claim.ready(isContended: true, gate: 0)
        #expect(claim.lost(3, gate: 0) == .none)
        #expect(claim.lost(0, gate: 1) == .wait(gate: 1))
        // A late answer of the old one is nothing.
        #expect(claim.waitAnswered(.turn, from: 0, gate: 1) == .none)
        #expect(claim.waitAnswered(.failed, from: 1, gate: 2) == .wait(gate: 2))
        #expect(claim.lost(2, gate: nil) == .gather)
        var alone = RedlockClaimStateMachine(joinsQueue: true)
        _ = alone.ready(isContended: true, gate: 0)
        guard case .pause = alone.waitAnswered(.failed, from: 0, gate: 0) else {
            Issue.record("there is no other gate")
            return
        }
    }

    @Test
    func `the first in the gate's queue tries a round each time that it shows that it lives, and nobody else does`() {
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        _ = claim.ready(isContended: true, gate: 0)
        #expect(claim.waitAnswered(.queued(isFirst: false), from: 0, gate: 0) == .none)
        #expect(claim.timerFired(gate: 0) == .wait(gate: 0))
        for _ in 0..<30 {
            #expect(claim.waitAnswered(.queued(isFirst: true), from: 0, gate: 0) == .none)
            #expect(claim.timerFired(gate: 0) == .round(hasTurn: false))
            #expect(claim.roundFailed(self.busy, gate: 0) == .wait(gate: 0))
        }
        #expect(claim.waitAnswered(.queued(isFirst: true), from: 0, gate: 0) == .none)
        #expect(claim.timerFired(gate: 0) == .round(hasTurn: false))
        claim.granted()
        #expect(claim.state == .held)
    }

    @Test
    func `where the gate answers and refuses, the others are asked after the pause, and the gate again after that`() {
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        _ = claim.ready(isContended: true, gate: 0)
        _ = claim.waitAnswered(.queued(isFirst: false), from: 0, gate: 0)
        for _ in 0..<20 {
            #expect(claim.timerFired(gate: 0) == .wait(gate: 0))
            guard case .pause = claim.waitAnswered(.refused, from: 0, gate: 0) else {
                Issue.record("no pause")
                return
            }
            #expect(claim.timerFired(gate: 0) == .round(hasTurn: false))
            guard case .pause = claim.roundFailed(self.busy, gate: 0) else { continue }
        }
        #expect(claim.timerFired(gate: 0) == .wait(gate: 0))
        // Another gate is asked at once.
        #expect(claim.waitAnswered(.refused, from: 0, gate: 1) == .wait(gate: 1))
    }

    @Test func `what a quorum refuses for good ends the claim after some rounds, also if it was promised a grant`() {
        let refused = RedlockRoundStateMachine.Failure(isWithoutQuorum: true, isRefused: true)
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        _ = claim.ready(isContended: true, gate: 0)
        _ = claim.waitAnswered(.queued(isFirst: false), from: 0, gate: 0)
        /// Fails a round, and goes on to the next.
        func fail(_ failure: RedlockRoundStateMachine.Failure) -> RedlockClaimStateMachine.Step {
            _ = claim.timerFired(gate: 0)
            _ = claim.waitAnswered(.refused, from: 0, gate: 0)
            #expect(claim.timerFired(gate: 0) == .round(hasTurn: false))
            return claim.roundFailed(failure, gate: 0)
        }
        for _ in 0..<RedlockClaimStateMachine.toleratedRefusedRounds { #expect(fail(refused) != .refusedByInstances) }
        // In a row, that is.
        #expect(fail(self.down) != .refusedByInstances)
        for _ in 0..<RedlockClaimStateMachine.toleratedRefusedRounds { #expect(fail(refused) != .refusedByInstances) }
        #expect(fail(refused) == .refusedByInstances)
        #expect(claim.state == .over)
    }

    @Test func `a full queue refuses newcomers`() {
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        _ = claim.ready(isContended: true, gate: 0)
        guard case .refuse(let why) = claim.waitAnswered(.full(7), from: 0, gate: 0) else {
            Issue.record("refused")
            return
        }
        #expect(why.contains("7"))
    }

    @Test func `who is still trying when its caller has to be answered is promised a grant`() {
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        #expect(claim.patienceIsOver() == false)
        var trying = RedlockClaimStateMachine(joinsQueue: true)
        _ = trying.ready(isContended: false, gate: 0)
        #expect(trying.patienceIsOver() == true)
        #expect(trying.roundFailed(self.down, gate: nil) == .gather)
    }
}
