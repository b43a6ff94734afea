/// Creates and deletes that leave together.
///
/// Every write is a transaction of its own, which the ensemble writes to disk and agrees on; a release and the acquire that
/// follows it would be two in a row. So the creates and deletes of one turn of the event loop leave as one `multi`: one
/// transaction, all or nothing.
///
/// The nodes of one `multi` have the same `czxid`, so there is never more than one node of a lock in it: tokens of one name
/// differ. Pure: `Write` is what is sent.
struct WriteBatch<Write> {
    /// When what has gathered is to be sent.
    enum Schedule: Equatable {
        case atEndOfTurn
        /// It may wait a little for an acquire to leave with.
        case soon
    }

    /// At most so many parts are in one `multi`: with the longest names that is far below a server's limit for a request.
    static var maximumParts: Int { 128 }

    private var writes: [(write: Write, creates: String?, isKnown: Bool)] = []
    private var isDueAtEndOfTurn = false

    init() {}

    /// - Parameters:
    ///   - lock: the lock whose contender is created; `nil` for a delete.
    ///   - isKnown: whether the lock's folder was there a moment ago. Otherwise the others of its group would have to wait until it
    ///     has been made.
    ///   - canWait: nobody waits for it.
    /// - Returns: when to call ``taken()``; `nil` if that is settled already.
    mutating func added(_ write: Write, creates lock: String?, isKnown: Bool, canWait: Bool) -> Schedule? {
        self.writes.append((write, lock, isKnown))
        if canWait { return self.writes.count == 1 ? .soon : nil }
        guard !self.isDueAtEndOfTurn else { return nil }
        self.isDueAtEndOfTurn = true
        return .atEndOfTurn
    }

    var isEmpty: Bool { self.writes.isEmpty }

    /// What has gathered, in groups that are sent one after another, each as one `multi`; a group of one by itself.
    mutating func taken() -> [[Write]] {
        self.isDueAtEndOfTurn = false
        if self.writes.isEmpty { return [] }
        let writes = self.writes
        self.writes = []
        var groups: [[Write]] = []
        var group: [Write] = []
        var locks: Set<String> = []
        func close() {
            if !group.isEmpty { groups.append(group) }
            (group, locks) = ([], [])
        }
        for (write, creates, isKnown) in writes {
            if let lock = creates {
                guard isKnown else {
                    close()
                    groups.append([write])
                    continue
                }
                if locks.contains(lock) { close() }
                locks.insert(lock)
            }
            group.append(write)
            if group.count == Self.maximumParts { close() }
        }
        close()
        return groups
    }
}
