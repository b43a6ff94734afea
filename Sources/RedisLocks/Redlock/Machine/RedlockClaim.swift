import DistributedLocks
import LockKernel

/// One claim: its rounds, its turn, and who waits for an answer about it. A part of ``RedlockClaims``. Pure.
///
/// States: those of its ``RedlockClaimStateMachine``, which says what to do next; here it is done. Beside them: a round is *under way*,
/// or was *won* and is held by; at most one call waits for the answer to a request. A request is answered once; what comes to be known
/// when nobody waits for it is told to the client as news.
struct RedlockClaim {
    typealias Instant = BootInstant
    typealias Answer = RedlockMachine.Answer
    typealias Failure = RedlockMachine.Failure

    let identity: ClaimIdentity
    private var machine: RedlockClaimStateMachine
    /// Who waits for the answer to a request.
    private var call: CallID?
    /// The round that is under way.
    private var round: RedlockRound?
    /// What it holds, or has held until its release.
    private var hold: RedlockHold?
    private var turn = RedlockTurn()
    private var knowledge = ClaimKnowledge()
    private var times = ClaimTimers.Times()

    init(_ identity: ClaimIdentity, joinsQueue: Bool) {
        self.identity = identity
        self.machine = RedlockClaimStateMachine(joinsQueue: joinsQueue)
    }

    var attempt: AttemptID { self.identity.id.attempt }
    var beginning: UInt64 { self.identity.id.beginning }
    /// By what messages name it.
    var secret: LockOwner.Secret { self.identity.claim.owner.secret }
    private var name: LockName { self.identity.claim.name }
    var isGathering: Bool { self.machine.state == .gathering }
    var isReleased: Bool { self.machine.state == .over }
    /// The caller was promised a grant.
    var isPromised: Bool { self.machine.isPromised }
    /// Messages may name it.
    var isWaiter: Bool { self.turn.isWaiter }

    // MARK: Requests

    /// Somebody waits for an answer. Returns whether a round or a turn is to be asked for.
    mutating func requested(_ call: CallID, latest: Instant?, _ commons: inout RedlockCommons) -> Bool {
        // A caller asks again only when it has given its first question up.
        self.answer(.failed(Failure(.outcomeUnknown, "asked again")), &commons)
        self.call = call
        if self.isHeld, let hold {
            self.answer(.granted(hold.grant), &commons)
            return false
        }
        if self.machine.isPromised {
            self.answerQueued(&commons)
            return false
        }
        commons.timers.answer(self.attempt, by: commons.endOfPatience(latest), &self.times)
        return self.isGathering
    }

    /// It is its time, if there is a quorum.
    mutating func began(_ commons: inout RedlockCommons) -> Fate {
        guard commons.members.hasQuorum(now: commons.now),
            let gate = commons.members.firstUsable(from: self.identity.home)
        else {
            return .gathers
        }
        let isContended = commons.tokens.isContended(self.name, now: commons.now)
        return self.perform(self.machine.ready(isContended: isContended, gate: gate), &commons)
    }

    /// Its caller waits for an answer no longer.
    mutating func requestCancelled(_ commons: inout RedlockCommons) -> Fate {
        guard self.call != nil else { return .stays }
        if self.isGathering {
            return self.finish(.failed(Failure(.cancelled, "cancelled before it was sent")), &commons)
        }
        self.answer(.failed(Failure(.outcomeUnknown, "cancelled while it was out")), &commons)
        return .stays
    }

    /// The caller's time for an answer may be over.
    mutating func patienceTimerFired(_ commons: inout RedlockCommons) -> Fate {
        guard self.times.patienceEnded(now: commons.now), self.call != nil else { return .stays }
        if self.machine.patienceIsOver() {
            self.answerQueued(&commons)
            return .stays
        }
        let refusal = commons.members.refusal(now: commons.now)
        return self.finish(.failed(refusal ?? self.noQuorum(commons)), &commons)
    }

    /// The backend has stopped.
    mutating func stopped(_ failure: Failure, _ commons: inout RedlockCommons) {
        self.answer(.failed(failure), &commons)
    }

    private mutating func answer(_ answer: @autoclosure () -> Answer, _ commons: inout RedlockCommons) {
        commons.timers.answered(self.attempt, &self.times)
        guard let call = self.call else { return }
        self.call = nil
        commons.outbox.add(.answer(call, answer()))
    }

