import DistributedLocks

/// Decides who holds and who waits, as a server would.
///
/// A lock is there while it is *held* or *waited for*; a lock that is waited for is always held. Leases are judged by the
/// instants that are passed in. Every method that can end a grant hands the lock over to the first waiter, and returns
/// what has to be told to whom.
struct InMemoryLockStoreStateMachine: Sendable {
    /// One client's connection.
    struct ConnectionID: Hashable, Comparable, Sendable {
        let rawValue: UInt64

        static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
    }

    /// Whom an event concerns, and whose grant it may be.
    struct Delivery: Sendable {
        let connection: ConnectionID
        let name: LockName
        let event: LockEvent
    }

    enum RequestReply: Sendable {
        /// The lease was set at the instant of the request.
        case granted(FencingToken)
        case queued(QueuePlace)
        case busy(OwnerMetadata?)
        case queueFull
    }

    enum RenewalReply: Sendable {
        case extended
        case lost(LockError.LossReason)
    }

    struct Holder: Sendable {
        /// Where events go; `nil` for a stranger who took the lock past every client.
        let connection: ConnectionID?
        let claim: LockClaim?
        let lease: Duration
        let token: FencingToken
        let grantedAt: ContinuousClock.Instant
        var leaseSetAt: ContinuousClock.Instant
        var isBroken = false

        var leaseEnd: ContinuousClock.Instant { self.leaseSetAt + self.lease }

        func isOwned(by claim: LockClaim) -> Bool { self.claim?.owner.secret == claim.owner.secret }
    }

    struct Waiter: Sendable {
        let connection: ConnectionID
        let claim: LockClaim
        let since: ContinuousClock.Instant
    }

    struct Lock: Sendable {
        var holder: Holder
        var waiters: [Waiter] = []
    }

    /// A claim that was told to wait and has not been told how its wait ended.
    struct Awaited: Hashable, Sendable {
        let connection: ConnectionID
        let attempt: AttemptID
    }

    let tokenDomain: TokenDomain
    let maximumWaitersPerLock: Int
    private(set) var locks: [LockName: Lock] = [:]
    private var awaited: [Awaited: LockName] = [:]
    private var touches: [ConnectionID: ContinuousClock.Instant] = [:]
    private var lastToken: Int64 = 0
    /// No lease ends before this, nor is anything else due.
    private(set) var nextEvent: ContinuousClock.Instant?

    init(tokenDomain: TokenDomain, maximumWaitersPerLock: Int) {
        self.tokenDomain = tokenDomain
        self.maximumWaitersPerLock = maximumWaitersPerLock
    }

    // What clients ask for.

    mutating func requested(
        _ request: AcquireRequest,
        from connection: ConnectionID,
        at now: ContinuousClock.Instant
    ) -> (reply: RequestReply, deliveries: [Delivery]) {
        let claim = request.claim
        var deliveries = self.leaseChecked(claim.name, at: now)
        if let holder = self.locks[claim.name]?.holder, holder.isOwned(by: claim) {
            if !holder.isBroken {
                self.locks[claim.name]?.holder.leaseSetAt = now
                self.noteEvent(at: now + claim.lease)
                self.awaited[Awaited(connection: connection, attempt: claim.attempt)] = nil
                return (.granted(holder.token), deliveries)
            }
            // Whoever asks again does not know of the grant that was broken, and so gives it back.
            deliveries += self.vacated(claim.name, at: now)
        }
        guard let lock = self.locks[claim.name] else {
            let token = self.grant(claim, to: connection, waiters: [], at: now)
            return (.granted(token), deliveries)
        }
        let holderMetadata = lock.holder.claim?.owner.metadata
        guard request.joinsQueue else { return (.busy(holderMetadata), deliveries) }
        let place: Int
        if let index = lock.waiters.firstIndex(where: { $0.claim.owner.secret == claim.owner.secret }) {
            place = index
        } else {
            guard lock.waiters.count < self.maximumWaitersPerLock else { return (.queueFull, deliveries) }
            place = lock.waiters.count
            self.locks[claim.name]?.waiters.append(Waiter(connection: connection, claim: claim, since: now))
        }
        self.awaited[Awaited(connection: connection, attempt: claim.attempt)] = claim.name
        return (.queued(QueuePlace(waitersAhead: place, holders: holderMetadata.map { [$0] } ?? [])), deliveries)
    }

    mutating func withdrawn(
        _ claim: LockClaim,
        from connection: ConnectionID,
        at now: ContinuousClock.Instant
    ) -> [Delivery] {
        self.awaited[Awaited(connection: connection, attempt: claim.attempt)] = nil
        let deliveries = self.leaseChecked(claim.name, at: now)
        guard let lock = self.locks[claim.name] else { return deliveries }
        if lock.holder.isOwned(by: claim) { return deliveries + self.vacated(claim.name, at: now) }
        self.locks[claim.name]?.waiters.removeAll { $0.claim.owner.secret == claim.owner.secret }
        return deliveries
    }

