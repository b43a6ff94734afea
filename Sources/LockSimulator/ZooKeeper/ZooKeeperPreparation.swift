import ZooKeeperLocks

/// What a leader makes of a request: a transaction that will do, or says why it will not (`PrepRequestProcessor`).
///
/// It is judged by the data as it will be when all that was proposed before is done. Simplified: of several creates in one folder that are
/// proposed before the first is done, real servers count on past 2^31 - 1; here the counter stays there at once.
struct ZooKeeperPreparation {
    private(set) var ahead: ZooKeeperData
    private(set) var lastZxid: Int64

    init(_ data: ZooKeeperData) {
        self.ahead = data
        self.lastZxid = data.lastZxid
    }

    /// - Parameters:
    ///   - objection: why nothing of this session is done.
    ///   - time: milliseconds since 1970.
    mutating func prepare(
        _ submission: ZooKeeperSubmission, objection: ZooKeeperCode?, origin: ZooKeeperTransaction.Origin?, time: Int64
    ) -> ZooKeeperTransaction {
        self.lastZxid += 1
        let change: ZooKeeperTransaction.Change =
            switch submission.request {
            case .createSession(let timeout): .createSession(timeout: timeout)
            case .deleteContainer(let path): self.deletion(ofContainer: path)
            case .of(.closeSession): .closeSession
            case .of(let request): self.change(request, submission, objection: objection, time: time)
            }
        let transaction = ZooKeeperTransaction(
            zxid: self.lastZxid, session: submission.session, time: time, change: change, origin: origin)
        _ = self.ahead.apply(transaction)
        return transaction
    }

    private func deletion(ofContainer path: String) -> ZooKeeperTransaction.Change {
        guard let node = self.ahead.tree[path] else { return .refused(.noNode) }
        return node.children.isEmpty ? .delete(path: path) : .refused(.notEmpty)
    }

    private func change(
        _ request: ZooKeeperRequest, _ submission: ZooKeeperSubmission, objection: ZooKeeperCode?, time: Int64
    ) -> ZooKeeperTransaction.Change {
        if case .multi(let parts) = request { return self.multi(parts, submission, objection: objection, time: time) }
        if let objection { return .refused(objection) }
        do {
            return try Self.change(request, submission, in: self.ahead.tree)
        } catch {
            return .refused(error)
        }
    }

    private func multi(
        _ parts: [ZooKeeperRequest], _ submission: ZooKeeperSubmission, objection: ZooKeeperCode?, time: Int64
    ) -> ZooKeeperTransaction.Change {
        // Each part sees what those before it will have done.
        var tried = self.ahead
        var changes: [ZooKeeperTransaction.Change] = []
        for (index, part) in parts.enumerated() {
            do throws(ZooKeeperCode) {
                if let objection { throw objection }
                changes.append(try Self.change(part, submission, in: tried.tree))
            } catch {
                let before = [ZooKeeperCode](repeating: .ok, count: index)
                let after = [ZooKeeperCode](repeating: .runtimeInconsistency, count: parts.count - index - 1)
                return .refusedMulti(before + [error] + after)
            }
            tried.lastZxid = 0
            _ = tried.apply(
                ZooKeeperTransaction(
                    zxid: self.lastZxid, session: submission.session, time: time, change: changes[index], origin: nil))
        }
        return .multi(changes)
    }

    private static func change(
        _ request: ZooKeeperRequest, _ submission: ZooKeeperSubmission, in tree: ZooKeeperTree
    ) throws(ZooKeeperCode) -> ZooKeeperTransaction.Change {
        switch request {
        case .create(let path, let data, let access, let mode):
            return try self.creation(path, data, access, mode, submission, in: tree)
        case .delete(let path, let version):
            guard let (parent, _) = ZooKeeperTree.split(path), !ZooKeeperTree.isSpecial(path) else {
                throw .badArguments
            }
            guard let folder = tree[parent] else { throw .noNode }
            guard folder.permission.isGiven(to: submission.users) else { throw .noAuth }
            guard let node = tree[path] else { throw .noNode }
            _ = try self.nextVersion(node, expected: version)
            guard node.children.isEmpty else { throw .notEmpty }
            return .delete(path: path)
        case .setData(let path, let data, let version):
            let node = try self.permitted(path, submission, in: tree)
            return .setData(path: path, data: data, version: try self.nextVersion(node, expected: version))
        case .check(let path, let version):
            _ = try self.nextVersion(self.permitted(path, submission, in: tree), expected: version)
            return .check
        case .exists, .getData, .getChildren, .sync, .multi, .setDataWatches, .authenticate, .ping, .closeSession:
            preconditionFailure("\(request) as a transaction is not simulated")
        }
    }

    private static func permitted(
        _ path: String, _ submission: ZooKeeperSubmission, in tree: ZooKeeperTree
    ) throws(ZooKeeperCode) -> ZooKeeperTree.Node {
        guard ZooKeeperTree.isValid(path) else { throw .badArguments }
        guard let node = tree[path] else { throw .noNode }
        guard node.permission.isGiven(to: submission.users) else { throw .noAuth }
        return node
    }

    private static func nextVersion(
        _ node: ZooKeeperTree.Node, expected: Int32
    ) throws(ZooKeeperCode) -> Int32 {
        guard expected == -1 || expected == node.stat.version else { throw .badVersion }
        return node.stat.version &+ 1
    }

    private static func creation(
        _ path: String, _ data: [UInt8], _ access: NodeAccess, _ mode: NodeMode, _ submission: ZooKeeperSubmission,
        in tree: ZooKeeperTree
    ) throws(ZooKeeperCode) -> ZooKeeperTransaction.Change {
        guard let (parent, _) = ZooKeeperTree.split(path), !path.utf8.contains(0) else { throw .badArguments }
        let permission: ZooKeeperTree.Permission
        switch access {
        case .open: permission = .everybody
        case .creator:
            guard !submission.users.isEmpty else { throw .invalidACL }
            permission = .users(submission.users)
        }
        guard let folder = tree[parent] else { throw .noNode }
        guard folder.permission.isGiven(to: submission.users) else { throw .noAuth }
        let isSequential = mode == .ephemeralSequential
        let whole = isSequential ? path + Self.digits(folder.stat.cversion) : path
        guard ZooKeeperTree.isValid(whole) else { throw .badArguments }
        guard tree[whole] == nil else { throw .nodeExists }
        guard folder.mayHaveChildren else { throw .noChildrenForEphemerals }
        let owner: Int64 =
            switch mode {
            case .persistent: 0
            case .container: ZooKeeperTree.containerOwner
            case .ephemeral, .ephemeralSequential: submission.session
            }
        return .create(
            path: whole, data: data, permission: permission, owner: owner, count: folder.stat.cversion &+ 1,
            isPlain: mode != .container)
    }

    /// As Java writes `%010d`.
    static func digits(_ number: Int32) -> String {
        let digits = String(number.magnitude)
        let width = number < 0 ? 9 : 10
        return (number < 0 ? "-" : "") + String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}

extension ZooKeeperCode: Error {}

/// What a server hands to the leader.
struct ZooKeeperSubmission {
    enum Request {
        case createSession(timeout: Int32)
        /// By the leader itself.
        case deleteContainer(path: String)
        case of(ZooKeeperRequest)
    }

    let session: Int64
    /// As whom the client has shown itself.
    let users: [String]
    let request: Request
}