    private mutating func answerQueued(ahead: Int? = nil, _ commons: inout RedlockCommons) {
        let holder = self.knowledge.holder
        self.answer(.queued(ahead: ahead, holder: holder), &commons)
    }

    private func noQuorum(_ commons: borrowing RedlockCommons, _ code: LockError.Code = .noQuorum) -> Failure {
        commons.members.noQuorum(code, self.knowledge.failures, now: commons.now)
    }

    /// A claim ends without a grant: nothing of it is left.
    mutating func finish(_ answer: Answer, _ commons: inout RedlockCommons) -> Fate {
        _ = self.forgotten(&commons)
        self.leave(&commons)
        if self.call == nil, case .failed(let failure) = answer {
            // Its caller was told that it waits.
            commons.outbox.add(.tell(.failed(self.attempt, failure)))
        }
        self.answer(answer, &commons)
        return .isOver
    }

    /// It is over, for all that this client knows.
    mutating func forgotten(_ commons: inout RedlockCommons) -> Fate {
        self.machine.ended()
        commons.timers.forget(self.attempt, &self.times)
        return .isOver
    }

    // MARK: Steps

    private mutating func perform(_ step: RedlockClaimStateMachine.Step, _ commons: inout RedlockCommons) -> Fate {
        switch step {
        case .none: break
        case .round(let hasTurn): return self.startRound(hasTurn: hasTurn, &commons)
        case .ask(let gate): self.turn.ask(at: gate, for: self.identity, &commons)
        case .keepTurn(let gate): self.turn.keep(at: gate, for: self.identity, &commons)
        case .watch:
            let next = self.knowledge.nextTry(lease: self.identity.claim.lease, now: commons.now)
            commons.timers.wake(self.attempt, at: next, &self.times)
            self.answerQueued(ahead: 0, &commons)
        case .pause(let longest):
            let pause = longest * Double.random(in: 0..<1, using: &commons.generator)
            commons.timers.wake(self.attempt, at: commons.now + pause, &self.times)
        case .gather: return .lacksQuorum
        case .busy(let holder): return self.finish(.busy(holder: holder ?? self.knowledge.holder), &commons)
        case .noQuorum: return self.finish(.failed(self.noQuorum(commons)), &commons)
        case .refusedByInstances: return self.finish(.failed(self.noQuorum(commons, .serverRefused)), &commons)
        case .refuse(let reason): return self.finish(.failed(Failure(.serverRefused, reason)), &commons)
        }
        return .stays
    }

    /// A pause is over, or the time that a round has, or it was waited for long enough.
    mutating func wakeupTimerFired(_ commons: inout RedlockCommons) -> Fate {
        // What was done for another one that was due may have set it anew.
        guard self.times.wokeUp(now: commons.now) else { return .stays }
        if let action = self.round?.timeIsOver() { return self.perform(action, &commons) }
        return self.perform(self.machine.timerFired(gate: self.gate(commons)), &commons)
    }

    /// An instance cannot be asked any more.
    mutating func instanceLost(_ index: Int, _ commons: inout RedlockCommons) -> Fate {
        self.perform(self.machine.lost(index, gate: self.gate(commons)), &commons)
    }

    private func gate(_ commons: borrowing RedlockCommons) -> Int? { commons.members.gate(from: self.identity.home) }

    // MARK: Rounds

    private mutating func startRound(hasTurn: Bool, _ commons: inout RedlockCommons) -> Fate {
        var round = RedlockRound(
            of: self.identity, hasTurn: hasTurn, failsEarly: self.machine.joinsQueue, above: self.knowledge.lowestToken,
            &commons)
        self.knowledge.roundBegan()
        commons.timers.wake(self.attempt, at: round.deadline, &self.times)
        let action = round.began(for: self.identity, &commons)
        self.round = consume round
        return self.perform(action, &commons)
    }

    /// An instance has answered a round of this claim, maybe one that is over.
    mutating func roundAnswered(
        _ number: UInt64, by index: Int, _ said: RedlockRound.Said, _ commons: inout RedlockCommons
    ) -> Fate {
        self.knowledge.heard(said, now: commons.now)
        if self.round?.number == number {
            let answer = said.answer(isTold: self.round?.isTold ?? false)
            let action = self.round?.answered(index, answer, told: said.told, now: commons.now) ?? .none
            return self.perform(action, &commons)
        }
        self.hold?.answered(number, by: index, said.answer(isTold: false), told: said.told, now: commons.now)
        return .stays
    }