    mutating func renewed(
        _ claim: LockClaim,
        at now: ContinuousClock.Instant
    ) -> (reply: RenewalReply, deliveries: [Delivery]) {
        let deliveries = self.leaseChecked(claim.name, at: now)
        guard let holder = self.locks[claim.name]?.holder, holder.isOwned(by: claim) else {
            return (.lost(.notOwner), deliveries)
        }
        guard !holder.isBroken else { return (.lost(.broken), deliveries) }
        self.locks[claim.name]?.holder.leaseSetAt = now
        self.noteEvent(at: now + claim.lease)
        return (.extended, deliveries)
    }

    mutating func released(
        _ claim: LockClaim,
        at now: ContinuousClock.Instant
    ) -> (reply: ReleaseReply, deliveries: [Delivery]) {
        let deliveries = self.leaseChecked(claim.name, at: now)
        guard let holder = self.locks[claim.name]?.holder, holder.isOwned(by: claim) else {
            return (.notHeld, deliveries)
        }
        return (.released, deliveries + self.vacated(claim.name, at: now))
    }

    mutating func broken(
        _ name: LockName,
        immediately: Bool,
        at now: ContinuousClock.Instant
    ) -> (reply: BreakReply, deliveries: [Delivery]) {
        var deliveries = self.leaseChecked(name, at: now)
        guard let holder = self.locks[name]?.holder else { return (.notHeld, deliveries) }
        guard immediately || holder.claim != nil else {
            return (.cannotBeTold(remainingLease: max(holder.leaseEnd - now, .zero)), deliveries)
        }
        if let connection = holder.connection, let claim = holder.claim, !holder.isBroken {
            let event = LockEvent.lost(claim.attempt, .broken)
            deliveries.append(Delivery(connection: connection, name: name, event: event))
        }
        if immediately {
            deliveries += self.vacated(name, at: now)
        } else {
            self.locks[name]?.holder.isBroken = true
        }
        return (.broken(holder.claim?.owner.metadata), deliveries)
    }

    // What happens by itself.

