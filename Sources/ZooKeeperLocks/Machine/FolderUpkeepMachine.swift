import LockKernel

/// Folders of locks: which are to be made with a contender, which have used their counter up, and which this client deletes, while
/// it runs and when it ends.
///
/// States: *running*, with a sweep once a second as long as any folder is known; *ending*, until it is known what became of the
/// folders that are left, or for half a second; *ended*. What is to be deleted leaves in transactions of many. If somebody is in
/// one of them nothing was deleted, and each is asked for by itself: one that somebody is in is left to them. Pure.
struct FolderUpkeepMachine {
    typealias Instant = BootInstant

    /// So many are deleted by one transaction.
    private static let maximumDeletes = 128
    /// Folders that are left when the client ends are waited for so long.
    private static var patienceAtEnd: Duration { .milliseconds(500) }
    /// At most so many locks are known to have used their counter up.
    private static var maximumUsedUpLocks: Int { 1_024 }

    private enum State: Equatable {
        case running
        case ending(transactionsOut: Int)
        case ended
    }

    private var state = State.running
    private var folders = FoldersStateMachine()
    /// Locks whose counter was found used up: newcomers look before they make a node.
    private var usedUpLocks: Set<String> = []
    /// One that is known when there is room for it.
    private var unnoted: (lock: String, isThere: Bool)?

    /// The end of the session has been asked for.
    var hasEnded: Bool { self.state == .ended }

    // MARK: What is known

    /// A contender is to be made. Returns whether its folder was there a moment ago.
    mutating func used(_ lock: String) -> Bool { self.folders.used(lock) }

    mutating func missed(_ lock: String) { self.folders.missed(lock) }

    mutating func sawOthers(in lock: String) { self.folders.sawOthers(in: lock) }

    /// Whether a node that is made now is likely to be of no use: to look is a read, and a node would be two transactions.
    func isWorthALook(_ lock: String, joinsQueue: Bool) -> Bool {
        self.usedUpLocks.contains(lock) || (!joinsQueue && !self.folders.isOwn(lock))
    }

    mutating func foundUsedUp(_ lock: String) {
        if self.usedUpLocks.count >= Self.maximumUsedUpLocks { self.usedUpLocks = [] }
        self.usedUpLocks.insert(lock)
    }

    mutating func foundNotUsedUp(_ lock: String) { self.usedUpLocks.remove(lock) }

    // MARK: Sweeping

    /// The folder is there, or has been asked for.
    mutating func noted(_ lock: String, isThere: Bool, now: Instant, _ outbox: inout Outbox) {
        guard self.state == .running else { return }
        if self.folders.isFull(for: lock) { return self.unnoted = (lock, isThere) }
        let wasEmpty = self.folders.isEmpty
        _ = self.folders.noted(lock, isThere: isThere) { [] }
        if wasEmpty { self.armSweep(now: now, &outbox) }
    }

    /// There are too many folders to know one more.
    var needsRoom: Bool { self.unnoted != nil }

    /// - Parameter inUse: the folders in which this client has a contender.
    mutating func makeRoom(inUse: () -> Set<String>, _ outbox: inout Outbox) {
        guard let (lock, isThere) = self.unnoted else { return }
        self.unnoted = nil
        self.delete(self.folders.noted(lock, isThere: isThere, inUse: inUse), isEnd: false, &outbox)
    }

    private func armSweep(now: Instant, _ outbox: inout Outbox) {
        if !self.folders.isEmpty { outbox.add(.wake(.sweep, at: now + FoldersStateMachine.interval)) }
    }

    mutating func alarmFired(isOpen: Bool, inUse: () -> Set<String>, now: Instant, _ outbox: inout Outbox) {
        switch self.state {
        case .running:
            // Without a connection nothing can be deleted, and what is idle stays so.
            if isOpen { self.delete(self.folders.sweepDue(inUse: inUse()), isEnd: false, &outbox) }
            self.armSweep(now: now, &outbox)
        case .ending:
            self.end(&outbox)
        case .ended:
            break
        }
    }

    private mutating func delete(_ locks: [String], isEnd: Bool, _ outbox: inout Outbox) {
        for start in stride(from: 0, to: locks.count, by: Self.maximumDeletes) {
            let group = Array(locks[start..<min(start + Self.maximumDeletes, locks.count)])
            if group.count > 1 {
                outbox.ask(.multi(group.map { .delete(path: $0) }), .folders(group, isEnd: isEnd))
            } else {
                self.deleteEach(group, isEnd: isEnd, &outbox)
            }
        }
    }

    private func deleteEach(_ locks: [String], isEnd: Bool, _ outbox: inout Outbox) {
        for (index, lock) in locks.enumerated() {
            outbox.ask(.delete(path: lock), .folder(lock, isLast: index == locks.count - 1, isEnd: isEnd))
        }
    }

    /// Folders were to be deleted together.
    mutating func answered(
        _ locks: [String], isEnd: Bool, _ result: Result<ZooKeeperReply, ZooKeeperError>, _ outbox: inout Outbox
    ) {
        switch result {
        case .success(let reply):
            if case .multi(let parts) = reply.answer, ZooKeeperAnswer.refusal(of: parts) == nil {
                return self.transactionEnded(isEnd: isEnd, &outbox)
            }
            self.deleteEach(locks, isEnd: isEnd, &outbox)
        case .failure(let error) where error.serverCode != nil:
            self.deleteEach(locks, isEnd: isEnd, &outbox)
        case .failure:
            for lock in locks { self.folders.notDeleted(lock) }
            self.transactionEnded(isEnd: isEnd, &outbox)
        }
    }

    /// One folder was to be deleted by itself.
    mutating func answered(
        _ lock: String, isLast: Bool, isEnd: Bool, _ result: Result<ZooKeeperReply, ZooKeeperError>,
        _ outbox: inout Outbox
    ) {
        if case .failure(let error) = result, error.serverCode == nil { self.folders.notDeleted(lock) }
        if isLast { self.transactionEnded(isEnd: isEnd, &outbox) }
    }

    // MARK: The end

    /// The session is to end when what this client need not leave behind is gone.
    ///
    /// - Parameter inUse: the folders in which somebody of this client stays.
    mutating func ended(isOpen: Bool, inUse: Set<String>, now: Instant, _ outbox: inout Outbox) {
        outbox.add(.silence(.sweep))
        let locks = self.folders.ended(inUse: inUse)
        guard isOpen, !locks.isEmpty else { return self.end(&outbox) }
        if locks.count == 1 {
            // The end of the session follows on its heels.
            self.delete(locks, isEnd: false, &outbox)
            return self.end(&outbox)
        }
        let transactions = (locks.count + Self.maximumDeletes - 1) / Self.maximumDeletes
        self.state = .ending(transactionsOut: transactions)
        outbox.add(.wake(.sweep, at: now + Self.patienceAtEnd))
        self.delete(locks, isEnd: true, &outbox)
    }

    private mutating func transactionEnded(isEnd: Bool, _ outbox: inout Outbox) {
        guard isEnd, case .ending(let count) = self.state else { return }
        self.state = .ending(transactionsOut: count - 1)
        if count == 1 { self.end(&outbox) }
    }

    private mutating func end(_ outbox: inout Outbox) {
        self.state = .ended
        outbox.add(.endSession)
    }
}
