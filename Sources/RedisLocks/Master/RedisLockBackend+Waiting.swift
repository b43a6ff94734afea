import DistributedLocks
import LockKernel
import LockTransport

/// Asking for claims that wait.
extension RedisLockBackend {
    func touch(_ attempt: AttemptID) {
        guard let (claim, owner) = self.claim(attempt) else { return }
        let key: String
        do {
            key = try self.configuration.key(of: claim.name)
        } catch {
            preconditionFailure("a claim with a name that no request can have had: \(error)")
        }
        let command = self.scripts.touch.command(
            key: key,
            [
                owner,
                .number(claim.lease.wholeMilliseconds),
                .number(WaitingStateMachine.registration(lease: claim.lease).wholeMilliseconds),
            ]
        )
        // Where grants are confirmed, the connection may be kept waiting for replicas.
        let patience = self.confirmsGrants ? nil : self.patience(lease: claim.lease, self.client)
        self.client.submit(command, deadline: self.deadline(nil, patience: patience)) { [weak self] result in
            guard let self else { return }
            if result.isUnanswered, let patience { self.heardNothing(for: patience, self.client) }
            self.touched(claim, result)
        }
    }

    private func touched(_ claim: LockClaim, _ result: Result<RedisReply, RedisError>) {
        switch result {
        case .failure(let error):
            _ = self.isElsewhere(error, self.client)
            let failure: MasterMachine.Failure =
                if error.isPassingRefusal { .passingRefusal } else {
                    error.isLastingRefusal ? .lastingRefusal : .noAnswer
                }
            self.touchFailed(claim, failure, LockError(error, calling: self.scripts.touch))
        case .success(let reply):
            guard let answer = ClaimReply(reply) else {
                return self.touchFailed(claim, .lastingRefusal, .strangeReply(.touch))
            }
            let now = self.environment.now
            self.feed {
                $0.touchAnswered(
                    claim.attempt, answer, sentAt: reply.sentAt, connection: reply.connection, now: now)
            }
        }
    }

    private func touchFailed(_ claim: LockClaim, _ failure: MasterMachine.Failure, _ error: LockError) {
        let now = self.environment.now
        self.feed { $0.touchFailed(claim.attempt, failure, error, now: now) }
    }
}
