import Jute
import Logging
import Transport
import ZooKeeperClient

/// Nodes that came to be after they had been sought in vain.
///
/// A create whose answer was lost is sought on the next connection, behind a sync. A server reads each connection on a thread
/// of its own: one that was held up with the last bytes of the old connection may carry out the create after the search. Such
/// a node belongs to nobody, stands for as long as the session, and everybody behind it would wait for it. So a UUID that
/// was not found is remembered for a few seconds, and its node is deleted wherever it is seen.
extension ZooKeeperLockCore {
    /// A node that was not found and may still come to be.
    struct Ghost {
        var looksLeft = ZooKeeperLockCore.looks
        var isBeingDeleted = false
    }

    /// How often a lock is looked at for a node that was not found.
    private static let looks = 3
    private static let pause = Duration.seconds(1)

    /// The node that was to have this UUID was not found. It may still come.
    func expectGhost(_ uuid: String, of lock: String) {
        // It is armed wherever there are others.
        if self.ghosts.isEmpty { self.armGhostTimer() }
        self.ghosts[lock, default: [:]][uuid] = Ghost()
    }

    /// Deletes the ghosts among the contenders of a lock; returns the others.
    func withoutGhosts(_ nodes: [ContenderNode], of lock: String) -> [ContenderNode] {
        guard let ghosts = self.ghosts[lock] else { return nodes }
        return nodes.filter { node in
            let uuid = node.uuid
            guard let ghost = ghosts[uuid] else { return true }
            if !ghost.isBeingDeleted { self.lay(node, uuid: uuid, of: lock) }
            return false
        }
    }

    private func lay(_ node: ContenderNode, uuid: String, of lock: String) {
        self.ghosts[lock]?[uuid]?.isBeingDeleted = true
        self.logger.notice(
            "a node whose making was given up came to be after all, and is deleted",
            metadata: ["zookeeper.path": "\(lock)/\(node.name)"]
        )
        self.submit(.delete(path: lock + "/" + node.name)) { result in
            switch result {
            case .success: self.forgetGhost(uuid, of: lock)
            case .failure(let error) where error.serverCode == .noNode: self.forgetGhost(uuid, of: lock)
            // It is there, and nobody else deletes it: the next look sees it again.
            case .failure: self.ghosts[lock]?[uuid]?.isBeingDeleted = false
            }
        }
    }

    private func forgetGhost(_ uuid: String, of lock: String) {
        self.ghosts[lock]?[uuid] = nil
        if self.ghosts[lock]?.isEmpty == true { self.ghosts[lock] = nil }
    }

    private func armGhostTimer() {
        self.ghostTimer.arm(.now + Self.pause) { self.lookForGhosts() }
    }

    private func lookForGhosts() {
        guard !self.ghosts.isEmpty else { return }
        self.armGhostTimer()
        guard self.client.isOpen else { return }
        for (lock, ghosts) in self.ghosts {
            self.submit(.getChildren(path: lock)) { result in
                var seen: Set<String> = []
                switch result {
                case .success(let reply):
                    guard case .children(let children, _) = reply.answer else { return }
                    let nodes = children.compactMap { ContenderNode(name: $0) }
                    _ = self.withoutGhosts(nodes, of: lock)
                    seen = Set(nodes.map(\.uuid))
                case .failure(let error):
                    guard error.serverCode != nil else { return }
                }
                // What is there is forgotten when it has been deleted.
                for uuid in ghosts.keys where !seen.contains(uuid) { self.lookedForGhost(uuid, of: lock) }
            }
        }
    }

    private func lookedForGhost(_ uuid: String, of lock: String) {
        guard let ghost = self.ghosts[lock]?[uuid], !ghost.isBeingDeleted else { return }
        if ghost.looksLeft > 1 { self.ghosts[lock]?[uuid]?.looksLeft -= 1 } else { self.forgetGhost(uuid, of: lock) }
    }
}
