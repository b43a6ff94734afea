#if Embedded
import DistributedLocks

/// Names a client with this file open: its rows, and its sockets.
struct ParticipantID: Hashable, Comparable, Sendable {
    let rawValue: Int64

    static func random() -> ParticipantID { ParticipantID(rawValue: .random(in: 1...Int64.max)) }

    static func < (left: ParticipantID, right: ParticipantID) -> Bool { left.rawValue < right.rawValue }

    /// Sixteen hexadecimal digits.
    var hexadecimal: String {
        let digits = String(UInt64(bitPattern: self.rawValue), radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

/// Names a claim among those of all clients.
struct ClaimAddress: Hashable, Sendable {
    let participant: ParticipantID
    let attempt: AttemptID
}

/// What has to be told to somebody once the transaction is committed.
struct Notice: Sendable, Hashable {
    enum Kind: UInt8, Sendable {
        /// Look at the file: you may have been granted the lock, or have another predecessor.
        case look = 1
        /// The lock was broken.
        case revoked = 2
    }

    let kind: Kind
    let name: LockName
    let address: ClaimAddress
}

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
/// immediate transaction; ``notices`` are to be delivered after its commit.
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
        case extended
        case lost(LockError.LossReason)
    }

    /// Why a transaction has to be rolled back and begun anew.
    struct NeedsReservation: Error {
        let upTo: Int64
    }

    struct NoTokensLeft: Error {}

    /// A lock's row.
    private struct Row {
        let token: Int64
        let participant: ParticipantID
        let attempt: AttemptID
        let grantedAt: BootTime
        let leaseEnd: BootTime
        let isRevoked: Bool
        let isHeld: Bool
        let isMine: Bool
        /// Read only where somebody else holds the lock.
        let metadata: OwnerMetadata?

        func isValid(at now: BootTime) -> Bool { self.isHeld && self.leaseEnd > now }
    }

    let participant: ParticipantID
    private let statements: LockStatements
    private let wallClock: @Sendable () -> Int64
    /// What has to be told to whom after the commit.
    private(set) var notices: [Notice] = []

    init(statements: LockStatements, participant: ParticipantID, wallClock: @escaping @Sendable () -> Int64) {
        self.statements = statements
        self.participant = participant
        self.wallClock = wallClock
    }

    func takeNotices() -> [Notice] {
        defer { self.notices.removeAll(keepingCapacity: true) }
        return self.notices
    }

    /// Asks for a lock.
    ///
    /// - Parameter isRetry: The claim may be in the queue already, and must then keep its place.
    func request(
        _ claim: LockClaim,
        joinsQueue: Bool,
        isRetry: Bool,
        queueLimit: Int
    ) throws -> RequestResult {
        let now = BootTime.now()
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

    /// Looks what has become of a waiting claim.
    func check(_ claim: LockClaim, place: Int64) throws -> CheckResult {
        let now = BootTime.now()
        guard var row = try self.readRow(claim.name, secret: claim.owner.secret) else { return .gone }
        if !row.isValid(at: now) {
            guard try self.handOver(claim.name, lastToken: row.token, now: now) != nil,
                let successor = try self.readRow(claim.name, secret: claim.owner.secret)
            else { return .gone }
            row = successor
        }
        if row.isMine { return .granted(try self.grant(of: row)) }
        guard try self.isWaiting(claim, place: place) else { return .gone }
        return .waiting(try self.place(place, name: claim.name, row: row))
    }

    /// Leaves the queue, or releases what was granted meanwhile.
    func withdraw(_ claim: LockClaim) throws {
        if try self.release(claim) { return }
        let find = self.statements.findWaiter
        find.bind(1, claim.name)
        find.bind(2, claim.owner.secret)
        guard try find.step() else { return }
        let place = find.int(0)
        find.reset()
        try self.removeWaiter(claim.name, place: place)
        let next = self.statements.waiterAfter
        next.bind(1, claim.name)
        next.bind(2, place)
        if try next.step() {
            // It watches a predecessor that is no more.
            self.notices.append(
                Notice(
                    kind: .look,
                    name: claim.name,
                    address: self.address(of: next, participantColumn: 0, attemptColumn: 1)
                )
            )
            next.reset()
        }
    }

    /// Releases a lock and hands it over. False if the owner does not hold it, or its lease has passed.
    func release(_ claim: LockClaim) throws -> Bool {
        let now = BootTime.now()
        guard let row = try self.readRow(claim.name, secret: claim.owner.secret), row.isMine else { return false }
        try self.handOverOrFree(claim.name, lastToken: row.token, now: now)
        return row.isValid(at: now)
    }

    func renew(_ claim: LockClaim) throws -> RenewResult {
        let now = BootTime.now()
        let renew = self.statements.renewLock
        renew.bind(1, claim.name)
        renew.bind(2, claim.owner.secret)
        renew.bind(3, now.nanoseconds)
        renew.bind(4, (now + claim.lease).nanoseconds)
        if try renew.step() {
            renew.reset()
            return .extended
        }
        guard let row = try self.readRow(claim.name, secret: claim.owner.secret), row.isMine else {
            return .lost(.notOwner)
        }
        return .lost(row.isRevoked ? .revoked : .leaseExpired)
    }

    /// Removes a dead client from one lock: hands over what it held, and takes it out of the queue.
    func bury(_ dead: ParticipantID, name: LockName) throws {
        let now = BootTime.now()
        let remove = self.statements.removeWaitersOf
        remove.bind(1, name)
        remove.bind(2, dead.rawValue)
        try remove.run()
        if let row = try self.readRow(name, secret: nil), row.isHeld, row.participant == dead {
            try self.handOverOrFree(name, lastToken: row.token, now: now)
        }
    }

    /// Breaks a lock by hand. Returns its holder; `nil` if nobody holds it.
    func revoke(_ name: LockName, immediately: Bool) throws -> (participant: ParticipantID, metadata: OwnerMetadata)? {
        let now = BootTime.now()
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
        self.notices.append(Notice(kind: .revoked, name: name, address: address))
        return (row.participant, row.metadata ?? OwnerMetadata(host: "", pid: 0))
    }

    /// Removes a dead client from all locks. It looks at every row, so it is for rare occasions.
    func buryEverywhere(_ dead: ParticipantID) throws {
        let find = self.statements.namesOf
        find.bind(1, dead.rawValue)
        var names: [LockName] = []
        while try find.step() {
            if let text = find.text(0), let name = try? LockName(text) { names.append(name) }
        }
        for name in names { try self.bury(dead, name: name) }
    }

    private func handOverOrFree(_ name: LockName, lastToken: Int64, now: BootTime) throws {
        if try self.handOver(name, lastToken: lastToken, now: now) == nil {
            let free = self.statements.freeLock
            free.bind(1, name)
            try free.run()
        }
    }

    /// Gives the lock to the first waiter. Returns its token; `nil` if nobody waits, and then nothing was changed.
    private func handOver(_ name: LockName, lastToken: Int64, now: BootTime) throws -> FencingToken? {
        let first = self.statements.firstWaiter
        first.bind(1, name)
        guard try first.step() else { return nil }
        let place = first.int(0)
        let address = self.address(of: first, participantColumn: 1, attemptColumn: 2)
        first.reset()
        let token = try self.nextToken(last: lastToken)
        let promote = self.statements.promoteWaiter
        promote.bind(1, name)
        promote.bind(2, place)
        promote.bind(3, token.rawValue)
        promote.bind(4, now.nanoseconds)
        try promote.run()
        try self.removeWaiter(name, place: place)
        self.notices.append(Notice(kind: .look, name: name, address: address))
        return token
    }

    private func join(
        _ claim: LockClaim,
        joinsQueue: Bool,
        isRetry: Bool,
        queueLimit: Int,
        row: Row,
        now: BootTime
    ) throws -> RequestResult {
        if isRetry {
            let find = self.statements.findWaiter
            find.bind(1, claim.name)
            find.bind(2, claim.owner.secret)
            if try find.step() {
                let place = find.int(0)
                find.reset()
                return .queued(try self.place(place, name: claim.name, row: row))
            }
        }
        guard joinsQueue else { return .busy(holder: row.participant, row.metadata ?? OwnerMetadata(host: "", pid: 0)) }
        let ends = self.statements.queueEnds
        ends.bind(1, claim.name)
        _ = try ends.step()
        let (first, last) = ends.isNull(0) ? (0, 0) : (ends.int(0), ends.int(1))
        ends.reset()
        // Places have gaps where waiters left, so the exact count is looked up only when it may matter.
        if last - first + 1 >= queueLimit, try self.waiterCount(claim.name) >= queueLimit {
            return .full(limit: queueLimit)
        }
        let place = last + 1
        let insert = self.statements.insertWaiter
        insert.bind(1, claim.name)
        insert.bind(2, place)
        insert.bind(3, claim.owner.secret)
        insert.bind(4, self.participant.rawValue)
        insert.bind(5, Int64(bitPattern: claim.attempt.rawValue))
        insert.bind(6, claim.lease.wholeNanoseconds)
        insert.bind(7, now.nanoseconds)
        insert.bind(8, claim.owner.metadata.host)
        insert.bind(9, Int64(claim.owner.metadata.pid))
        insert.bind(10, claim.owner.metadata.label)
        try insert.run()
        return .queued(try self.place(place, name: claim.name, row: row))
    }

    /// Sets the lease of a grant anew that its owner asked for again.
    private func setAnew(_ claim: LockClaim, token: Int64, now: BootTime) throws -> StoredGrant {
        guard let token = FencingToken(rawValue: token) else { throw NoTokensLeft() }
        let write = self.statements.grantLock
        self.bindGrant(write, claim: claim, token: token, now: now)
        try write.run()
        return StoredGrant(token: token, grantedAt: now, leaseEnd: now + claim.lease)
    }

    private func nextToken(last: Int64) throws -> FencingToken {
        let meta = self.statements.selectTokenMeta
        guard try meta.step() else { throw NoTokensLeft() }
        let (floor, reserved) = (meta.int(0), meta.int(1))
        meta.reset()
        let now = TokenRule.ticks(microsecondsSince1970: self.wallClock())
        guard let next = TokenRule.next(last: last, floor: floor, now: now),
            let token = FencingToken(rawValue: next)
        else { throw NoTokensLeft() }
        guard next <= reserved else { throw NeedsReservation(upTo: next + TokenRule.blockInTicks) }
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

    private func isWaiting(_ claim: LockClaim, place: Int64) throws -> Bool {
        let row = self.statements.waiterAt
        row.bind(1, claim.name)
        row.bind(2, place)
        guard try row.step() else { return false }
        defer { row.reset() }
        return row.isEqual(0, claim.owner.secret)
    }

    private func place(_ place: Int64, name: LockName, row: Row) throws -> StoredPlace {
        let before = self.statements.waiterBefore
        before.bind(1, name)
        before.bind(2, place)
        var predecessor: ParticipantID?
        if try before.step() {
            predecessor = ParticipantID(rawValue: before.int(0))
            before.reset()
        }
        return StoredPlace(
            place: place,
            predecessor: predecessor,
            holder: row.participant,
            holderMetadata: row.metadata ?? OwnerMetadata(host: "", pid: 0),
            holderLeaseEnd: row.leaseEnd
        )
    }

    private func waiterCount(_ name: LockName) throws -> Int {
        let count = self.statements.countWaiters
        count.bind(1, name)
        _ = try count.step()
        defer { count.reset() }
        return Int(count.int(0))
    }

    private func removeWaiter(_ name: LockName, place: Int64) throws {
        let remove = self.statements.removeWaiter
        remove.bind(1, name)
        remove.bind(2, place)
        try remove.run()
    }

    private func readRow(_ name: LockName, secret: LockOwner.Secret?) throws -> Row? {
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
            isRevoked: row.int(LockStatements.revokedColumn) != 0,
            isHeld: isHeld,
            isMine: isMine,
            metadata: metadata
        )
    }

    private func grant(of row: Row) throws -> StoredGrant {
        guard let token = FencingToken(rawValue: row.token) else { throw NoTokensLeft() }
        return StoredGrant(token: token, grantedAt: row.grantedAt, leaseEnd: row.leaseEnd)
    }

    private func address(of row: SQLiteStatement, participantColumn: Int32, attemptColumn: Int32) -> ClaimAddress {
        ClaimAddress(
            participant: ParticipantID(rawValue: row.int(participantColumn)),
            attempt: AttemptID(rawValue: UInt64(bitPattern: row.int(attemptColumn)))
        )
    }
}
#endif
