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

    @Test func `who loses a round asks for its turn, tries again with it, and waits until the lock is free`() {
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        _ = claim.ready(isContended: false, gate: 2)
        #expect(claim.roundFailed(self.busy, gate: 2) == .ask(gate: 2))
        #expect(claim.turnAnswered(.queued(isFirst: false), from: 2, gate: 2) == .none)
        #expect(claim.isPromised)
        #expect(claim.turnAnswered(.granted, from: 2, gate: 2) == .round(hasTurn: true))
        // A turn that is told twice starts nothing twice.
        #expect(claim.turnAnswered(.granted, from: 2, gate: 2) == .none)
        #expect(claim.roundFailed(self.blocked, gate: 2) == .watch)
        #expect(claim.state == .waiting(gate: 2))
        #expect(claim.turnTimerFired(gate: 2, mayLook: true) == .keepTurn(gate: 2))
        #expect(claim.turnAnswered(.granted, from: 2, gate: 2) == .none)
        #expect(claim.freed() == .round(hasTurn: true))
        #expect(claim.freed() == .none)
        claim.granted()
        // It keeps the turn until the lock is released.
        #expect(claim.turn == .owned(gate: 2))
        #expect(claim.turnTimerFired(gate: 2, mayLook: true) == .keepTurn(gate: 2))
    }

    @Test func `who has the turn and hears nothing looks again, as the release may not have been told`() {
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        _ = claim.ready(isContended: true, gate: 2)
        #expect(claim.turnAnswered(.granted, from: 2, gate: 2) == .round(hasTurn: true))
        for _ in 0..<30 {
            #expect(claim.roundFailed(self.blocked, gate: 2) == .watch)
            #expect(claim.timerFired(gate: 2) == .round(hasTurn: true))
        }
        claim.granted()
        #expect(claim.state == .held)
    }

    @Test func `a turn that was lost is asked for again, and not by who holds the lock`() {
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        _ = claim.ready(isContended: true, gate: 2)
        _ = claim.turnAnswered(.granted, from: 2, gate: 2)
        _ = claim.roundFailed(self.blocked, gate: 2)
        #expect(claim.turnAnswered(.gone, from: 2, gate: 2) == .ask(gate: 2))
        // Somebody else has it now.
        #expect(claim.turnAnswered(.queued(isFirst: true), from: 2, gate: 2) == .none)
        #expect(claim.freed() == .none)
        _ = claim.turnAnswered(.granted, from: 2, gate: 2)
        claim.granted()
        #expect(claim.turnAnswered(.gone, from: 2, gate: 2) == .none)
        #expect(claim.turn == .none)
        #expect(claim.turnTimerFired(gate: 2, mayLook: true) == .none)
        #expect(claim.state == .held)
    }

    @Test
    func `who has the turn and finds a split tries again after a pause, and waits to be told after some of those`() {
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        _ = claim.ready(isContended: true, gate: 2)
        _ = claim.turnAnswered(.granted, from: 2, gate: 2)
        for _ in 0..<RedlockClaimStateMachine.maximumSplits {
            guard case .pause = claim.roundFailed(self.split, gate: 2) else {
                Issue.record("no pause")
                return
            }
            // Others are told at the same time.
            #expect(claim.freed() == .none)
            #expect(claim.timerFired(gate: 2) == .round(hasTurn: true))
        }
        #expect(claim.roundFailed(self.split, gate: 2) == .watch)
    }

    @Test func `what becomes free during a round that fails is asked again at once`() {
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        _ = claim.ready(isContended: true, gate: 2)
        _ = claim.turnAnswered(.granted, from: 2, gate: 2)
        #expect(claim.freed() == .none)
        #expect(claim.roundFailed(self.blocked, gate: 2) == .round(hasTurn: true))
        #expect(claim.roundFailed(self.blocked, gate: 2) == .watch)
    }

    @Test func `who waits for a quorum keeps the turn from nobody, and neither does who has lost the lock`() {
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        _ = claim.ready(isContended: true, gate: 2)
        _ = claim.turnAnswered(.granted, from: 2, gate: 2)
        #expect(claim.roundFailed(self.down, gate: nil) == .gather)
        #expect(claim.turn == .none)
        // A push that comes now.
        #expect(claim.turnAnswered(.granted, from: 2, gate: nil) == .none)
        #expect(claim.turnTimerFired(gate: nil, mayLook: true) == .none)
        #expect(claim.ready(isContended: true, gate: 1) == .ask(gate: 1))
        _ = claim.turnAnswered(.granted, from: 1, gate: 1)
        claim.granted()
        #expect(claim.turnTimerFired(gate: 1, mayLook: true) == .keepTurn(gate: 1))
        claim.heldNoMore()
        #expect(claim.turnTimerFired(gate: 1, mayLook: true) == .none)
        #expect(claim.state == .held)
    }

    @Test func `the first that waits for the turn asks for it when the owner may be dead, and does not look each time`()
    {
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        _ = claim.ready(isContended: true, gate: 0)
        for _ in 0..<5 {
            #expect(claim.turnAnswered(.queued(isFirst: true), from: 0, gate: 0) == .none)
            #expect(claim.turnTimerFired(gate: 0, mayLook: false) == .ask(gate: 0))
        }
        #expect(claim.turnAnswered(.queued(isFirst: true), from: 0, gate: 0) == .none)
        #expect(claim.turnTimerFired(gate: 0, mayLook: true) == .round(hasTurn: false))
    }

    @Test func `who has seen others want the lock asks for its turn first`() {
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        #expect(claim.ready(isContended: true, gate: 1) == .ask(gate: 1))
        #expect(claim.turnAnswered(.granted, from: 1, gate: 1) == .round(hasTurn: true))
        claim.granted()
        // Nobody else wanted it: the next one need not ask.
        #expect(!claim.hasWaited)
        // But not who does not wait.
        var hurried = RedlockClaimStateMachine(joinsQueue: false)
        #expect(hurried.ready(isContended: true, gate: 1) == .round(hasTurn: false))
    }

    @Test func `rounds that fail again without a gate pause for longer and longer, up to a bound`() {
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        _ = claim.ready(isContended: false, gate: 0)
        var pauses: [Duration] = []
        var step = claim.roundFailed(self.busy, gate: 0)
        for _ in 0..<24 {
            switch step {
            case .pause(let longest):
                pauses.append(longest)
                step = claim.timerFired(gate: 0)
            case .ask(gate: 0): step = claim.turnAnswered(.refused, from: 0, gate: 0)
            case .round: step = claim.roundFailed(self.busy, gate: 0)
            case let other:
                Issue.record("\(other)")
                return
            }
        }
        #expect(pauses == pauses.sorted())
        #expect(pauses.first == .milliseconds(16))
        #expect(pauses.last == RedlockClaimStateMachine.longestPause)
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
            if claim.timerFired(gate: 0) == .ask(gate: 0) {
                #expect(claim.turnAnswered(.granted, from: 0, gate: 0) == .round(hasTurn: true))
            }
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
        _ = promised.turnAnswered(.queued(isFirst: false), from: 0, gate: 0)
        _ = promised.turnAnswered(.granted, from: 0, gate: 0)
        #expect(promised.roundFailed(self.down, gate: nil) == .gather)
        #expect(promised.patienceIsOver() == true)
        #expect(promised.ready(isContended: false, gate: 1) == .ask(gate: 1))
    }

    @Test func `a gate that is lost is left for the next one`() {
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        _ = claim.ready(isContended: true, gate: 0)
        #expect(claim.lost(3, gate: 0) == .none)
        #expect(claim.lost(0, gate: 1) == .ask(gate: 1))
        // A late answer of the old one is nothing.
        #expect(claim.turnAnswered(.granted, from: 0, gate: 1) == .none)
        #expect(claim.turnAnswered(.failed, from: 1, gate: 2) == .ask(gate: 2))
        // Also with the turn.
        #expect(claim.turnAnswered(.granted, from: 2, gate: 2) == .round(hasTurn: true))
        #expect(claim.roundFailed(self.blocked, gate: 2) == .watch)
        #expect(claim.lost(2, gate: 1) == .ask(gate: 1))
        #expect(claim.lost(1, gate: nil) == .gather)
        var alone = RedlockClaimStateMachine(joinsQueue: true)
        _ = alone.ready(isContended: true, gate: 0)
        guard case .pause = alone.turnAnswered(.failed, from: 0, gate: 0) else {
            Issue.record("there is no other gate")
            return
        }
    }

    @Test
    func `the first that waits for the turn tries a round each time that it shows that it lives, and nobody else does`()
    {
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        _ = claim.ready(isContended: true, gate: 0)
        #expect(claim.turnAnswered(.queued(isFirst: false), from: 0, gate: 0) == .none)
        #expect(claim.turnTimerFired(gate: 0, mayLook: true) == .ask(gate: 0))
        for _ in 0..<30 {
            #expect(claim.turnAnswered(.queued(isFirst: true), from: 0, gate: 0) == .none)
            #expect(claim.turnTimerFired(gate: 0, mayLook: true) == .round(hasTurn: false))
            #expect(claim.roundFailed(self.busy, gate: 0) == .ask(gate: 0))
        }
        #expect(claim.turnAnswered(.queued(isFirst: true), from: 0, gate: 0) == .none)
        #expect(claim.turnTimerFired(gate: 0, mayLook: true) == .round(hasTurn: false))
        // The turn comes while it looks.
        #expect(claim.turnAnswered(.granted, from: 0, gate: 0) == .none)
        #expect(claim.roundFailed(self.busy, gate: 0) == .round(hasTurn: true))
        claim.granted()
        #expect(claim.turn == .owned(gate: 0))

        var lucky = RedlockClaimStateMachine(joinsQueue: true)
        _ = lucky.ready(isContended: true, gate: 0)
        _ = lucky.turnAnswered(.queued(isFirst: true), from: 0, gate: 0)
        #expect(lucky.turnTimerFired(gate: 0, mayLook: true) == .round(hasTurn: false))
        lucky.granted()
        // The turn is others'.
        #expect(lucky.turn == .none)
    }

    @Test
    func `where the gate answers and refuses, the others are asked after the pause, and the gate again after that`() {
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        _ = claim.ready(isContended: true, gate: 0)
        _ = claim.turnAnswered(.queued(isFirst: false), from: 0, gate: 0)
        #expect(claim.turnTimerFired(gate: 0, mayLook: true) == .ask(gate: 0))
        for _ in 0..<20 {
            guard case .pause = claim.turnAnswered(.refused, from: 0, gate: 0) else {
                Issue.record("no pause")
                return
            }
            #expect(claim.timerFired(gate: 0) == .round(hasTurn: false))
            guard case .pause = claim.roundFailed(self.busy, gate: 0) else { continue }
            #expect(claim.timerFired(gate: 0) == .ask(gate: 0))
        }
        // Another gate is asked at once.
        #expect(claim.turnAnswered(.refused, from: 0, gate: 1) == .ask(gate: 1))
    }

    @Test func `what a quorum refuses for good ends the claim after some rounds, also if it was promised a grant`() {
        let refused = RedlockRoundStateMachine.Failure(isWithoutQuorum: true, isRefused: true)
        var claim = RedlockClaimStateMachine(joinsQueue: true)
        _ = claim.ready(isContended: true, gate: 0)
        _ = claim.turnAnswered(.queued(isFirst: false), from: 0, gate: 0)
        /// Fails a round, and goes on to the next.
        func fail(_ failure: RedlockRoundStateMachine.Failure) -> RedlockClaimStateMachine.Step {
            if claim.state == .pausing { _ = claim.timerFired(gate: 0) }
            _ = claim.turnAnswered(.refused, from: 0, gate: 0)
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
        guard case .refuse(let why) = claim.turnAnswered(.full(7), from: 0, gate: 0) else {
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
