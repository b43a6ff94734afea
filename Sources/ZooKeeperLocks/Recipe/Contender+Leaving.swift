import DistributedLocks

/// How a contender leaves, and how one is found that may be there.
extension ContenderStateMachine {
    /// Whether its node is to be deleted, and may not have been yet.
    var isDeleting: Bool {
        switch self.state {
        case .steppingAside, .leaving: true
        case .idle, .creating, .unsure, .placed, .first, .holding, .aside, .over: false
        }
    }

    /// The claim is given back. ``Action/left(wasHeld:)`` follows, now or later.
    mutating func withdrawn() -> Action {
        switch self.state {
        case .idle:
            self.state = .over
            return .left(wasHeld: false)
        case .over:
            return .left(wasHeld: false)
        case .creating:
            self.wantsToLeave = true
            return .none
        case .unsure:
            self.state = .leaving(nil, wasHolding: false)
            return .seek
        case .placed(let node, _), .first(let node, _):
            self.state = .leaving(node, wasHolding: false)
            return self.delete(node)
        case .holding(let node, _):
            self.state = .leaving(node, wasHolding: true)
            return self.delete(node)
        case .steppingAside(let node):
            self.state = .leaving(node, wasHolding: false)
            return self.isDeleteOut ? .none : self.delete(node)
        case .aside:
            self.forgetWatches()
            self.state = .over
            return .left(wasHeld: false)
        case .leaving(let node?, _):
            return self.isDeleteOut ? .none : self.delete(node)
        case .leaving(nil, _):
            return .seek
        }
    }

    mutating func delete(_ node: ContenderNode) -> Action {
        self.isDeleteOut = true
        return .delete(node)
    }

    /// A delete has ended. One that is not known to have been carried out is asked again by ``attached()``.
    mutating func deleted(_ result: DeleteResult) -> Action {
        self.isDeleteOut = false
        if case .steppingAside = self.state { return self.steppedAside(result) }
        guard case .leaving(_, let wasHolding) = self.state else { return .none }
        switch result {
        case .done:
            self.state = .over
            return .left(wasHeld: wasHolding)
        case .noNode:
            // If an earlier delete may have been carried out, it was that one: nobody else had a reason.
            self.state = .over
            return .left(wasHeld: wasHolding && self.isDeleteUnsure)
        case .refused(let code):
            return .failed(code)
        case .unsure:
            self.isDeleteUnsure = true
            return .none
        case .notSent:
            return .none
        }
    }

    // MARK: Seeking

    /// The contenders were listed, in search of a node whose making was not confirmed. `nil`: not answered.
    mutating func sought(_ found: ContenderNode?) -> Action {
        switch self.state {
        case .unsure:
            guard let found else {
                self.state = .creating
                return .create
            }
            return .inspect(found)
        case .leaving(nil, _):
            guard let found else {
                self.state = .over
                return .left(wasHeld: false)
            }
            self.state = .leaving(found, wasHolding: false)
            return self.delete(found)
        case .idle, .creating, .placed, .first, .holding, .steppingAside, .aside, .leaving, .over:
            return .none
        }
    }

    /// The node that was found is this session's own (then with the transaction that created it), or not.
    mutating func inspected(_ node: ContenderNode, czxid: Int64?) -> Action {
        guard case .unsure = self.state else { return .none }
        guard let czxid else {
            self.state = .creating
            return .create
        }
        let action = self.isPlaced(node, czxid: czxid)
        return action == .none ? .list : action
    }
}
