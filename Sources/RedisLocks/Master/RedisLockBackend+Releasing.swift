public import DistributedLocks

extension RedisLockBackend {
    /// Releases a lock and hands it over: one round trip.
    public func release(_ claim: LockClaim) async throws(LockError) -> ReleaseReply {
        self.ended(claim.attempt)
        let reply = try await self.call(
            self.scripts.release,
            key: try self.configuration.key(of: claim.name),
            [self.owner(of: claim)],
            deadline: self.deadline(nil),
            inAnyCase: true
        )
        self.ask { $0.releaseAnswered(on: reply.connection) }
        return try self.releaseAnswered(reply)
    }

    private func releaseAnswered(_ reply: RedisReply) throws(LockError) -> ReleaseReply {
        switch reply.value.int {
        case 1: return .released
        case 0: return .notHeld
        default: throw .strangeReply(.release)
        }
    }

    /// After a longer hold a release waits for its answer: beside that time it costs little, and it tells whether a server that
    /// forgets things, as a restarted one does, still knew of the lock.
    static var longestHoldWithoutAnswer: Duration { .milliseconds(10) }

    /// The requests of a connection are carried out in their order, so what this client asks next comes after the release,
    /// and leaves in the same write. The server has known the script on this connection; should it have forgotten it since, the
    /// release comes after what was sent meanwhile.
    public func releaseInOrder(
        _ claim: LockClaim,
        heldFor: Duration,
        ended: @escaping @Sendable (Result<ReleaseReply, LockError>) -> Void
    ) -> Bool {
        guard heldFor <= Self.longestHoldWithoutAnswer, let key = try? self.configuration.key(of: claim.name)
        else { return false }
        guard let owner = self.releasedInOrder(claim) else { return false }
        let deadline = self.deadline(nil)
        self.client.submit(
            self.scripts.release.command(key: key, [owner]), deadline: deadline, isUrgent: false
        ) { ended(self.releaseEnded($0)) }
        return true
    }

    private func releaseEnded(_ result: RedisClient.Outcome) -> Result<ReleaseReply, LockError> {
        do throws(LockError) {
            switch result {
            case .success(let reply):
                return .success(try self.releaseAnswered(reply))
            case .failure(let error):
                _ = self.isElsewhere(error, self.client)
                throw LockError(error, calling: self.scripts.release)
            }
        } catch {
            return .failure(error)
        }
    }
}
