#if Embedded
public import DistributedLocks
import LockKernel
import Synchronization

extension EmbeddedLockBackend {
    /// Asks for a lock: one transaction.
    public func request(_ request: AcquireRequest) async throws(LockError) -> AcquireReply {
        do {
            if let reply = try await self.attempt(request) { return reply }
            // The holder died and nobody waited for it who would have noticed; it is buried now.
            return try await self.attempt(request) ?? .busy(holders: [])
        } catch {
            let isUnknown = error.code == .outcomeUnknown
            self.state.withLock { $0.requestFailed(request.claim.attempt, isUnknown: isUnknown) }
            if !isUnknown { self.ended(request.claim.attempt) }
            throw error
        }
    }

    /// One transaction; `nil` if it found a dead holder, which it has buried.
    private func attempt(_ request: AcquireRequest) async throws(LockError) -> AcquireReply? {
        let claim = request.claim
        let sentAt = self.environment.machine.now
        let result: LockTable.RequestResult
        var isAtOnce = true
        if !Task.isCancelled,
            let done = try self.transactions.atOnce(now: sentAt, { try self.request(request, in: $0) })
        {
            result = done
        } else {
            isAtOnce = false
            result = try await self.transactions.transaction(deadline: self.deadline(request.latest)) { table in
                try self.request(request, in: table)
            }
        }
        switch result {
        case .granted(let grant):
            self.ended(claim.attempt)
            if !isAtOnce {
                // It may have waited for longer than a lease. In the file the lease counts from its turn on.
                let validUntil = LockValidity.deadline(
                    lease: claim.lease, sentAt: self.environment.instant(of: grant.grantedAt))
                return .granted(LockGrant(token: grant.token, tokenDomain: .clock, validity: validUntil))
            }
            return .granted(
                LockGrant(
                    token: grant.token,
                    tokenDomain: .clock,
                    validity: LockValidity.deadline(lease: claim.lease, sentAt: sentAt)
                )
            )
        case .queued(let place):
            self.placed(claim.attempt, place)
            return .queued(
                QueuePlace(
                    waitersAhead: place.predecessor == nil ? 0 : nil,
                    holders: [place.holderMetadata]
                )
            )
        case .busy(let holder, let metadata):
            if self.isDead(holder) {
                try await self.transactions.transaction(deadline: self.deadline(request.latest)) { table in
                    try table.bury(holder, name: claim.name)
                }
                return nil
            }
            self.ended(claim.attempt)
            return .busy(holders: [metadata])
        case .full(let limit):
            throw LockError(.serverRefused, "\(limit) waiters for '\(claim.name)' are as many as may wait")
        }
    }

    private func request(_ request: AcquireRequest, in table: LockTable) throws -> LockTable.RequestResult {
        let claim = request.claim
        let result = try table.request(
            claim,
            joinsQueue: request.joinsQueue,
            // From now on notices may come for it.
            isRetry: { self.state.withLock { $0.waiting.requested(claim) } },
            queueLimit: self.options.maximumWaitersPerLock
        )
        switch result {
        case .granted, .queued: self.state.withLock { $0.inFile[claim.attempt] = claim.name }
        case .busy, .full: break
        }
        return result
    }

    /// Leaves the queue, or releases what was granted meanwhile.
    public func withdraw(_ claim: LockClaim) async throws(LockError) {
        let found = try await self.transactions.transaction(deadline: self.deadline(nil)) { table in
            try table.withdraw(claim)
        }
        self.left(claim, found: found)
        self.ended(claim.attempt)
    }

    /// Releases a lock and hands it over: one transaction.
    public func release(_ claim: LockClaim) async throws(LockError) -> ReleaseReply {
        let now = self.environment.machine.now
        let wasHeld: Bool
        if let done = try self.transactions.atOnce(now: now, { try $0.release(claim) }) {
            wasHeld = done
        } else {
            wasHeld = try await self.transactions.transaction(deadline: self.deadline(nil)) { table in
                try table.release(claim)
            }
        }
        self.left(claim, found: wasHeld)
        return wasHeld ? .released : .notHeld
    }

    /// Renews all grants in one transaction.
    public func renew(_ renewals: [LockRenewal]) async -> [LockRenewalReply] {
        // A reply after the earliest deadline would be too late for that grant, but not for the others.
        let deadline = renewals.map(\.latest).max() ?? self.deadline(nil)
        do {
            // On the queue's thread: this one keeps the locks of all clients of the process.
            let results = try await self.transactions.transaction(deadline: deadline, isOnQueue: true) { table in
                try renewals.map { try table.renew($0.claim) }
            }
            for case (let renewal, .lost) in zip(renewals, results) { self.foundGone(renewal.claim) }
            return zip(renewals, results).map { renewal, result in
                switch result {
                case .extended(let time):
                    .extended(
                        until: LockValidity.deadline(
                            lease: renewal.claim.lease, sentAt: self.environment.instant(of: time)
                        ).continuous)
                case .lost(let reason):
                    .lost(reason)
                }
            }
        } catch {
            return renewals.map { _ in .failed(error) }
        }
    }

    /// Tells who holds and who waits. A holder that is dead is not shown.
    public func status(of name: LockName?) async throws(LockError) -> [LockStatus] {
        let found = try await self.transactions.withFile(deadline: self.deadline(nil)) { file in
            try file.status(of: name)
        }
        return found.map { entry in
            var status = entry.status
            if let holder = entry.holder, self.isDead(holder) { status.holders = [] }
            return status
        }.filter { name != nil || $0.holder != nil || !$0.waiters.isEmpty }
    }

    /// Breaks a lock by hand.
    public func breakLock(_ name: LockName, immediately: Bool) async throws(LockError) -> BreakReply {
        let holder = try await self.transactions.transaction(deadline: self.deadline(nil)) { table in
            try table.breakLock(name, immediately: immediately)
        }
        guard let holder else { return .notHeld }
        if self.isDead(holder.participant) {
            try await self.transactions.transaction(deadline: self.deadline(nil)) { table in
                try table.bury(holder.participant, name: name)
            }
            return .notHeld
        }
        return .broken(holder.metadata)
    }

    private func deadline(_ deadline: BootInstant?) -> BootInstant {
        let patience = self.environment.machine.now + self.options.busyTimeout
        return deadline.map { min($0, patience) } ?? patience
    }
}
#endif
