import DistributedLocks
import LockKernel
import NIOCore

/// Rounds: what is asked of all instances, and what comes of it.
extension RedlockCore.Claim {
    /// Whether this round is under way, or was granted and is still held.
    func isOf(_ round: RedlockCore.Round) -> Bool {
        self.round === round || self.won === round && self.machine.state == .held
    }
}

extension RedlockCore {
    func startRound(of claim: Claim, hasTurn: Bool) {
        let now = self.now
        let timeout = self.configuration.timeout(lease: claim.claim.lease)
        let time = self.times.estimate(now: now) ?? 1
        let instances = self.instances
        var reasons: [String?] = []
        var isLate: [Bool] = []
        reasons.reserveCapacity(instances.count)
        isLate.reserveCapacity(instances.count)
        // Of instances that have been open for a short time; the others' are below the clock. A wild one is left out.
        var floor: Int64 = 0
        for instance in instances {
            let isOpen = instance.machine.isOpen
            reasons.append(isOpen ? nil : instance.machine.reason(now: now))
            isLate.append(instance.machine.isLate)
            let own = instance.machine.floor
            if isOpen, own > floor, own <= time + self.skew { floor = own }
        }
        let round = Round(
            RedlockRoundStateMachine(
                instances: reasons,
                isLate: isLate,
                quorum: self.quorum,
                token: max(
                    claim.lowestToken + 1, self.recent[claim.claim.name].token + 1,
                    Self.token(above: floor, time: time, skew: self.skew)),
                lease: claim.claim.lease,
                minimumValidity: claim.claim.lease / 2,
                failsEarly: claim.machine.joinsQueue,
                startedAt: now
            ),
            of: claim,
            owner: claim.claim.owner.secret.next(using: &self.generator),
            deadline: now + timeout,
            hasTurn: hasTurn,
            core: self
        )
        claim.round = round
        claim.heldByOthersUntil = nil
        self.timers.wake(claim.claim.attempt, at: round.deadline, &claim.times)
        for instance in instances where round.machine.isAsked(instance.index) {
            // A connection may be found lost while it is written to, and with it the round.
            guard claim.round === round else { break }
            self.ask(instance, round, claim)
        }
        if hasTurn { self.armTimer() }
    }

    /// What to propose, by the clocks and the floors of the instances alone.
    ///
    /// A floor is ahead of the clocks for as long as the skew, and all clients would propose the same token above it: then who has
    /// its turn would have to be told the last one. So above a floor tokens go on with the clock, at an eighth of its pace, until
    /// the clock is above them.
    static func token(above floor: Int64, time: Int64, skew: Int64) -> Int64 {
        max(time, floor + 1 + max(time - (floor - skew), 0) / 8)
    }

    func ask(_ instance: Instance, _ round: Round, _ claim: Claim) {
        guard round.mayAsk(instance) else {
            // As its script would answer.
            let told = RedlockRoundStateMachine.Told(fence: instance.machine.floor, time: 0)
            return self.take(.behind(holder: ""), told: told, from: instance, round, claim)
        }
        round.submit(to: instance)
    }

    func answered(_ instance: Instance, _ round: Round, _ claim: Claim, _ result: Exchange) {
        let answer: RedlockRoundStateMachine.Answer
        var told: RedlockRoundStateMachine.Told?
        switch result {
        case .failure(let error):
            self.heard(error, from: instance)
            let reason = LockError(error, calling: .instanceAcquire).message
            answer = error.isLastingRefusal ? .refused(reason) : .failed(reason)
        case .success(let reply):
            self.answered(instance, reply)
            guard let acquired = InstanceAcquireReply(reply.value) else {
                answer = .failed("its answer makes no sense")
                break
            }
            told = acquired.told
            if let left = acquired.remaining {
                let until = self.now + left
                claim.heldByOthersUntil = max(until, claim.heldByOthersUntil ?? until)
            }
            if let told { self.times.told(told.time, by: instance.index, sentAt: reply.sentAt) }
            switch acquired.outcome {
            case .granted: answer = .granted
            case .behind(let holder):
                if !holder.isEmpty { claim.holder = holder }
                answer = .behind(holder: holder)
            case .tooFarAhead: answer = .tooFarAhead
            case .anotherNode:
                answer = .failed("not open: it has restarted")
                instance.machine.foundAnotherNode()
                self.look(instance)
            case .busy(let holder):
                claim.holder = holder
                answer = .busy(holder: holder, isQueued: round.isTold)
            }
        }
        self.take(answer, told: told, from: instance, round, claim)
    }

    private func take(
        _ answer: RedlockRoundStateMachine.Answer,
        told: RedlockRoundStateMachine.Told?,
        from instance: Instance,
        _ round: Round,
        _ claim: Claim
    ) {
        let action = round.machine.answered(instance.index, answer, told: told, now: self.now)
        guard claim.round === round else { return }
        self.perform(action, round, claim)
    }

    func perform(_ action: RedlockRoundStateMachine.Action, _ round: Round, _ claim: Claim) {
        switch action {
        case .none:
            break
        case .granted(let validUntil, _):
            claim.round = nil
            self.granted(claim, round, validUntil: validUntil)
        case .failed:
            claim.round = nil
            self.failed(claim, round)
        }
    }

    private func granted(_ claim: Claim, _ round: Round, validUntil: Instant) {
        guard let token = FencingToken(rawValue: round.machine.token) else { preconditionFailure("a token of 0") }
        let attempt = claim.claim.attempt
        claim.machine.granted()
        claim.won = round
        claim.validUntil = validUntil
        self.timers.stopWaking(attempt, &claim.times)
        self.timers.answered(attempt, &claim.times)
        self.recent.granted(claim.claim.name, token: token.rawValue)
        if claim.machine.hasWaited { self.recent.contended(claim.claim.name, now: self.now) }
        self.leaveTurns(of: claim, but: claim.machine.turn.gate)
        let grant = LockGrant(token: token, tokenDomain: .clock, validity: validUntil)
        claim.grant = grant
        if claim.request != nil {
            self.answer(claim, .success(.granted(grant)))
        } else {
            self.tell(.granted(attempt, grant))
        }
    }

    private func failed(_ claim: Claim, _ round: Round) {
        self.timers.stopWaking(claim.claim.attempt, &claim.times)
        self.giveUp(round, claim)
        self.told(round.machine.nextToken() - 1, to: claim)
        let failure = round.machine.failure
        claim.failures = failure.reasons
        if failure.isBusy { self.recent.contended(claim.claim.name, now: self.now) }
        self.perform(claim.machine.roundFailed(failure, gate: self.gate(of: claim)), for: claim)
        if let holder = failure.holder, claim.request == nil, claim.machine.isPromised {
            self.tell(.held(claim.claim.attempt, by: OwnerText.holders(in: holder)))
        }
    }

    /// An instance has answered. Only an answer that came in time shows that it is not late any more.
    func answered(_ instance: Instance, _ reply: RedisReply) {
        guard instance.machine.isLate else { return }
        if reply.sentAt.duration(to: self.now) <= self.configuration.instanceTimeout { instance.machine.wasPrompt() }
    }

    /// Releases a lost round wherever it may have been granted, also where no answer has come.
    func giveUp(_ round: Round, _ claim: Claim) {
        let release = Release(
            .instanceRelease, claim.key, owner: self.owner(round.owner, of: claim.claim), lasts: claim.claim.lease,
            core: self)
        for instance in self.instances where round.machine.mayHold(instance.index) { self.send(release, to: instance) }
    }
}