    /// Time has passed: leases may have ended.
    mutating func timePassed(to now: ContinuousClock.Instant) -> [Delivery] {
        if let nextEvent = self.nextEvent, nextEvent > now { return [] }
        var deliveries: [Delivery] = []
        for name in self.locks.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
            deliveries += self.leaseChecked(name, at: now)
        }
        for (connection, instant) in self.touches.sorted(by: { $0.key < $1.key }) where instant <= now {
            self.touches[connection] = nil
            deliveries += self.touched(connection)
        }
        self.nextEvent = nil
        for lock in self.locks.values { self.noteEvent(at: lock.holder.leaseEnd) }
        for instant in self.touches.values { self.noteEvent(at: instant) }
        return deliveries
    }

    /// An event reached its client.
    mutating func delivered(_ event: LockEvent, to connection: ConnectionID) {
        switch event {
        case .granted(let attempt, _), .gone(let attempt), .failed(let attempt, _):
            self.awaited[Awaited(connection: connection, attempt: attempt)] = nil
        case .held, .extended, .sessionExtended, .lost, .sessionLost, .reconnected:
            break
        }
    }

    /// A push was lost on its way: the client asks for itself, after a while.
    mutating func pushLost(to connection: ConnectionID, lease: Duration, at now: ContinuousClock.Instant) {
        let instant = now + min(lease / 3, .seconds(2))
        self.touches[connection] = min(self.touches[connection] ?? instant, instant)
        self.noteEvent(at: instant)
    }

    /// A client asks what became of all claims that it waits for.
    func touched(_ connection: ConnectionID) -> [Delivery] {
        self.awaited.filter { $0.key.connection == connection }.sorted { $0.key.attempt < $1.key.attempt }
            .compactMap { awaited, name in
                let lock = self.locks[name]
                if let holder = lock?.holder, let claim = holder.claim, holder.connection == connection,
                    claim.attempt == awaited.attempt
                {
                    return self.grantDelivery(of: holder, claim: claim, to: connection)
                }
                let isQueued = lock?.waiters.contains {
                    $0.connection == connection && $0.claim.attempt == awaited.attempt
                }
                if isQueued == true { return nil }
                return Delivery(connection: connection, name: name, event: .gone(awaited.attempt))
            }
    }

    /// A client died: what it holds stays until its leases end.
    mutating func crashed(_ connection: ConnectionID) {
        for name in self.locks.keys {
            self.locks[name]?.waiters.removeAll { $0.connection == connection }
        }
        self.awaited = self.awaited.filter { $0.key.connection != connection }
        self.touches[connection] = nil
    }

    // What tests do to it.

    mutating func leaseEnded(_ name: LockName, at now: ContinuousClock.Instant) -> [Delivery] {
        self.locks[name] == nil ? [] : self.vacated(name, at: now)
    }

    mutating func stolen(_ name: LockName, lease: Duration, at now: ContinuousClock.Instant) -> FencingToken {
        let holder = Holder(
            connection: nil,
            claim: nil,
            lease: lease,
            token: self.nextToken(),
            grantedAt: now,
            leaseSetAt: now
        )
        self.locks[name] = Lock(holder: holder, waiters: self.locks[name]?.waiters ?? [])
        self.noteEvent(at: holder.leaseEnd)
        return holder.token
    }

    mutating func erased(_ name: LockName) -> [Delivery] {
        let deliveries = self.waitersForgotten(name)
        self.locks[name] = nil
        return deliveries
    }

    mutating func waitersForgotten(_ name: LockName) -> [Delivery] {
        let waiters = self.locks[name]?.waiters ?? []
        self.locks[name]?.waiters = []
        return waiters.map { Delivery(connection: $0.connection, name: name, event: .gone($0.claim.attempt)) }
    }

    mutating func tokensSetBack(to token: Int64) { self.lastToken = token - 1 }

    // How grants come and go.

    private mutating func leaseChecked(_ name: LockName, at now: ContinuousClock.Instant) -> [Delivery] {
        guard let holder = self.locks[name]?.holder, holder.leaseEnd <= now else { return [] }
        return self.vacated(name, at: now)
    }

    /// The holder is gone: the first waiter holds now.
    private mutating func vacated(_ name: LockName, at now: ContinuousClock.Instant) -> [Delivery] {
        guard let lock = self.locks.removeValue(forKey: name), let next = lock.waiters.first else { return [] }
        _ = self.grant(next.claim, to: next.connection, waiters: Array(lock.waiters.dropFirst()), at: now)
        guard let holder = self.locks[name]?.holder else { return [] }
        return [self.grantDelivery(of: holder, claim: next.claim, to: next.connection)] + self.holderDeliveries(name)
    }

    /// Tells all who wait who holds now.
    private func holderDeliveries(_ name: LockName) -> [Delivery] {
        guard let lock = self.locks[name] else { return [] }
        let holders = lock.holder.claim.map { [$0.owner.metadata] } ?? []
        return lock.waiters.map {
            Delivery(connection: $0.connection, name: name, event: .held($0.claim.attempt, by: holders))
        }
    }

    private mutating func grant(
        _ claim: LockClaim,
        to connection: ConnectionID,
        waiters: [Waiter],
        at now: ContinuousClock.Instant
    ) -> FencingToken {
        let holder = Holder(
            connection: connection,
            claim: claim,
            lease: claim.lease,
            token: self.nextToken(),
            grantedAt: now,
            leaseSetAt: now
        )
        self.locks[claim.name] = Lock(holder: holder, waiters: waiters)
        self.noteEvent(at: holder.leaseEnd)
        return holder.token
    }

    private func grantDelivery(of holder: Holder, claim: LockClaim, to connection: ConnectionID) -> Delivery {
        let grant = LockGrant(
            token: holder.token,
            tokenDomain: self.tokenDomain,
            validUntil: LockValidity.deadline(lease: holder.lease, sentAt: holder.leaseSetAt)
        )
        return Delivery(connection: connection, name: claim.name, event: .granted(claim.attempt, grant))
    }

    /// One counter for all locks: the tokens of each name rise, and nothing has to be remembered for each.
    private mutating func nextToken() -> FencingToken {
        self.lastToken += 1
        guard let token = FencingToken(rawValue: self.lastToken) else { preconditionFailure("tokens are positive") }
        return token
    }

    private mutating func noteEvent(at instant: ContinuousClock.Instant) {
        self.nextEvent = self.nextEvent.map { min($0, instant) } ?? instant
    }
}

extension InMemoryLockStoreStateMachine {
    var isEmpty: Bool { self.locks.isEmpty }

    func status(of name: LockName, at now: ContinuousClock.Instant) -> LockStatus {
        let lock = self.locks[name]
        return LockStatus(
            name: name,
            holders: lock.map { lock in
                LockStatus.Holder(
                    metadata: lock.holder.claim?.owner.metadata,
                    token: lock.holder.token,
                    remainingLease: max(lock.holder.leaseEnd - now, .zero),
                    heldFor: now - lock.holder.grantedAt,
                    isBroken: lock.holder.isBroken
                )
            }.map { [$0] } ?? [],
            waiters: lock?.waiters.map {
                LockStatus.Waiter(metadata: $0.claim.owner.metadata, waitingFor: now - $0.since)
            } ?? [],
            lastToken: lock?.holder.token,
            tokenDomain: self.tokenDomain
        )
    }

    func statusOfAll(at now: ContinuousClock.Instant) -> [LockStatus] {
        self.locks.keys.map { self.status(of: $0, at: now) }
    }
}