    /// Whether an instance may be asked again, as it did not know the script. What has been taken back must not come after that.
    func wantsRound(_ number: UInt64, from index: Int, _ members: borrowing RedlockMembers) -> Bool {
        if let round { return round.mayBeAskedAgain(index, number, members) }
        return self.isHeld && self.hold?.mayBeAskedAgain(index, number, members) == true
    }

    private mutating func perform(_ action: RedlockRoundStateMachine.Action, _ commons: inout RedlockCommons) -> Fate {
        switch action {
        case .none:
            return .stays
        case .granted(let validUntil, _):
            self.granted(validUntil: validUntil, &commons)
            return .stays
        case .failed:
            return self.roundFailed(&commons)
        }
    }

    private mutating func granted(validUntil: Instant, _ commons: inout RedlockCommons) {
        guard let round = self.round.take() else { preconditionFailure("a grant without a round") }
        self.machine.granted()
        let hold = RedlockHold(round, validUntil: validUntil)
        let grant = hold.grant
        self.hold = consume hold
        commons.timers.stopWaking(self.attempt, &self.times)
        commons.timers.answered(self.attempt, &self.times)
        commons.tokens.granted(self.name, token: grant.token.rawValue)
        if self.machine.hasWaited { commons.contended(self.name) }
        self.turn.leave(for: self.identity, but: self.machine.turn.gate, &commons)
        if self.call != nil {
            self.answer(.granted(grant), &commons)
        } else {
            commons.outbox.add(.tell(.granted(self.attempt, grant)))
        }
    }

    private mutating func roundFailed(_ commons: inout RedlockCommons) -> Fate {
        guard let round = self.round.take() else { preconditionFailure("a round failed that was not begun") }
        commons.timers.stopWaking(self.attempt, &self.times)
        round.giveUp(for: self.identity, &commons)
        self.knowledge.told(round.nextToken - 1, commons)
        let failure = round.failure
        self.knowledge.roundFailed(failure)
        if failure.isBusy { commons.contended(self.name) }
        let fate = self.perform(self.machine.roundFailed(failure, gate: self.gate(commons)), &commons)
        if let holder = failure.holder, self.call == nil, self.machine.isPromised {
            commons.outbox.add(.tell(.held(self.attempt, by: holder)))
        }
        return fate
    }

    // MARK: The turn

    /// A gate has answered.
    ///
    /// - Parameter reply: `nil`: no answer that helps.
    mutating func turnAnswered(
        by index: Int, _ reply: ClaimReply?, isRefusal: Bool, _ commons: inout RedlockCommons
    ) -> Fate {
        var ahead: Int?
        if case .queued(let place) = reply {
            ahead = place.place
            self.knowledge.queued(place)
            commons.contended(self.name)
        }
        if let time = RedlockTurn.nextRequest(after: reply, for: self.identity) { self.showTurn(in: time, &commons) }
        let answer = RedlockClaimStateMachine.TurnAnswer(reply, isRefusal: isRefusal)
        return self.turnHeard(answer, from: index, ahead: ahead, &commons)
    }

    /// An instance says by a message that the claim has the turn.
    mutating func turnPushed(by index: Int, _ fence: Int64, _ commons: inout RedlockCommons) -> Fate {
        // Who had it before took its lock before that.
        self.knowledge.told(fence, commons)
        guard self.machine.turn.gate == index else {
            // It waits at another gate by now: the next one is not to be kept waiting.
            self.turn.leave(at: index, for: self.identity, &commons)
            return .stays
        }
        self.showTurn(in: RedlockTurn.renewalInterval(self.identity), &commons)
        return self.turnHeard(.granted, from: index, &commons)
    }

    private mutating func turnHeard(
        _ answer: RedlockClaimStateMachine.TurnAnswer, from index: Int, ahead: Int? = nil,
        _ commons: inout RedlockCommons
    ) -> Fate {
        let step = self.machine.turnAnswered(answer, from: index, gate: self.gate(commons))
        if case .round = step { commons.timers.stopWaking(self.attempt, &self.times) }
        let fate = self.perform(step, &commons)
        if self.call != nil, self.machine.isPromised { self.answerQueued(ahead: ahead, &commons) }
        return fate
    }

