import LockKernel
import LockTransport
import Logging

/// The shell of ``GhostsStateMachine``.
extension ZooKeeperLockCore {
    private static let pause = Duration.seconds(1)

    /// The node that was to have this UUID was not found. It may still come.
    func expectGhost(_ uuid: String, of lock: String) {
        if self.ghosts.expected(uuid, of: lock) { self.armGhostTimer() }
    }

    /// Deletes the ghosts among the contenders of a lock; returns the others.
    func withoutGhosts(_ nodes: [ContenderNode], of lock: String) -> [ContenderNode] {
        for node in nodes where self.isStray(node) {
            if let uuid = node.uuid { self.expectGhost(uuid, of: lock) }
        }
        let (others, deleted) = self.ghosts.seen(nodes, of: lock)
        for node in deleted {
            self.logger.notice(
                "a node whose making was given up came to be after all, and is deleted",
                metadata: ["zookeeper.path": "\(lock)/\(node.name)"]
            )
            self.submit(.delete(path: lock + "/" + node.name)) { result in
                let isGone =
                    switch result {
                    case .success: true
                    case .failure(let error): error.serverCode == .noNode
                    }
                if let uuid = node.uuid { self.ghosts.deleted(uuid, of: lock, isGone: isGone) }
            }
        }
        return others
    }

    /// This client has made it, and none of its claims knows it: it came when nobody looked for it any more.
    private func isStray(_ node: ContenderNode) -> Bool {
        guard let attempt = self.maker.attempt(of: node) else { return false }
        guard let contender = self.contenders[attempt] else { return true }
        if let known = contender.machine.node { return known != node }
        // It may be the one that is being made, or sought.
        return contender.uuid != node.uuid
    }

    private func armGhostTimer() {
        self.ghostTimer.arm(self.now + Self.pause) { self.lookForGhosts() }
    }

    private func lookForGhosts() {
        guard !self.ghosts.isEmpty else { return }
        self.armGhostTimer()
        guard self.client.isOpen else { return }
        for (lock, awaited) in self.ghosts.awaited {
            self.submit(.getChildren(path: lock)) { result in
                var nodes: [ContenderNode] = []
                switch result {
                case .success(let reply):
                    guard case .children(let children, _) = reply.answer else { return }
                    nodes = children.map { ContenderNode(name: $0) }
                    _ = self.withoutGhosts(nodes, of: lock)
                case .failure(let error):
                    guard error.serverCode != nil else { return }
                }
                self.ghosts.looked(for: awaited, of: lock, seen: Set(nodes.compactMap(\.uuid)))
            }
        }
    }
}
