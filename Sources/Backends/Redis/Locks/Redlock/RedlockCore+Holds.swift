import DistributedLocks
import NIOCore
import RESP
import RedisClient

/// Locks that are held: renewed, released, taken back.
extension RedlockCore {
    typealias LeaveContinuation = UnsafeContinuation<Result<Bool, LockError>, Never>

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
        // Until then it can be asked again.
        self.wakeups.set(attempt, to: .now + claim.claim.lease * 2)
        self.armTimer()
        let arguments = [self.owner(owner, of: claim.claim), self.reservation(claim)]
        let ballot = NIOLoopBoundBox(Ballot(count: self.instances.count), eventLoop: self.eventLoop)
        // The gate last: who has its turn next finds the others free.
        let gate = self.gate(of: claim) ?? 0
        let order = self.instances.indices.filter { $0 != gate } + [gate]
        for index in order {
            self.release(claim.key, arguments, lease: claim.claim.lease, on: self.instances[index]) { answer in
                let vote: Ballot.Vote
                switch answer {
                case 1: vote = .yes
                case 2:
                    vote = .yes
                    self.recent.contended(claim.claim.name, now: .now)
                case 0: vote = .no
                default: vote = .none
                }
                guard let verdict = ballot.value.voted(vote) else { return }
                switch verdict {
                case .yes, .undecided:
                    self.forget(claim)
                    continuation?.resume(returning: .success(true))
                case .no:
                    self.forget(claim)
                    continuation?.resume(returning: .success(false))
                case .noQuorum:
                    continuation?.resume(returning: .failure(self.noQuorum()))
                }
            }
        }
    }

    func renew(_ claim: LockClaim, deadline: Instant, then: @escaping (LockRenewalReply) -> Void) {
        guard let held = self.claims[claim.attempt], let owner = held.owner, held.machine.state == .held else {
            return then(.lost(.notOwner))
        }
        let arguments = [self.owner(owner, of: claim), .number(claim.lease.wholeMilliseconds)]
        // Validity counts from before the first of the requests leaves.
        let sentAt = Instant.now
        let until = min(deadline, sentAt + self.configuration.requestTimeout)
        let ballot = NIOLoopBoundBox(
            (votes: Ballot(count: self.instances.count), isRevoked: false), eventLoop: self.eventLoop)
        func vote(_ vote: Ballot.Vote, isRevoked: Bool = false) {
            if isRevoked { ballot.value.isRevoked = true }
            guard let verdict = ballot.value.votes.voted(vote) else { return }
            switch verdict {
            case .yes:
                let validUntil = LockValidity.deadline(lease: claim.lease, sentAt: sentAt)
                then(ballot.value.isRevoked ? .lost(.revoked) : .extended(until: validUntil))
            case .no, .undecided:
                then(
                    verdict == .no || ballot.value.isRevoked
                        ? .lost(ballot.value.isRevoked ? .revoked : .notOwner) : .failed(self.noQuorum()))
            case .noQuorum:
                then(ballot.value.isRevoked ? .lost(.revoked) : .failed(self.noQuorum()))
            }
        }
        for instance in self.instances {
            guard instance.client.state.isConnected else {
                vote(.none)
                continue
            }
            self.submit(.instanceRenew, to: instance, key: held.key, arguments, deadline: until) { result in
                switch result {
                case .success(let reply):
                    instance.machine.wasPrompt()
                    switch reply.value.int {
                    case 1: vote(.yes)
                    case 0: vote(.no)
                    case -1: vote(.no, isRevoked: true)
                    default: vote(.none)
                    }
                case .failure(let error):
                    if error.code == .outcomeUnknown { instance.machine.wasLate() }
                    vote(.none)
                }
            }
        }
    }
}
