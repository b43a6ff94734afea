/// Nodes that may come to be after they had been sought in vain.
///
/// A create whose answer was lost is sought on the next connection, behind a sync. A server reads each connection on a thread
/// of its own: one that was held up with the last bytes of the old connection may carry out the create after the search. Such
/// a node belongs to nobody, stands for as long as the session, and everybody behind it would wait for it. So a UUID that
/// was not found is remembered for a few looks, and its node is deleted wherever it is seen.
///
/// States of a UUID: *expected* (so many looks are left), *being deleted*, *forgotten*. Pure: what has to be deleted is
/// returned, and what came of it is fed in.
struct GhostsStateMachine {
    private enum Ghost: Equatable {
        case expected(looksLeft: Int)
        case beingDeleted
    }

    /// How often a lock is looked at for a node that was not found.
    static let looks = 3

    /// By the path of their lock, and their UUID.
    private var ghosts: [String: [String: Ghost]] = [:]

    var isEmpty: Bool { self.ghosts.isEmpty }

    /// What is looked for now: the UUIDs by the paths of their locks.
    var awaited: [String: Set<String>] { self.ghosts.mapValues { Set($0.keys) } }

    /// The node that was to have this UUID was not found. It may still come.
    ///
    /// Returns whether it is the first one: then looking has to begin.
    mutating func expected(_ uuid: String, of lock: String) -> Bool {
        let isFirst = self.ghosts.isEmpty
        // One that is being deleted has come.
        if self.ghosts[lock]?[uuid] != .beingDeleted {
            self.ghosts[lock, default: [:]][uuid] = .expected(looksLeft: Self.looks)
        }
        return isFirst
    }

    /// The contenders of a lock were listed, for whatever reason. The ghosts among them are not to be counted, and those in
    /// `deleted` have to be deleted now.
    mutating func seen(
        _ nodes: [ContenderNode], of lock: String
    ) -> (others: [ContenderNode], deleted: [ContenderNode]) {
        guard let ghosts = self.ghosts[lock] else { return (nodes, []) }
        var others: [ContenderNode] = []
        var deleted: [ContenderNode] = []
        for node in nodes {
            guard let uuid = node.uuid else {
                others.append(node)
                continue
            }
            switch ghosts[uuid] {
            case nil:
                others.append(node)
            case .expected:
                self.ghosts[lock]?[uuid] = .beingDeleted
                deleted.append(node)
            case .beingDeleted:
                break
            }
        }
        return (others, deleted)
    }

    /// A delete has ended.
    ///
    /// - Parameter isGone: false: the node is there, and nobody else deletes it; the next look sees it again.
    mutating func deleted(_ uuid: String, of lock: String, isGone: Bool) {
        guard self.ghosts[lock]?[uuid] == .beingDeleted else { return }
        if isGone {
            self.forget(uuid, of: lock)
        } else {
            self.ghosts[lock]?[uuid] = .expected(looksLeft: Self.looks)
        }
    }

    /// A look has been answered.
    ///
    /// - Parameters:
    ///   - awaited: the UUIDs that were awaited when it was sent. Others came too late for it.
    ///   - seen: the UUIDs of all contenders that were there.
    mutating func looked(for awaited: Set<String>, of lock: String, seen: Set<String>) {
        for uuid in awaited where !seen.contains(uuid) {
            // What is there is forgotten when it has been deleted.
            guard case .expected(let looksLeft) = self.ghosts[lock]?[uuid] else { continue }
            if looksLeft > 1 {
                self.ghosts[lock]?[uuid] = .expected(looksLeft: looksLeft - 1)
            } else {
                self.forget(uuid, of: lock)
            }
        }
    }

    private mutating func forget(_ uuid: String, of lock: String) {
        self.ghosts[lock]?[uuid] = nil
        if self.ghosts[lock]?.isEmpty == true { self.ghosts[lock] = nil }
    }

    /// The session is over, and with it all its nodes.
    mutating func expired() { self.ghosts = [:] }
}
