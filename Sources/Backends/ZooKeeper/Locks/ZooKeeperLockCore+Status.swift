import DistributedLocks
import Jute
import NIOCore
import ZooKeeperClient

/// What people ask.
extension ZooKeeperLockCore {
    typealias Exchange = Result<ZooKeeperReply, ZooKeeperError>

    /// The contenders of a lock in their order, with what stands in their nodes. An unlocked name has none.
    struct Contenders: Sendable {
        var entries: [(node: ContenderNode, data: ContenderData?, stat: NodeStat)] = []
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
                case .failure(let error):
                    // One that has left meanwhile is no failure.
                    if error.serverCode != .noNode { failure = failure ?? error }
                }
                if index == nodes.count - 1 { then(failure.map { .failure($0) } ?? .success(contenders)) }
            }
        }
    }

    func status(of name: LockName, then: @escaping (Result<LockStatus, ZooKeeperError>) -> Void) {
        let domain = self.domain ?? .clock
        self.contenders(of: self.paths.lock(name)) { result in
            then(
                result.map { contenders in
                    let holder = contenders.entries.first.map { entry in
                        LockStatus.Holder(
                            metadata: entry.data?.metadata,
                            // What the token of another kind of contender would be is not known.
                            token: entry.node.isClaim ? FencingToken(rawValue: entry.stat.czxid) : nil,
                            // At most: when its session was heard of last, only the ensemble knows.
                            remainingLease: self.session?.timeout,
                            heldFor: nil,
                            isBroken: entry.data?.isBroken ?? false
                        )
                    }
                    return LockStatus(
                        name: name,
                        holder: holder,
                        waiters: contenders.entries.dropFirst().map {
                            LockStatus.Waiter(metadata: $0.data?.metadata, waitingFor: nil)
                        },
                        lastToken: holder?.token,
                        tokenDomain: domain
                    )
                }
            )
        }
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
                guard immediately || holder.node.isClaim else {
                    // What stands in it is not ours to write over.
                    return then(.failure(ZooKeeperError(.refused(.badArguments), Self.foreign(path))))
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

    private static func foreign(_ path: String) -> String {
        "\(path) is no contender of this version, and cannot be told; at once it can be deleted"
    }
}
