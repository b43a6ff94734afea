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
    /// How often a lock is looked at for a node that was not found.
    private static let looks = 3
    private static let pause = Duration.seconds(1)

    /// The node of this contender was not found. It may still come.
    func expectGhost(of contender: Contender) {
        self.ghosts[contender.lock, default: [:]][contender.uuid] = Self.looks
        self.armGhostTimer()
    }

    /// Deletes the ghosts among the contenders of a lock; returns the others.
    func withoutGhosts(_ nodes: [ContenderNode], of lock: String) -> [ContenderNode] {
        guard let uuids = self.ghosts[lock]?.keys else { return nodes }
        return nodes.filter { node in
            guard let uuid = uuids.first(where: { node.has(uuid: $0) }) else { return true }
            self.lay(node, uuid: uuid, of: lock)
            return false
        }
    }

    private func lay(_ node: ContenderNode, uuid: String, of lock: String) {
        self.logger.notice(
            "a node whose making was given up came to be after all, and is deleted",
            metadata: ["zookeeper.path": "\(lock)/\(node.name)"]
        )
        self.submit(.delete(path: lock + "/" + node.name)) { result in
            switch result {
            case .success: self.forgetGhost(uuid, of: lock)
            case .failure(let error) where error.serverCode == .noNode: self.forgetGhost(uuid, of: lock)
            // It is seen again by the next look.
            case .failure: self.ghosts[lock]?[uuid]? += 1
            }
        }
    }

    private func forgetGhost(_ uuid: String, of lock: String) {
        self.ghosts[lock]?[uuid] = nil
        if self.ghosts[lock]?.isEmpty == true { self.ghosts[lock] = nil }
    }

    private func armGhostTimer() {
        guard !self.isGhostTimerArmed else { return }
        self.isGhostTimerArmed = true
        self.ghostTimer.arm(.now + Self.pause) { self.lookForGhosts() }
    }

    private func lookForGhosts() {
        self.isGhostTimerArmed = false
        guard !self.ghosts.isEmpty else { return }
        self.armGhostTimer()
        guard self.client.isOpen else { return }
        for (lock, uuids) in self.ghosts {
            self.submit(.getChildren(path: lock)) { result in
                switch result {
                case .success(let reply):
                    guard case .children(let children, _) = reply.answer else { return }
                    _ = self.withoutGhosts(children.compactMap { ContenderNode(name: $0) }, of: lock)
                case .failure(let error):
                    guard error.serverCode != nil else { return }
                }
                for uuid in uuids.keys { self.lookedForGhost(uuid, of: lock) }
            }
        }
    }

    private func lookedForGhost(_ uuid: String, of lock: String) {
        guard let left = self.ghosts[lock]?[uuid] else { return }
        if left > 1 { self.ghosts[lock]?[uuid] = left - 1 } else { self.forgetGhost(uuid, of: lock) }
    }
}
