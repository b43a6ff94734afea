import LockKernel
import Logging
import Metrics

extension LockClient {
    /// Releases a grant, once.
    ///
    /// An exchange that fails is no error: it is repeated in the background.
    ///
    /// - Parameters:
    ///   - lossAtReturn: What was known to be wrong at the instant that counts, where that is earlier than now.
    ///   - awaitsAnswer: Whether to wait until the store has confirmed it even where nothing can overtake the release.
    /// - Returns: the reason if the grant had been lost by now, or if the backend says that the owner did not hold it.
    func release(
        _ hold: Hold,
        lossAtReturn: LockError.LossReason? = nil,
        awaitsAnswer: Bool = true
    ) async -> LockError.LossReason? {
        if let reason = lossAtReturn ?? hold.loss() { self.engine.lose(hold, reason) }
        let (isFirst, loss) = hold.released()
        let wasKnown = self.engine.ask { $0.releaseBegan(hold.claim.attempt) }
        let heldFor = self.now() - hold.grantedAt
        if wasKnown { self.metrics.holdTime.record(quickly: heldFor) }
        if let reason = loss {
            // The owner may still be on the store (a broken lock waits for this), so it is taken back all the same.
            if wasKnown {
                self.engine.cleanUp(hold.claim)
                self.releaseEnded()
            }
            return reason
        }
        guard isFirst else {
            if wasKnown { self.releaseEnded() }
            return nil
        }
        if !awaitsAnswer, let backend = self.orderedRelease {
            let isUnderWay = backend.releaseInOrder(hold.claim, heldFor: heldFor) { result in
                _ = self.releaseAnswered(hold, result)
                if wasKnown { self.releaseEnded() }
            }
            if isUnderWay { return nil }
        }
        let result: Result<ReleaseReply, LockError>
        do {
            result = .success(try await self.exchangeRelease(hold.claim))
        } catch {
            result = .failure(error)
        }
        defer { if wasKnown { self.releaseEnded() } }
        return self.releaseAnswered(hold, result)
    }

    private func releaseAnswered(_ hold: Hold, _ result: Result<ReleaseReply, LockError>) -> LockError.LossReason? {
        switch result {
        case .success(.released):
            return nil
        case .success(.notHeld):
            self.metrics.lost.increment()
            self.logger.warning(
                "a lock was lost before it was released",
                metadata: [LogKey.name: "\(hold.claim.name)", LogKey.token: "\(hold.token)"]
            )
            return .notOwner
        case .failure(let error):
            self.metrics.releaseFailures.increment()
            self.logger.warning(
                "a release failed and is repeated in the background",
                metadata: [LogKey.name: "\(hold.claim.name)", LogKey.error: "\(error)"]
            )
            self.engine.cleanUp(hold.claim)
            return nil
        }
    }

    /// A release is over; whatever it has left to be cleaned up is known by now.
    private func releaseEnded() {
        if self.engine.ask({ $0.releaseEnded() }) { self.engine.wake() }
    }

    /// One release, which a cancelled caller does not cut short.
    private func exchangeRelease(_ claim: LockClaim) async throws(LockError) -> ReleaseReply {
        guard Task.isCancelled else { return try await self.backend.release(claim) }
        let result = await Task { () async -> Result<ReleaseReply, LockError> in
            do throws(LockError) {
                return .success(try await self.backend.release(claim))
            } catch {
                return .failure(error)
            }
        }.value
        return try result.get()
    }

    /// Releases a grant whose handle was dropped.
    func releaseInBackground(_ hold: Hold) {
        guard self.engine.ask({ $0.letGo(hold.claim.attempt) }) else { return }
        _ = hold.released()
        self.engine.cleanUp(hold.claim)
    }
}
