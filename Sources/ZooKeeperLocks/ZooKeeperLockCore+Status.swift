import DistributedLocks
import NIOCore

/// What people ask.
extension ZooKeeperLockCore {
    typealias Exchange = Result<ZooKeeperReply, ZooKeeperError>

    /// The contenders of a lock in their order, with what stands in their nodes. An unlocked name has none.
    struct Contenders: Sendable {
        /// Without a state of its node is one that this user may not read.
        var entries: [(node: ContenderNode, data: ContenderData?, stat: NodeStat?)] = []
    }

    func contenders(of lock: String, then: @escaping (Result<Contenders, ZooKeeperError>) -> Void) {
        self.submit(.getChildren(path: lock)) { result in
            switch result {
            case .success(let reply):
                guard case .children(let children, _) = reply.answer else { return then(.success(Contenders())) }
                let nodes = children.map { ContenderNode(name: $0) }.sorted()
                guard !nodes.isEmpty else { return then(.success(Contenders())) }
                self.read(nodes, of: lock, then: then)
            case .failure(let error) where error.serverCode == .noNode:
                then(.success(Contenders()))
            case .failure(let error):
                then(.failure(error))
            }
        }
    }

    private func read(
        _ nodes: [ContenderNode],
        of lock: String,
        then: @escaping (Result<Contenders, ZooKeeperError>) -> Void
    ) {
        var contenders = Contenders()
        var failure: ZooKeeperError?
        for (index, node) in nodes.enumerated() {
            self.submit(.getData(path: lock + "/" + node.name)) { result in
                switch result {
                case .success(let reply):
                    if case .data(let bytes, let stat) = reply.answer {
                        contenders.entries.append((node, ContenderData(bytes: bytes), stat))
                    }
                case .failure(let error) where error.serverCode == .noAuth:
                    contenders.entries.append((node, nil, nil))
                case .failure(let error):
                    // One that has left meanwhile is no failure.
                    if error.serverCode != .noNode { failure = failure ?? error }
                }
                if index == nodes.count - 1 { then(failure.map { .failure($0) } ?? .success(contenders)) }
            }
        }
    }

    /// A folder that this user may not read is shown as that, so that it hides no other lock.
    func status(of name: LockName, then: @escaping (Result<LockStatus, ZooKeeperError>) -> Void) {
        let domain = self.domain ?? .clock
        let lock = self.paths.lock(name)
        self.contenders(of: lock) { result in
            switch result {
            case .success(let contenders):
                then(.success(self.status(of: name, contenders, domain)))
            case .failure(let error) where error.serverCode == .noAuth:
                let obstacle = LockStatus.Obstacle(
                    place: lock, reason: "another user's folder, which this one may not read", hidesHolder: true)
                then(
                    .success(
                        LockStatus(
                            name: name, holders: [], waiters: [], lastToken: nil, tokenDomain: domain,
                            obstacles: [obstacle])))
            case .failure(let error):
                then(.failure(error))
            }
        }
    }

    private func status(of name: LockName, _ contenders: Contenders, _ domain: TokenDomain) -> LockStatus {
        let holder = contenders.entries.first.map { entry in
            LockStatus.Holder(
                metadata: entry.data?.metadata,
                // What the token of another kind of contender would be is not known.
                token: entry.node.isClaim ? entry.stat.flatMap { FencingToken(rawValue: $0.czxid) } : nil,
                remainingLease: self.remainingLease(entry.stat),
                heldFor: nil,
                isBroken: entry.data?.isBroken ?? false
            )
        }
        return LockStatus(
            name: name,
            holders: holder.map { [$0] } ?? [],
            waiters: contenders.entries.dropFirst().map {
                LockStatus.Waiter(metadata: $0.data?.metadata, waitingFor: nil)
            },
            lastToken: holder?.token,
            tokenDomain: domain,
            obstacles: contenders.entries.filter { $0.stat == nil }.map {
                LockStatus.Obstacle(
                    place: self.paths.lock(name) + "/" + $0.node.name,
                    reason: "another user's node, which this one may not read",
                    hidesHolder: $0.node == contenders.entries.first?.node
                )
            }
        )
    }

    /// How long the session of a holder lasts at most, if that is known. Each session has a timeout of its own, which only the
    /// ensemble and its client know.
    private func remainingLease(_ stat: NodeStat?) -> Duration? {
        guard let session, let stat, stat.ephemeralOwner == session.id else { return nil }
        return session.timeout
    }

    /// All names that have contenders.
    func names(then: @escaping (Result<[LockName], ZooKeeperError>) -> Void) {
        self.submit(.getChildren(path: self.paths.root)) { result in
            switch result {
            case .success(let reply):
                guard case .children(let children, _) = reply.answer else { return then(.success([])) }
                then(.success(children.compactMap { NodeName.lockName(of: $0) }))
            case .failure(let error) where error.serverCode == .noNode:
                then(.success([]))
            case .failure(let error):
                then(.failure(error))
            }
        }
    }

    /// Marks the holder's node, which tells it; or deletes the node, which lets the next one go at once.
    func breakLock(
        _ name: LockName,
        immediately: Bool,
        then: @escaping (Result<BreakReply, ZooKeeperError>) -> Void
    ) {
        let lock = self.paths.lock(name)
        self.contenders(of: lock) { result in
            switch result {
            case .failure(let error):
                then(.failure(error))
            case .success(let contenders):
                guard let holder = contenders.entries.first else { return then(.success(.notHeld)) }
                let path = lock + "/" + holder.node.name
                // What stands in it is not ours to write over.
                guard immediately || holder.node.isClaim else {
                    return then(.success(.cannotBeTold(remainingLease: nil)))
                }
                var data = holder.data ?? ContenderData(metadata: OwnerMetadata(host: "", pid: 0))
                data.isBroken = true
                self.submit(
                    immediately ? .delete(path: path) : .setData(path: path, data: data.bytes)
                ) { result in
                    switch result {
                    case .success: then(.success(.broken(holder.data?.metadata)))
                    case .failure(let error) where error.serverCode == .noNode: then(.success(.notHeld))
                    case .failure(let error): then(.failure(error))
                    }
                }
            }
        }
    }
}
