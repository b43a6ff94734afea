#if Embedded
import DistributedLocks

/// A grant as it stands in the file.
struct StoredGrant: Sendable {
    let token: FencingToken
    let grantedAt: BootTime
    let leaseEnd: BootTime
}

/// What a claim is waiting for.
struct StoredPlace: Sendable {
    let place: Int64
    /// The waiter ahead; `nil` if this is the first one.
    let predecessor: ParticipantID?
    let holder: ParticipantID
    let holderMetadata: OwnerMetadata
    let holderLeaseEnd: BootTime
}

/// The locks and the queues in the file: every rule of who gets a lock next, within one transaction.
///
/// A name's row has an owner while it is held, and stays without one as the memory of its token. Whoever finds that a
/// lease has passed hands the lock over to the first waiter, and so does whoever releases. All methods run within an
/// immediate transaction, which has one time, ``now``; ``notices`` are to be delivered after its commit.
final class LockTable {
    enum RequestResult: Sendable {
        case granted(StoredGrant)
        case queued(StoredPlace)
        case busy(holder: ParticipantID, OwnerMetadata)
        case full(limit: Int)
    }

    enum CheckResult: Sendable {
        case granted(StoredGrant)
        case waiting(StoredPlace)
        case gone
    }

    enum RenewResult: Sendable {
        /// From when on the new lease counts.
        case extended(at: BootTime)
        case lost(LockError.LossReason)
    }

    /// Why a transaction has to be rolled back and begun anew.
    struct NeedsReservation: Error {
        let upTo: Int64
    }

    struct NoTokensLeft: Error {}

    /// A lock's row.
    struct Row {
        let token: Int64
        let participant: ParticipantID
        let attempt: AttemptID
        let grantedAt: BootTime
        let leaseEnd: BootTime
        let isBroken: Bool
        let isHeld: Bool
        let isMine: Bool
        /// Read only where somebody else holds the lock.
        let metadata: OwnerMetadata?

        func isValid(at now: BootTime) -> Bool { self.isHeld && self.leaseEnd > now }
    }

    let participant: ParticipantID
    let statements: LockStatements
    private let wallClock: @Sendable () -> Int64
    /// When the transaction began, after the wait for those before it.
    private(set) var now = BootTime(nanoseconds: 0)
    /// What has to be told to whom after the commit.
    var notices: [Notice] = []
    /// From which number on the next block is to be reserved.
    var reserveFrom: Int64 = .max
    /// Up to which number to reserve before long.
    var wantedReservation: Int64?
    /// What `takeLock` has bound for people to see: the same for all claims of a client.
    private var boundMetadata: OwnerMetadata?

    init(statements: LockStatements, participant: ParticipantID, wallClock: @escaping @Sendable () -> Int64) {
        self.statements = statements
        self.participant = participant
        self.wallClock = wallClock
    }

    /// A transaction has begun.
    func begun(at now: BootTime) { self.now = now }

    func takeNotices() -> [Notice] {
        if self.notices.isEmpty { return [] }
        defer { self.notices = [] }
        return self.notices
    }

    /// Asks for a lock.
    ///
    /// - Parameter isRetry: Whether the claim may be in the queue already, and must then keep its place. Asked only where
    ///   that matters, and before the claim joins the queue.
    func request(
        _ claim: LockClaim,
        joinsQueue: Bool,
        isRetry: () -> Bool,
        queueLimit: Int
    ) throws -> RequestResult {
        let now = self.now
        if let grant = try self.takeIfFree(claim, now: now) { return .granted(grant) }
        let row = try self.readRow(claim.name, secret: claim.owner.secret)
        if let row, row.isHeld {
            if row.isMine { return .granted(try self.setAnew(claim, token: row.token, now: now)) }
            if row.isValid(at: now) {
                return try self.join(
                    claim, joinsQueue: joinsQueue, isRetry: isRetry, queueLimit: queueLimit, row: row, now: now)
            }
        }
        if try self.handOver(claim.name, lastToken: row?.token ?? 0, now: now) != nil {
            // Somebody waited for a holder that has gone, and comes first.
            return try self.request(claim, joinsQueue: joinsQueue, isRetry: isRetry, queueLimit: queueLimit)
        }
        let token = try self.nextToken(last: row?.token ?? 0)
        let write = row == nil ? self.statements.insertLock : self.statements.grantLock
        self.bindGrant(write, claim: claim, token: token, now: now)
        try write.run()
        return .granted(StoredGrant(token: token, grantedAt: now, leaseEnd: now + claim.lease))
    }

