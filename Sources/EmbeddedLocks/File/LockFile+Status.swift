#if Embedded
import DistributedLocks
import GRDB

/// What the file says of one lock.
struct StoredStatus: Sendable {
    var status: LockStatus
    /// The client that holds it, to be tested for life.
    var holder: ParticipantID?
}

extension LockFile {
    /// Reads who holds and who waits: of one name, or of all that are held or waited for.
    func status(of name: LockName?) throws(LockError) -> [StoredStatus] {
        let now = self.environment.bootTime
        return try self.read { db in
            let locks = try Row.fetchAll(
                db,
                sql: "SELECT * FROM locks WHERE \(name == nil ? "owner IS NOT NULL" : "name = ?") ORDER BY name",
                arguments: name.map { [$0.rawValue] } ?? []
            )
            let waiters = try Row.fetchAll(
                db,
                sql: "SELECT * FROM waiters \(name == nil ? "" : "WHERE name = ?") ORDER BY name, place",
                arguments: name.map { [$0.rawValue] } ?? []
            )
            let queues = Dictionary(grouping: waiters) { $0["name"] as String }
            return try locks.map { row in
                let rawName: String = row["name"]
                let leaseEnd = BootTime(nanoseconds: row["lease_end"] ?? 0)
                let isHeld = row["owner"] != nil && leaseEnd > now
                let token = FencingToken(rawValue: row["token"])
                let holder = LockStatus.Holder(
                    metadata: Self.metadata(row),
                    token: token,
                    remainingLease: leaseEnd - now,
                    heldFor: now - BootTime(nanoseconds: row["granted_at"] ?? 0),
                    isBroken: row["revoked"]
                )
                return StoredStatus(
                    status: LockStatus(
                        name: try LockName(rawName),
                        holders: isHeld ? [holder] : [],
                        waiters: (queues[rawName] ?? []).map { waiter in
                            LockStatus.Waiter(
                                metadata: Self.metadata(waiter),
                                waitingFor: now - BootTime(nanoseconds: waiter["queued_at"])
                            )
                        },
                        lastToken: token,
                        tokenDomain: .clock
                    ),
                    holder: isHeld ? ParticipantID(rawValue: row["participant"]) : nil
                )
            }
        }
    }

    static func metadata(_ row: Row) -> OwnerMetadata {
        OwnerMetadata(host: row["host"] ?? "", pid: row["pid"] ?? 0, label: row["label"])
    }
}
#endif
