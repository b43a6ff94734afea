import DistributedLocks
import LockKernel
import NIOCore

/// Claims: what is asked for, and how it ends.
extension RedlockCore {
    func request(_ request: AcquireRequest, _ continuation: RequestContinuation) {
        if self.refuseIfStopped(continuation) { return }
        let key: String
        do throws(LockError) {
            key = try self.check(request.claim)
        } catch {
            continuation.resume(returning: .failure(error))
            return
        }
        if !self.wantsLocks {
            self.wantsLocks = true
            self.givePolicies()
        }
        let attempt = request.claim.attempt
        let claim: Claim
        if let over = self.claims[attempt], over.machine.state == .over {
            // Its release is out, or was not confirmed.
            self.flushReleases()
            self.forget(over)
        }
        if let known = self.claims[attempt] {
            claim = known
            // A caller asks again only when it has given its first question up.
            self.answer(claim, .failure(LockError(.outcomeUnknown, "asked again")))
        } else {
            claim = Claim(
                claim: request.claim,
                key: key,
                joinsQueue: request.joinsQueue,
                instanceCount: self.instances.count
            )
            self.claims[attempt] = claim
        }
        claim.request = continuation
        if let grant = claim.grant { return self.answer(claim, .success(.granted(grant))) }
        if claim.machine.isPromised { return self.answer(claim, .success(.queued(self.place(of: claim)))) }
        let now = self.now
        // A little before the caller's own deadline, so that it hears why.
        let patience = self.deadline(request.latest, now: now)
        let answeredBy = patience - min(now.duration(to: patience) / 4, .milliseconds(250))
        self.timers.answer(attempt, by: answeredBy, &claim.times)
        if case .gathering = claim.machine.state {
            if !self.outbox.hasDelayed {
                self.begin(claim)
            } else {
                // Both leave in one write.
                for instance in self.instances { instance.client.beginGathering() }
                self.flushReleases()
                self.begin(claim)
                for instance in self.instances { instance.client.endGathering() }
            }
        }
        self.armTimer()
    }

    private func check(_ claim: LockClaim) throws(LockError) -> String {
        guard claim.lease <= self.configuration.longestLease else {
            throw LockError(
                .invalidConfiguration,
                "a lease here is at most \(self.configuration.longestLease.brief): \(claim.lease.brief) is more"
            )
        }
        if let refusal { throw refusal }
        return try self.key(of: claim.name)
    }

    func begin(_ claim: Claim) {
        let now = self.now
        guard self.hasQuorum(now: now), let gate = self.firstUsable(from: claim.home) else {
            self.gathering.insert(claim.claim.attempt)
            return
        }
        let isContended = self.recent.isContended(claim.claim.name, now: now)
        self.perform(claim.machine.ready(isContended: isContended, gate: gate), for: claim)
    }

    func perform(_ step: RedlockClaimStateMachine.Step, for claim: Claim) {
        switch step {
        case .none:
            break
        case .round(let hasTurn):
            self.startRound(of: claim, hasTurn: hasTurn)
        case .ask(let gate):
            self.askForTurn(claim, at: gate)
        case .keepTurn(let gate):
            self.keepTurn(claim, at: gate)
        case .watch:
            // The holder may have died, or a release may not have come to the gate.
            let now = self.now
            let usual = now + WaitingStateMachine.touchInterval(lease: claim.claim.lease)
            let next = claim.heldByOthersUntil.map { min(usual, max($0, now) + .milliseconds(1)) } ?? usual
            self.timers.wake(claim.claim.attempt, at: next, &claim.times)
            self.armTimer()
            self.answer(claim, .success(.queued(self.place(of: claim, ahead: 0))))
        case .pause(let longest):
            let pause = longest * Double.random(in: 0..<1, using: &self.generator)
            self.timers.wake(claim.claim.attempt, at: self.now + pause, &claim.times)
            self.armTimer()
        case .gather:
            self.gathering.insert(claim.claim.attempt)
            self.quorumChanged()
        case .busy(let holder):
            self.finish(claim, .success(.busy(holders: OwnerText.holders(in: holder ?? claim.holder))))
        case .noQuorum:
            self.finish(claim, .failure(self.noQuorum(for: claim)))
        case .refusedByInstances:
            let error = self.noQuorum(for: claim)
            self.finish(claim, .failure(LockError(.serverRefused, error.message, nodes: error.nodes)))
        case .refuse(let reason):
            self.finish(claim, .failure(LockError(.serverRefused, reason)))
        }
    }

    // MARK: The turn

    static func turnKey(_ key: String) -> String { key + "\tturn" }

