import DistributedLocks
import LockKernel
import NIOCore

/// The actions of contenders without a node.
extension ZooKeeperLockCore {
    /// At most so many locks are known to have used their counter up.
    private static var maximumUsedUpLocks: Int { 1_024 }

    /// The folder's delete comes right after the node's, and is refused if anybody else is in it.
    func stepAside(_ node: ContenderNode, _ contender: Contender) {
        if self.usedUpLocks.count >= Self.maximumUsedUpLocks { self.usedUpLocks = [] }
        self.usedUpLocks.insert(contender.lock)
        self.delete(node, contender)
        self.submit(.delete(path: contender.lock)) { _ in }
    }

    func look(_ contender: Contender) {
        let lock = contender.lock
        // Without it a server that lags behind would show those who have left.
        self.submit(.sync(path: lock)) { _ in }
        self.submit(.getChildren(path: lock)) { result in
            switch result {
            case .success(let reply):
                guard case .children(let children, let stat) = reply.answer else { return }
                let nodes = self.withoutGhosts(children.map { ContenderNode(name: $0) }, of: lock)
                let isUsedUp =
                    stat.createdCount >= ContenderNode.firstUsedUpRank || nodes.contains { $0.isUsedUp }
                if !isUsedUp { self.usedUpLocks.remove(lock) }
                self.perform(contender.machine.looked(nodes, isUsedUp: isUsedUp), for: contender)
            case .failure(let error) where error.serverCode == .noNode:
                self.usedUpLocks.remove(lock)
                contender.isFolderMissing = true
                self.perform(contender.machine.looked(nil, isUsedUp: false), for: contender)
            case .failure(let error):
                self.retry(contender, after: error)
            }
        }
    }

    /// Somebody has come between a look and what followed from it.
    func lookLater(_ contender: Contender) {
        self.arm(contender, in: TimeAmount(self.environment.milliseconds(in: 100...300))) { $0.backstopFired() }
    }

    func deleteFolder(_ contender: Contender) {
        self.submit(.delete(path: contender.lock)) { result in
            switch result {
            case .success:
                contender.isFolderMissing = true
                self.perform(contender.machine.folderDeleted(isGone: true), for: contender)
            case .failure(let error) where error.serverCode == .noNode:
                self.perform(contender.machine.folderDeleted(isGone: true), for: contender)
            case .failure(let error) where error.serverCode == .notEmpty:
                self.perform(contender.machine.folderDeleted(isGone: false), for: contender)
            case .failure(let error):
                self.retry(contender, after: error)
            }
        }
    }

    func standAside(watching node: ContenderNode?, isNews: Bool, _ contender: Contender) {
        if let node { self.watch(node, contender) } else { self.watchFolder(contender) }
        if isNews { self.answer(contender, .success(.queued(QueuePlace(waitersAhead: nil, holders: [])))) }
    }

    private func watchFolder(_ contender: Contender) {
        self.watches.watched(contender.lock, by: contender.claim.attempt)
        // It fires when the folder is deleted, and not when somebody comes or goes.
        self.submit(.getData(path: contender.lock, watch: true)) { result in
            switch result {
            case .success:
                // Who is in there may leave without deleting it.
                self.arm(contender, in: TimeAmount(self.environment.milliseconds(in: 1_000...2_000))) {
                    $0.backstopFired()
                }
            case .failure(let error) where error.serverCode == .noNode:
                self.perform(contender.machine.folderDeleted(isGone: true), for: contender)
            case .failure(let error):
                self.retry(contender, after: error)
            }
        }
    }
}

extension NodeStat {
    /// How many children have been made in it, below 2^31: what the next number is. What a server tells as `cversion` is twice
    /// that, less the number of children that are there (`DataNode.copyStat`).
    var createdCount: Int64 { Int64(UInt32(bitPattern: self.cversion &+ self.childCount) >> 1) }
}