    private mutating func showTurn(in time: Duration, _ commons: inout RedlockCommons) {
        commons.timers.askForTurn(self.attempt, at: commons.now + time, &self.times)
    }

    /// It may be time to show at the gate that it is alive.
    mutating func turnTimerFired(_ commons: inout RedlockCommons) -> Fate {
        let now = commons.now
        guard self.times.turnIsDue(now: now) else { return .stays }
        if self.hold?.hasEnded(now: now) == true {
            self.lost(&commons)
            return .stays
        }
        let step = self.machine.turnTimerFired(
            gate: self.gate(commons), mayLook: self.turn.mayLook(for: self.identity, now: now))
        if case .round = step { self.turn.looked(now: now) }
        return self.perform(step, &commons)
    }

    /// As ``wantsRound(_:from:_:)``, for what was asked about the turn.
    func wantsTurn(_ what: RedlockMachine.TurnRequest.What, at gate: Int) -> Bool {
        what == .keep ? self.machine.turn == .owned(gate: gate) : self.machine.state == .queued(gate: gate)
    }

    /// An instance says that the lock is free there.
    ///
    /// - Parameter mayVote: it is known who it is.
    mutating func freed(by index: Int, _ fence: Int64, mayVote: Bool, _ commons: inout RedlockCommons) -> Fate {
        self.knowledge.told(fence, commons)
        guard mayVote else { return .stays }
        // The round goes on where it was refused before.
        if let action = self.round?.freed(index, for: self.identity, &commons) {
            return self.perform(action, &commons)
        }
        let step = self.machine.freed()
        guard step != .none else { return .stays }
        commons.timers.stopWaking(self.attempt, &self.times)
        return self.perform(step, &commons)
    }

    // MARK: The hold

    var isHeld: Bool { self.machine.state == .held }

    /// Whose key it is, if it is held, or was.
    var owner: LockOwner.Secret? { self.hold?.owner }

    mutating func renewed(until validUntil: Instant) { self.hold?.renewed(until: validUntil) }

    /// What it held is lost. It gives the turn back, though its holder may not let go of it for long.
    mutating func lost(_ commons: inout RedlockCommons) {
        self.machine.heldNoMore()
        commons.timers.stopAskingForTurn(self.attempt, &self.times)
        self.turn.leave(for: self.identity, &commons)
    }

    /// It is taken back.
    ///
    /// - Parameters:
    ///   - call: who waits for the answer.
    ///   - isAlone: there are no other claims.
    mutating func withdrawn(_ call: CallID?, isAlone: Bool, _ commons: inout RedlockCommons) -> Fate {
        self.answer(.failed(Failure(.outcomeUnknown, "taken back")), &commons)
        guard self.hold != nil else {
            _ = self.forgotten(&commons)
            self.leave(&commons)
            if let call { commons.outbox.add(.answer(call, .left(wasHeld: false))) }
            return .isOver
        }
        self.machine.ended()
        // With other locks about, requests share their writes anyway; with others who want this one, it leaves at once.
        if call == nil, isAlone, !self.turn.isAsked, !commons.tokens.isContended(self.name, now: commons.now) {
            commons.releases.delayed(self.identity.id, &commons.outbox)
        } else {
            self.release(call, &commons)
        }
        return .stays
    }

    /// Releases what it holds on all instances.
    mutating func release(_ call: CallID?, _ commons: inout RedlockCommons) {
        guard let hold else { return }
        // Until then it can be asked again.
        commons.timers.end(
            self.attempt, at: commons.now + self.identity.claim.lease + self.identity.claim.lease, &self.times)
        hold.release(call, for: self.identity, &commons)
        self.turn.leave(for: self.identity, &commons)
    }

    /// It was released, and no quorum has confirmed it: its keys may have ended by now.
    mutating func endTimerFired(_ commons: inout RedlockCommons) -> Fate {
        self.times.ended(now: commons.now) ? self.forgotten(&commons) : .stays
    }

    /// Takes back what it may have on the instances, apart from a lock that it holds.
    private mutating func leave(_ commons: inout RedlockCommons) {
        self.round.take()?.giveUp(for: self.identity, &commons)
        self.turn.leave(for: self.identity, &commons)
    }
}