    /// Takes a lock that nobody holds or waits for, with the present time as its token: one statement. `nil`, and nothing
    /// was changed, where any of that is not so, and where the last token of the name, the floor or the reserved block
    /// asks for another number than the time (see ``TokenRule``): then all the rules have to be gone through.
    private func takeIfFree(_ claim: LockClaim, now: BootTime) throws -> StoredGrant? {
        let ticks = TokenRule.ticks(microsecondsSince1970: self.wallClock())
        guard ticks <= TokenRule.maximum, let token = FencingToken(rawValue: ticks) else { return nil }
        let take = self.statements.takeLock
        let leaseEnd = now + claim.lease
        take.bind(1, claim.name)
        take.bind(2, token.rawValue)
        take.bind(3, claim.owner.secret)
        take.bind(4, self.participant.rawValue)
        take.bind(5, Int64(bitPattern: claim.attempt.rawValue))
        take.bind(6, claim.lease.wholeNanoseconds)
        take.bind(7, now.nanoseconds)
        take.bind(8, leaseEnd.nanoseconds)
        if self.boundMetadata != claim.owner.metadata {
            take.bind(9, claim.owner.metadata.host)
            take.bind(10, Int64(claim.owner.metadata.pid))
            take.bind(11, claim.owner.metadata.label)
            self.boundMetadata = claim.owner.metadata
        }
        guard try take.runChangingRows() > 0 else { return nil }
        if token.rawValue > self.reserveFrom { self.wantedReservation = token.rawValue + TokenRule.blockInTicks }
        return StoredGrant(token: token, grantedAt: now, leaseEnd: leaseEnd)
    }

    /// Releases a lock and hands it over. False if the owner does not hold it, or its lease has passed.
    func release(_ claim: LockClaim) throws -> Bool {
        let now = self.now
        // Where nobody waits, one statement does.
        let leave = self.statements.leaveLock
        leave.bind(1, claim.name)
        leave.bind(2, claim.owner.secret)
        leave.bind(3, now.nanoseconds)
        if try leave.runChangingRows() > 0 { return true }
        guard let row = try self.readRow(claim.name, secret: claim.owner.secret), row.isMine else { return false }
        try self.handOverOrFree(claim.name, lastToken: row.token, now: now)
        return row.isValid(at: now)
    }

    func renew(_ claim: LockClaim) throws -> RenewResult {
        let now = self.now
        let renew = self.statements.renewLock
        renew.bind(1, claim.name)
        renew.bind(2, claim.owner.secret)
        renew.bind(3, now.nanoseconds)
        renew.bind(4, (now + claim.lease).nanoseconds)
        if try renew.step() {
            renew.reset()
            return .extended(at: now)
        }
        guard let row = try self.readRow(claim.name, secret: claim.owner.secret), row.isMine else {
            return .lost(.notOwner)
        }
        return .lost(row.isBroken ? .broken : .leaseExpired)
    }

    /// Breaks a lock by hand. Returns its holder; `nil` if nobody holds it.
    func breakLock(_ name: LockName, immediately: Bool) throws -> (participant: ParticipantID, metadata: OwnerMetadata)?
    {
        let now = self.now
        guard let row = try self.readRow(name, secret: nil), row.isHeld else { return nil }
        guard row.isValid(at: now) else {
            try self.handOverOrFree(name, lastToken: row.token, now: now)
            return nil
        }
        if immediately {
            try self.handOverOrFree(name, lastToken: row.token, now: now)
        } else {
            let revoke = self.statements.revokeLock
            revoke.bind(1, name)
            try revoke.run()
        }
        let address = ClaimAddress(participant: row.participant, attempt: row.attempt)
        self.notices.append(Notice(kind: .broken, name: name, address: address))
        return (row.participant, row.metadata ?? OwnerMetadata(host: "", pid: 0))
    }