    private func askForTurn(_ claim: Claim, at gate: Int) {
        let attempt = claim.claim.attempt
        claim.askedForTurn.insert(gate)
        if claim.lookedAt == nil { claim.lookedAt = self.now }
        if !claim.isWaiter {
            claim.isWaiter = true
            self.waiters[claim.claim.owner.secret] = attempt
        }
        self.callForTurn(
            .acquire, claim, at: gate,
            [.number(Int64(self.configuration.maximumWaitersPerLock))],
            // If a round has begun meanwhile, its request is out: the text would come after it, and ask once more.
            isWanted: { self.claims[attempt] === claim && claim.machine.state == .queued(gate: gate) })
    }

    private func keepTurn(_ claim: Claim, at gate: Int) {
        let attempt = claim.claim.attempt
        self.callForTurn(
            .touch, claim, at: gate, [],
            isWanted: { self.claims[attempt] === claim && claim.machine.turn == .owned(gate: gate) })
    }

    private func callForTurn(
        _ script: RedisScript, _ claim: Claim, at gate: Int, _ more: [ScriptArgument], isWanted: @escaping () -> Bool
    ) {
        let attempt = claim.claim.attempt
        let instance = self.instances[gate]
        self.submit(
            script,
            to: instance,
            key: claim.turnKey,
            [
                self.owner(claim.claim.owner.secret, of: claim.claim), .number(claim.turnLease.wholeMilliseconds),
                .number(WaitingStateMachine.registration(lease: claim.claim.lease).wholeMilliseconds),
            ] + more,
            deadline: self.now + self.configuration.timeout(lease: claim.claim.lease),
            isWanted: isWanted
        ) { result in
            guard self.claims[attempt] === claim else { return }
            self.answeredTurn(claim, at: instance, result)
        }
    }

    private func answeredTurn(_ claim: Claim, at instance: Instance, _ result: Exchange) {
        var answer = RedlockClaimStateMachine.TurnAnswer.failed
        var ahead: Int?
        switch result {
        case .failure(let error):
            self.heard(error, from: instance)
            if error.code == .refused { answer = .refused }
        case .success(let reply):
            self.answered(instance, reply)
            switch ClaimReply(reply.value) {
            case .granted:
                answer = .granted
                self.showTurn(of: claim, in: claim.turnLease.divided(by: 3))
            case .queued(let queue):
                answer = .queued(isFirst: queue.place == 0)
                ahead = queue.place
                // Who has the turn has the lock, as a rule.
                if claim.holder.isEmpty { claim.holder = queue.holder }
                self.recent.contended(claim.claim.name, now: self.now)
                let usual = WaitingStateMachine.touchInterval(lease: claim.claim.lease)
                // The next one asks when the turn must be free: who has it may have died.
                var next = usual
                if case .milliseconds(let left) = queue.remaining { next = min(usual, .milliseconds(left + 1)) }
                self.showTurn(of: claim, in: next)
            case .full(let waiters): answer = .full(waiters)
            case .gone: answer = .gone
            case .busy, nil: break
            }
        }
        self.turnAnswered(answer, claim, at: instance, ahead: ahead)
    }

    private func showTurn(of claim: Claim, in time: Duration) {
        self.timers.askForTurn(claim.claim.attempt, at: self.now + time, &claim.times)
        self.armTimer()
    }

    private func turnAnswered(
        _ answer: RedlockClaimStateMachine.TurnAnswer, _ claim: Claim, at instance: Instance, ahead: Int? = nil
    ) {
        let step = claim.machine.turnAnswered(answer, from: instance.index, gate: self.gate(of: claim))
        if case .round = step { self.timers.stopWaking(claim.claim.attempt, &claim.times) }
        self.perform(step, for: claim)
        if claim.request != nil, claim.machine.isPromised {
            self.answer(claim, .success(.queued(self.place(of: claim, ahead: ahead))))
        }
    }

    func turnIsDue(_ attempt: AttemptID, now: Instant) {
        guard let claim = self.claims[attempt], claim.times.turnIsDue(now: now) else { return }
        if let validUntil = claim.validUntil, now >= validUntil { return self.leaveTurnOfLost(claim) }
        let usual = WaitingStateMachine.touchInterval(lease: claim.claim.lease)
        let mayLook = claim.lookedAt.map { now >= $0 + usual } ?? true
        let step = claim.machine.turnTimerFired(gate: self.gate(of: claim), mayLook: mayLook)
        if case .round = step { claim.lookedAt = now }
        self.perform(step, for: claim)
    }

    /// What it held is lost. It gives the turn back, though its holder may not let go of it for long.
    func leaveTurnOfLost(_ claim: Claim) {
        claim.machine.heldNoMore()
        self.timers.stopAskingForTurn(claim.claim.attempt, &claim.times)
        self.leaveTurns(of: claim)
    }

    /// An instance says by a push that the claim has the turn.
    func hasTurn(_ claim: Claim, at index: Int) {
        guard claim.machine.turn.gate == index else {
            // It waits at another gate by now: the next one is not to be kept waiting.
            return self.leaveTurn(of: claim, at: index)
        }
        self.showTurn(of: claim, in: claim.turnLease.divided(by: 3))
        self.turnAnswered(.granted, claim, at: self.instances[index])
    }

