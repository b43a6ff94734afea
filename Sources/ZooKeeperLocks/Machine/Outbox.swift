import DequeModule
import LockKernel

/// What the machine wants done, in its order. Nothing that is asked overtakes writes that were asked for before.
///
/// Creates and deletes gather in a ``WriteBatch`` until the turn of the event loop ends, or something else is asked. A group of
/// them leaves as one `multi`, followed by a list of the contenders for each create. If one part of a `multi` cannot be done (a
/// node was deleted by an operator), nothing was: each is sent by itself, and the lists that followed the `multi` say nothing.
/// Pure.
struct Outbox {
    typealias Effect = ZooKeeperMachine.Effect
    typealias Question = ZooKeeperMachine.Question

    /// A release that nobody waits for may wait so long for an acquire to leave with.
    private static var patience: Duration { .microseconds(150) }

    private var effects: Deque<Effect> = []
    private var writes = WriteBatch<Write>()
    /// The timer of the writes runs.
    private var isWaiting = false
    private var lastBatch = WriteBatchID()
    /// Transactions that were not carried out, and how many lists are out that followed them.
    private var failedBatches: [WriteBatchID: Int] = [:]

    /// What is to be done now.
    mutating func next() -> Effect? { self.effects.popFirst() }

    mutating func add(_ effect: consuming Effect) { self.effects.append(effect) }

    mutating func ask(_ request: consuming ZooKeeperRequest, _ question: consuming Question) {
        self.flush()
        self.effects.append(.ask(request, question))
    }

    /// Asks for what ``ParentsMachine`` wants next. False: all of it is there.
    mutating func make(
        _ parents: ParentsMachine, access: NodeAccess, for purpose: ZooKeeperMachine.ParentsPurpose
    ) -> Bool {
        guard let (path, mode) = parents.next else { return false }
        self.ask(.create(path: path, data: [], access: access, mode: mode), .parents(parents, purpose))
        return true
    }

    // MARK: Writes

    /// - Parameters:
    ///   - isKnown: of a create: whether the lock's folder was there a moment ago.
    ///   - canWait: nobody waits for it.
    mutating func write(_ write: Write, isKnown: Bool, canWait: Bool) {
        let lock = write.isCreate ? write.lock : nil
        switch self.writes.added(write, creates: lock, isKnown: isKnown, canWait: canWait) {
        case .soon:
            self.isWaiting = true
            self.effects.append(.start(.writes, .exactly(Self.patience)))
        case .atEndOfTurn:
            self.effects.append(.awaitEnd(of: .writes))
        case nil:
            break
        }
    }

    /// The timer of the writes has fired.
    mutating func waited() {
        self.isWaiting = false
        self.flush()
    }

    /// Sends what has gathered.
    mutating func flush() {
        if self.writes.isEmpty { return }
        for group in self.takeWrites() {
            if group.count > 1 { self.send(group) } else { self.sendEach(group) }
        }
    }

    /// The connection has ended: what has gathered will not be sent.
    mutating func takeWrites() -> [[Write]] {
        if self.isWaiting { self.effects.append(.cancel(.writes)) }
        self.isWaiting = false
        return self.writes.taken()
    }

    private mutating func send(_ group: [Write]) {
        let batch = self.nextBatch()
        self.effects.append(.ask(.multi(group.map(\.request)), .writes(group, batch)))
        for write in group where write.isCreate { self.list(write, with: batch) }
    }

    private mutating func sendEach(_ group: [Write]) {
        for write in group {
            self.effects.append(.ask(write.request, .write(write)))
            if write.isCreate { self.list(write, with: WriteBatchID()) }
        }
    }

    private mutating func list(_ write: Write, with batch: WriteBatchID) {
        self.effects.append(
            .ask(.getChildren(path: write.lock), .claim(write.claim, lock: write.lock, .list(with: batch))))
    }

    /// Makes a lock's folder and a contender by one transaction, and lists the contenders.
    mutating func createWithFolder(_ write: Write, access: NodeAccess) {
        let batch = self.nextBatch()
        let folder = ZooKeeperRequest.create(path: write.lock, data: [], access: access, mode: .container)
        self.ask(
            .multi([folder, write.request]), .claim(write.claim, lock: write.lock, .createWithFolder(batch)))
        self.list(write, with: batch)
    }

    private mutating func nextBatch() -> WriteBatchID {
        self.lastBatch.rawValue = self.lastBatch.rawValue == .max ? 1 : self.lastBatch.rawValue + 1
        return self.lastBatch
    }

    // MARK: What failed

    /// A part could not be done, so nothing was.
    mutating func sendAgain(_ group: [Write], after batch: WriteBatchID) {
        self.failed(batch, lists: group.count(where: \.isCreate))
        self.sendEach(group)
    }

    /// - Parameter lists: how many followed it.
    mutating func failed(_ batch: WriteBatchID, lists: Int) {
        if lists > 0 { self.failedBatches[batch] = lists }
    }

    /// A list has been answered. True: its transaction has failed, and it says nothing.
    mutating func isWorthless(with batch: WriteBatchID) -> Bool {
        guard !self.failedBatches.isEmpty, let left = self.failedBatches[batch] else { return false }
        self.failedBatches[batch] = left > 1 ? left - 1 : nil
        return true
    }
}
