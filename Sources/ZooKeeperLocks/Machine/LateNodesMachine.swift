import LockKernel

/// When ``GhostsStateMachine`` is asked: with every list of contenders, and once a second as long as a node is expected. Pure.
struct LateNodesMachine {
    typealias Instant = BootInstant

    private static var pause: Duration { .seconds(1) }

    private var ghosts = GhostsStateMachine()

    /// The node that was to have this UUID was not found. It may still come.
    mutating func expected(_ uuid: String, of lock: String, now: Instant, _ outbox: inout Outbox) {
        if self.ghosts.expected(uuid, of: lock) { outbox.add(.wake(.ghosts, at: now + Self.pause)) }
    }

    /// Contenders of a lock were listed. Asks for the deletion of those that nobody has a use for; returns the others.
    ///
    /// - Parameter isStray: whether this client has made the node, and none of its claims knows it: it came when nobody looked
    ///   for it any more.
    mutating func seen(
        _ nodes: [ContenderNode], of lock: String, now: Instant, isStray: (ContenderNode) -> Bool,
        _ outbox: inout Outbox
    ) -> [ContenderNode] {
        for node in nodes where isStray(node) {
            if let uuid = node.uuid { self.expected(uuid, of: lock, now: now, &outbox) }
        }
        if self.ghosts.isEmpty { return nodes }
        let (others, deleted) = self.ghosts.seen(nodes, of: lock)
        for node in deleted {
            guard let uuid = node.uuid else { continue }
            let path = lock + "/" + node.name
            outbox.add(.note(.deletedGhost(path: path)))
            outbox.ask(.delete(path: path), .ghost(uuid: uuid, lock: lock))
        }
        return others
    }

    /// A delete is answered.
    mutating func deleted(_ uuid: String, of lock: String, _ result: Result<ZooKeeperReply, ZooKeeperError>) {
        let isGone =
            switch result {
            case .success: true
            case .failure(let error): error.serverCode == .noNode
            }
        self.ghosts.deleted(uuid, of: lock, isGone: isGone)
    }

    mutating func alarmFired(isOpen: Bool, now: Instant, _ outbox: inout Outbox) {
        guard !self.ghosts.isEmpty else { return }
        outbox.add(.wake(.ghosts, at: now + Self.pause))
        guard isOpen else { return }
        for (lock, awaited) in self.ghosts.awaited.sorted(by: { $0.key < $1.key }) {
            outbox.ask(.getChildren(path: lock), .ghosts(lock: lock, awaited: awaited))
        }
    }

    /// A look is answered.
    mutating func looked(for awaited: Set<String>, of lock: String, at nodes: [ContenderNode]) {
        self.ghosts.looked(for: awaited, of: lock, seen: Set(nodes.compactMap(\.uuid)))
    }

    /// The session is over, and with it all its nodes.
    mutating func expired() { self.ghosts.expired() }
}