    /// The token has to be above this fence. Unless it is wild: so far ahead of the clock that nobody would grant it.
    func told(_ fence: Int64, to claim: Claim) {
        guard let time = self.times.estimate(now: self.now), fence <= time + self.skew
        else {
            return
        }
        claim.lowestToken = max(claim.lowestToken, fence)
    }

    /// The lock is free on an instance.
    func freed(_ claim: Claim, at index: Int) {
        let instance = self.instances[index]
        // It must not vote before it is known who it is.
        guard instance.machine.isOpen else { return }
        if let round = claim.round {
            // The round goes on where it was refused before.
            if round.machine.turn(index) { return self.ask(instance, round, claim) }
        }
        let step = claim.machine.freed()
        guard step != .none else { return }
        self.timers.stopWaking(claim.claim.attempt, &claim.times)
        self.perform(step, for: claim)
    }

    func place(of claim: Claim, ahead: Int? = nil) -> QueuePlace {
        QueuePlace(waitersAhead: ahead, holders: OwnerText.holders(in: claim.holder))
    }

    // MARK: Time

    func wakeUp(_ attempt: AttemptID, now: Instant) {
        // What was done for another one that was due may have set it anew.
        guard let claim = self.claims[attempt], claim.times.wokeUp(now: now) else { return }
        if let round = claim.round {
            self.perform(round.machine.timeIsOver(), round, claim)
        } else {
            self.perform(claim.machine.timerFired(gate: self.gate(of: claim)), for: claim)
        }
    }

    /// It was released, and no quorum has confirmed it: its keys have ended by now.
    func hasEnded(_ attempt: AttemptID, now: Instant) {
        guard let claim = self.claims[attempt], claim.times.ended(now: now) else { return }
        self.forget(claim)
    }

    func patienceIsOver(_ attempt: AttemptID, now: Instant) {
        guard let claim = self.claims[attempt], claim.times.patienceEnded(now: now) else { return }
        guard claim.request != nil else { return }
        if claim.machine.patienceIsOver() {
            self.answer(claim, .success(.queued(self.place(of: claim))))
        } else {
            self.finish(claim, .failure(self.refusal ?? self.noQuorum(for: claim)))
        }
    }

    func requestCancelled(_ attempt: AttemptID) {
        guard let claim = self.claims[attempt], claim.request != nil else { return }
        if claim.machine.state == .gathering {
            self.finish(claim, .failure(LockError(.cancelled, "cancelled before it was sent")))
        } else {
            self.answer(claim, .failure(LockError(.outcomeUnknown, "cancelled while it was out")))
        }
    }

    // MARK: Ends

    func answer(_ claim: Claim, _ reply: @autoclosure () -> Result<AcquireReply, LockError>) {
        self.timers.answered(claim.claim.attempt, &claim.times)
        guard let request = claim.request else { return }
        claim.request = nil
        request.resume(returning: reply())
    }

    /// A claim ends without a grant: nothing of it is left.
    func finish(_ claim: Claim, _ reply: Result<AcquireReply, LockError>) {
        self.forget(claim)
        self.leave(claim)
        if claim.request == nil, case .failure(let error) = reply {
            // Its caller was told that it waits.
            self.tell(.failed(claim.claim.attempt, error))
        }
        self.answer(claim, reply)
    }

    func forget(_ claim: Claim) {
        let attempt = claim.claim.attempt
        claim.machine.ended()
        // It may have been asked for anew since then.
        if self.claims[attempt] === claim {
            self.claims[attempt] = nil
            if claim.isWaiter { self.waiters[claim.claim.owner.secret] = nil }
        }
        if !self.gathering.isEmpty { self.gathering.remove(attempt) }
        self.timers.forget(attempt, &claim.times)
        // A round has its claim.
        claim.won = nil
    }

    /// Takes back what a claim may have on the instances, apart from a lock that it holds.
    func leave(_ claim: Claim) {
        if let round = claim.round {
            claim.round = nil
            _ = round.machine.timeIsOver()
            self.giveUp(round, claim)
        }
        self.leaveTurns(of: claim)
    }

    /// Gives its turn back, or does not wait for it any more.
    ///
    /// - Parameter kept: but for the turn at this gate.
    func leaveTurns(of claim: Claim, but kept: Int? = nil) {
        if claim.askedForTurn.isEmpty { return }
        for index in claim.askedForTurn where index != kept { self.leaveTurn(of: claim, at: index) }
    }

    private func leaveTurn(of claim: Claim, at index: Int) {
        claim.askedForTurn.remove(index)
        self.send(
            Release(
                .cancel, claim.turnKey, owner: self.owner(claim.claim.owner.secret, of: claim.claim),
                lasts: WaitingStateMachine.registration(lease: claim.claim.lease), core: self),
            to: self.instances[index])
    }
}
