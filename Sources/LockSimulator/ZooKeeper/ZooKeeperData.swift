import ZooKeeperLocks

/// Something that all servers do, in the same order.
struct ZooKeeperTransaction {
    indirect enum Change {
        /// - isPlain: is answered without the node's stat where it is a part of others.
        case create(
            path: String, data: [UInt8], permission: ZooKeeperTree.Permission, owner: Int64, count: Int32,
            isPlain: Bool)
        case delete(path: String)
        case setData(path: String, data: [UInt8], version: Int32)
        case check
        case multi([Change])
        /// Of a `multi`: the parts, of which none is carried out.
        case refusedMulti([ZooKeeperCode])
        case createSession(timeout: Int32)
        case closeSession
        /// It has its number, and does nothing.
        case refused(ZooKeeperCode)
    }

    let zxid: Int64
    let session: Int64
    /// Milliseconds since 1970, by the leader's clock.
    let time: Int64
    let change: Change
    /// What of which server it answers.
    let origin: Origin?

    struct Origin: Hashable {
        let server: Int
        let request: UInt64
    }
}

/// What becomes of a request.
enum ZooKeeperOutcome: Hashable {
    case answer(ZooKeeperAnswer)
    case refused(ZooKeeperCode)
}

/// What happened to a node, for those who watch it.
struct ZooKeeperTreeEvent {
    enum Kind {
        case created, deleted, changed
    }

    let kind: Kind
    let path: String
    /// Who may hear of it.
    let permission: ZooKeeperTree.Permission
    /// Who may hear that the children of its parent are others.
    let parentPermission: ZooKeeperTree.Permission
}

/// What a server keeps, on its disk and in its memory. Changed by transactions alone.
struct ZooKeeperData {
    var tree = ZooKeeperTree()
    /// Their timeouts, in milliseconds.
    private(set) var sessions: [Int64: Int32] = [:]
    var lastZxid: Int64 = 0

    mutating func apply(
        _ transaction: ZooKeeperTransaction
    ) -> (outcome: ZooKeeperOutcome, events: [ZooKeeperTreeEvent]) {
        precondition(transaction.zxid > self.lastZxid, "a transaction comes a second time")
        self.lastZxid = transaction.zxid
        var events: [ZooKeeperTreeEvent] = []
        let outcome = self.apply(transaction.change, of: transaction, &events)
        return (outcome, events)
    }

    private mutating func apply(
        _ change: ZooKeeperTransaction.Change, of transaction: ZooKeeperTransaction,
        _ events: inout [ZooKeeperTreeEvent]
    ) -> ZooKeeperOutcome {
        switch change {
        case .create(let path, let data, let permission, let owner, let count, _):
            let stat = self.tree.create(
                path, data: data, permission: permission, owner: owner, count: count, zxid: transaction.zxid,
                time: transaction.time)
            events.append(self.event(.created, path, permission))
            return .answer(.created(path: path, stat: stat))
        case .delete(let path):
            events.append(self.deletion(of: path, transaction))
            return .answer(.done)
        case .setData(let path, let data, let version):
            let stat = self.tree.setData(
                path, data, version: version, zxid: transaction.zxid, time: transaction.time)
            events.append(self.event(.changed, path, self.tree[path]?.permission))
            return .answer(.stat(stat))
        case .check:
            return .answer(.done)
        case .multi(let parts):
            return .answer(.multi(parts.map { self.part($0, of: transaction, &events) }))
        case .refusedMulti(let codes):
            return .answer(.multi(codes.map { .failed($0) }))
        case .createSession(let timeout):
            self.sessions[transaction.session] = timeout
            return .answer(.done)
        case .closeSession:
            self.sessions[transaction.session] = nil
            for path in self.tree.ephemerals(of: transaction.session) {
                events.append(self.deletion(of: path, transaction))
            }
            return .answer(.done)
        case .refused(let code):
            return .refused(code)
        }
    }

    private mutating func deletion(of path: String, _ transaction: ZooKeeperTransaction) -> ZooKeeperTreeEvent {
        let event = self.event(.deleted, path, self.tree[path]?.permission)
        self.tree.delete(path, zxid: transaction.zxid)
        return event
    }

    private func event(
        _ kind: ZooKeeperTreeEvent.Kind, _ path: String, _ permission: ZooKeeperTree.Permission?
    ) -> ZooKeeperTreeEvent {
        let parent = ZooKeeperTree.split(path).flatMap { self.tree[$0.parent] }
        return ZooKeeperTreeEvent(
            kind: kind, path: path, permission: permission ?? .everybody,
            parentPermission: parent?.permission ?? .everybody)
    }

    private mutating func part(
        _ change: ZooKeeperTransaction.Change, of transaction: ZooKeeperTransaction,
        _ events: inout [ZooKeeperTreeEvent]
    ) -> ZooKeeperAnswer.MultiResult {
        var isPlain = false
        if case .create(_, _, _, _, _, let value) = change { isPlain = value }
        switch self.apply(change, of: transaction, &events) {
        case .answer(.created(let path, let stat)): return .created(path: path, stat: isPlain ? nil : stat)
        case .answer(.stat(let stat)): return .stat(stat)
        case .answer(.done): return .done
        case let outcome: preconditionFailure("a part of a multi has become \(outcome)")
        }
    }
}
