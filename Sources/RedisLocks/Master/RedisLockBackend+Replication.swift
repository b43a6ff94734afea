import DistributedLocks
import LockKernel

/// `replicationAcks`: a grant is told when so many replicas have it.
///
/// `WAIT` counts what the connection that asks has written itself. So it follows the acquire on the same connection; and a
/// waiter to whom somebody else handed the lock over touches it first. As long as a connection waits, nothing else that it
/// carries goes on: renewals have a connection of their own.
extension RedisLockBackend {
    var confirmsGrants: Bool { self.configuration.replicationAcks > 0 }

    private enum Confirmation {
        case enough
        case tooFew(LockError)
        /// Not even that is known.
        case unknown(LockError)
    }

    /// - Throws: what the acquire fails with. The lock has been released, unless the error is `outcomeUnknown`.
    func confirm(_ claim: LockClaim, on connection: RedisConnectionID) async throws(LockError) {
        let result: RedisClient.Outcome
        do throws(RedisError) {
            let (command, deadline) = self.waiting(for: claim)
            result = .success(try await self.client.send(command, deadline: deadline, onlyOn: connection))
        } catch {
            result = .failure(error)
        }
        switch self.confirmation(result) {
        case .enough:
            return
        case .unknown(let error):
            // The same owner asks again, and may be given another answer.
            self.ended(claim.attempt)
            throw error
        case .tooFew(let error):
            do throws(LockError) {
                try await self.withdraw(claim)
            } catch let failure {
                throw LockError(.outcomeUnknown, "\(error.message); releasing it failed: \(failure.message)")
            }
            throw error
        }
    }

    /// A grant that a touch has found, after the lock was handed over.
    func confirm(_ claim: LockClaim, _ grant: LockGrant, on connection: RedisConnectionID) {
        let (command, deadline) = self.waiting(for: claim)
        self.client.submit(command, deadline: deadline, onlyOn: connection) { [weak self] result in
            guard let self else { return }
            switch self.confirmation(result) {
            case .enough:
                self.tell(.granted(claim.attempt, grant))
            case .tooFew(let error), .unknown(let error):
                self.ended(claim.attempt)
                // The client takes the claim back.
                self.tell(.failed(claim.attempt, error))
            }
        }
    }

    private func waiting(for claim: LockClaim) -> (RedisCommand, deadline: BootInstant) {
        // Less than the silence after which a connection is given up.
        let longest = min(self.configuration.replicationTimeout, claim.lease / 3, self.configuration.silenceTimeout / 2)
        let command = RedisCommand("WAIT", "\(self.configuration.replicationAcks)", "\(longest.wholeMilliseconds)")
        return (command, self.environment.now + longest + self.configuration.silenceTimeout / 2)
    }

    private func confirmation(_ result: RedisClient.Outcome) -> Confirmation {
        let wanted = self.configuration.replicationAcks
        if case .failure(let error) = result { _ = self.isElsewhere(error, self.client) }
        switch result {
        case .success(let reply):
            guard let count = reply.value.int else {
                return .tooFew(LockError(.serverRefused, "the server's answer to WAIT makes no sense"))
            }
            if count >= wanted { return .enough }
            return .tooFew(
                LockError(
                    .unreachable, "\(count) of \(wanted) replicas have confirmed the grant in time: it was given back")
            )
        // UNBLOCKED: the master has become a replica meanwhile. The same owner asks the next one.
        case .failure(let error) where error.code == .refused && error.serverCode != "UNBLOCKED":
            return .tooFew(LockError(error))
        case .failure(let error):
            return .unknown(LockError(.outcomeUnknown, error.message))
        }
    }
}