    /// Whether a claim of this client holds a lock that was not broken.
    func holds(_ name: LockName, attempt: AttemptID) throws -> Bool {
        guard let row = try self.readRow(name, secret: nil), row.isHeld, !row.isBroken else { return false }
        return row.participant == self.participant && row.attempt == attempt
    }

    /// Sets the lease of a grant anew that its owner asked for again.
    private func setAnew(_ claim: LockClaim, token: Int64, now: BootTime) throws -> StoredGrant {
        guard let token = FencingToken(rawValue: token) else { throw NoTokensLeft() }
        let write = self.statements.grantLock
        self.bindGrant(write, claim: claim, token: token, now: now)
        try write.run()
        return StoredGrant(token: token, grantedAt: now, leaseEnd: now + claim.lease)
    }

    func nextToken(last: Int64) throws -> FencingToken {
        let meta = self.statements.selectTokenMeta
        guard try meta.step() else { throw NoTokensLeft() }
        let (floor, reserved) = (meta.int(0), meta.int(1))
        meta.reset()
        let now = TokenRule.ticks(microsecondsSince1970: self.wallClock())
        guard let next = TokenRule.next(last: last, floor: floor, now: now),
            let token = FencingToken(rawValue: next)
        else { throw NoTokensLeft() }
        guard next <= reserved else { throw NeedsReservation(upTo: next + TokenRule.blockInTicks) }
        if next > self.reserveFrom { self.wantedReservation = next + TokenRule.blockInTicks }
        return token
    }

    private func bindGrant(_ write: SQLiteStatement, claim: LockClaim, token: FencingToken, now: BootTime) {
        write.bind(1, claim.name)
        write.bind(2, token.rawValue)
        write.bind(3, claim.owner.secret)
        write.bind(4, self.participant.rawValue)
        write.bind(5, Int64(bitPattern: claim.attempt.rawValue))
        write.bind(6, claim.lease.wholeNanoseconds)
        write.bind(7, now.nanoseconds)
        write.bind(8, (now + claim.lease).nanoseconds)
        write.bind(9, claim.owner.metadata.host)
        write.bind(10, Int64(claim.owner.metadata.pid))
        write.bind(11, claim.owner.metadata.label)
    }

    func readRow(_ name: LockName, secret: LockOwner.Secret?) throws -> Row? {
        let row = self.statements.selectLock
        row.bind(1, name)
        guard try row.step() else { return nil }
        defer { row.reset() }
        let isHeld = !row.isNull(LockStatements.ownerColumn)
        let isMine = isHeld && (secret.map { row.isEqual(LockStatements.ownerColumn, $0) } ?? false)
        var metadata: OwnerMetadata?
        if isHeld && !isMine {
            metadata = OwnerMetadata(
                host: row.text(LockStatements.hostColumn) ?? "",
                pid: Int32(truncatingIfNeeded: row.int(LockStatements.pidColumn)),
                label: row.text(LockStatements.labelColumn)
            )
        }
        return Row(
            token: row.int(LockStatements.tokenColumn),
            participant: ParticipantID(rawValue: row.int(LockStatements.participantColumn)),
            attempt: AttemptID(rawValue: UInt64(bitPattern: row.int(LockStatements.attemptColumn))),
            grantedAt: BootTime(nanoseconds: row.int(LockStatements.grantedAtColumn)),
            leaseEnd: BootTime(nanoseconds: row.int(LockStatements.leaseEndColumn)),
            isBroken: row.int(LockStatements.revokedColumn) != 0,
            isHeld: isHeld,
            isMine: isMine,
            metadata: metadata
        )
    }

    func grant(of row: Row) throws -> StoredGrant {
        guard let token = FencingToken(rawValue: row.token) else { throw NoTokensLeft() }
        return StoredGrant(token: token, grantedAt: row.grantedAt, leaseEnd: row.leaseEnd)
    }
}
#endif
