import DistributedLocks
import LockKernel
import LockTransport
import NIOCore

/// Locks that are held: renewed, released, taken back.
extension RedlockCore {
    typealias LeaveContinuation = WaitContinuation<Result<Bool, LockError>>

    /// Takes a claim back, whatever became of it. The answer: whether it held the lock.
    ///
    /// A lock that was held is released on all instances; a quorum has to confirm it.
    ///
    /// - Parameter continuation: `nil`: nobody waits for the answer.
    func withdraw(_ attempt: AttemptID, _ continuation: LeaveContinuation? = nil) {
        guard let claim = self.claims[attempt] else { return continuation?.resume(returning: .success(false)) ?? () }
        self.answer(claim, .failure(LockError(.outcomeUnknown, "taken back")))
        guard let owner = claim.owner else {
            self.forget(claim)
            self.leave(claim)
            continuation?.resume(returning: .success(false))
            return
        }
        claim.machine.ended()
        claim.grant = nil
        // With other locks about, requests share their writes anyway; with others who want this one, it leaves at once.
        if continuation == nil, self.claims.count == 1, claim.askedForTurn.isEmpty,
            !self.recent.isContended(claim.claim.name, now: self.now)
        {
            self.delayRelease(of: claim)
        } else {
            self.release(claim, owner, continuation)
        }
    }

    /// A release that nobody waits for leaves with the next request, which saves the servers half of their work where one lock is
    /// taken after another; at the latest after this.
    private static let releaseDelay = TimeAmount.microseconds(100)

    private func delayRelease(of claim: Claim) {
        guard self.outbox.delay(claim) else { return }
        let bound = NIOLoopBound(self, eventLoop: self.eventLoop)
        self.releaseTimer = self.eventLoop.scheduleTask(in: Self.releaseDelay) { bound.value.flushReleases() }
    }

    func flushReleases() {
        self.releaseTimer?.cancel()
        self.releaseTimer = nil
        for claim in self.outbox.takeDelayed() {
            if let owner = claim.owner { self.release(claim, owner, nil) }
        }
    }

    private func release(_ claim: Claim, _ owner: LockOwner.Secret, _ continuation: LeaveContinuation?) {
        // Until then it can be asked again.
        self.timers.end(claim.claim.attempt, at: self.now + claim.claim.lease * 2, &claim.times)
        self.armTimer()
        let instances = self.instances
        let election = Election(claim, count: instances.count, quorum: self.quorum, continuation: continuation)
        let release = Release(
            .instanceRelease, claim.key, owner: self.owner(owner, of: claim.claim), lasts: claim.claim.lease,
            election: election, core: self)
        let won = claim.won
        // The gate last, and the turn behind it: who has it next finds the lock free.
        let gate = self.firstUsable(from: claim.home) ?? 0
        for step in 1...instances.count {
            let instance = instances[(gate + step) % instances.count]
            // An instance that was away all the time has nothing of it.
            self.send(release, to: instance, isKept: won?.machine.mayHold(instance.index) != false)
        }
        self.leaveTurns(of: claim)
    }

    /// - Parameter timeout: how long an instance may take.
    func renew(_ claim: LockClaim, deadline: Instant, timeout: Duration, then: @escaping (LockRenewalReply) -> Void) {
        guard let held = self.claims[claim.attempt], let owner = held.owner, held.machine.state == .held else {
            return then(.lost(.notOwner))
        }
        let arguments = [
            self.owner(owner, of: claim), .number(claim.lease.wholeMilliseconds), self.policyArgument,
        ]
        // Validity counts from before the first of the requests leaves.
        let sentAt = self.now
        let until = min(deadline, sentAt + timeout)
        var votes = Ballot(count: self.instances.count, quorum: self.quorum)
        var wasBroken = false
        func lost(_ reason: LockError.LossReason) {
            self.leaveTurnOfLost(held)
            then(.lost(reason))
        }
        func vote(_ vote: Ballot.Vote, isBroken: Bool = false) {
            if isBroken { wasBroken = true }
            guard let verdict = votes.voted(vote) else { return }
            switch verdict {
            case _ where wasBroken: lost(.broken)
            case .yes:
                let validUntil = LockValidity.deadline(lease: claim.lease, sentAt: sentAt)
                held.validUntil = validUntil
                then(.extended(until: validUntil.continuous))
            case .no: lost(.notOwner)
            case .undecided, .noQuorum: then(.failed(self.noQuorum()))
            }
        }
        for instance in self.instances {
            // One that has turned out to be another server must not vote twice.
            guard instance.isConnected, !instance.machine.isRefused else {
                vote(.none)
                continue
            }
            self.submit(.instanceRenew, to: instance, key: held.key, arguments, deadline: until) { result in
                switch result {
                case .success(let reply):
                    self.answered(instance, reply)
                    switch reply.value.int {
                    case 1: vote(.yes)
                    case 0: vote(.no)
                    case -1: vote(.no, isBroken: true)
                    case -9:
                        self.hasAnotherPolicy(instance)
                        vote(.none)
                    default: vote(.none)
                    }
                case .failure(let error):
                    self.heard(error, from: instance)
                    vote(.none)
                }
            }
        }
    }
}
