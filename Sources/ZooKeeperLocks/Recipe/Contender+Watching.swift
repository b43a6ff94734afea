import DistributedLocks

/// What a contender hears of others while it waits, and of itself while it holds.
extension ContenderStateMachine {
    /// The watch on a predecessor is set; or there was nothing to watch any more (`false`).
    mutating func watchSet(on predecessor: ContenderNode, isThere: Bool) -> Action {
        guard self.watched == predecessor else { return .none }
        guard isThere else { return self.predecessorFired() }
        self.isWatchSet = true
        return .none
    }

    /// Something happened to the predecessor.
    mutating func predecessorFired() -> Action {
        guard self.watched != nil else { return .none }
        switch self.state {
        case .placed:
            self.watched = nil
            self.isWatchSet = false
            return .list
        case .aside:
            self.watched = nil
            self.isWatchSet = false
            return .look
        case .idle, .creating, .unsure, .first, .holding, .steppingAside, .leaving, .over:
            return .none
        }
    }

    /// The slow timer: a watch may have been lost in a way that nobody has thought of.
    mutating func backstopFired() -> Action {
        switch self.state {
        case .placed:
            guard let watched = self.watched, self.isWatchSet else { return .none }
            return .watch(predecessor: watched)
        case .aside:
            return .look
        case .idle, .creating, .unsure, .first, .holding, .steppingAside, .leaving, .over:
            return .none
        }
    }

    // MARK: Holding

    /// It has been held for a while: an operator who breaks the lock should be heard of.
    mutating func ownWatchDue() -> Action {
        guard case .holding(let node, _) = self.state, !self.isOwnWatchSet else { return .none }
        return .watchOwn(node)
    }

    /// The own node was read, and is watched from now on. `nil`: it is gone.
    mutating func ownRead(_ data: ContenderData?, isThere: Bool) -> Action {
        guard case .holding = self.state else { return .none }
        guard isThere else {
            self.state = .over
            return .lost(.broken)
        }
        self.isOwnWatchSet = true
        return data?.isBroken == true ? .lost(.broken) : .none
    }

    mutating func ownFired(isDeleted: Bool) -> Action {
        self.isOwnWatchSet = false
        guard case .holding(let node, _) = self.state else { return .none }
        if isDeleted {
            self.state = .over
            return .lost(.broken)
        }
        return .watchOwn(node)
    }
}
