#if Embedded
import DistributedLocks

/// Who waits for a lock, and who gets it next.
extension LockTable {
    /// Looks what has become of a waiting claim.
    func check(_ claim: LockClaim, place: Int64) throws -> CheckResult {
        let now = self.now
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

    /// Leaves the queue, or releases what was granted meanwhile. False if there was nothing of the claim.
    func withdraw(_ claim: LockClaim) throws -> Bool {
        if try self.release(claim) { return true }
        let find = self.statements.findWaiter
        find.bind(1, claim.name)
        find.bind(2, claim.owner.secret)
        guard try find.step() else { return false }
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
        return true
    }

    /// Removes a dead client from one lock: hands over what it held, and takes it out of the queue.
    func bury(_ dead: ParticipantID, name: LockName) throws {
        let now = self.now
        let remove = self.statements.removeWaitersOf
        remove.bind(1, name)
        remove.bind(2, dead.rawValue)
        try remove.run()
        if let row = try self.readRow(name, secret: nil), row.isHeld, row.participant == dead {
            try self.handOverOrFree(name, lastToken: row.token, now: now)
        }
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

    func handOverOrFree(_ name: LockName, lastToken: Int64, now: BootTime) throws {
        if try self.handOver(name, lastToken: lastToken, now: now) == nil {
            let free = self.statements.freeLock
            free.bind(1, name)
            try free.run()
        }
    }

    /// Gives the lock to the first waiter. Returns its token; `nil` if nobody waits, and then nothing was changed.
    func handOver(_ name: LockName, lastToken: Int64, now: BootTime) throws -> FencingToken? {
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

    func join(
        _ claim: LockClaim,
        joinsQueue: Bool,
        isRetry: () -> Bool,
        queueLimit: Int,
        row: Row,
        now: BootTime
    ) throws -> RequestResult {
        if isRetry() {
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

    private func address(of row: SQLiteStatement, participantColumn: Int32, attemptColumn: Int32) -> ClaimAddress {
        ClaimAddress(
            participant: ParticipantID(rawValue: row.int(participantColumn)),
            attempt: AttemptID(rawValue: UInt64(bitPattern: row.int(attemptColumn)))
        )
    }
}
#endif
