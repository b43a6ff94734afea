import DistributedLocks

/// One claim on its way through the recipe for locks (https://zookeeper.apache.org/doc/current/recipes.html): a node that
/// is ephemeral and sequential; the first one holds; each of the others watches the one right ahead of it.
///
/// States: *idle* (the ensemble knows nothing of it), *creating* (the request is out), *unsure* (its reply was lost),
/// *placed* (the node is there, and waits), *first* (nobody is ahead, but the session cannot be relied on just now),
/// *holding*, *stepping aside* (the node's number is used up, and it is being deleted), *aside* (has no node, and looks
/// whether it may make one), *leaving* (the node is being deleted), *over*.
///
/// A request that has no answer because its connection ended is taken up again by ``attached()``. Pure: what has to be
/// asked is returned, and the answers are fed in.
struct ContenderStateMachine {
    var state = State.idle
    let joinsQueue: Bool
    /// It is likely that a node would be of no use: look before one is made.
    let looksFirst: Bool
    /// The caller has been told that it waits.
    var isQueued = false
    var wantsToLeave = false
    /// The watch on the predecessor is set, or has been asked for.
    var watched: ContenderNode?
    var isWatchSet = false
    /// The predecessor holds the lock, by the list that was read last.
    private(set) var isNext = false
    var isOwnWatchSet = false
    var isDeleteOut = false
    /// What the server had carried out when it answered the create: the create itself, as far as anybody knows.
    private var createdZxid: Int64?
    /// A delete was sent, and nobody knows whether it was carried out.
    var isDeleteUnsure = false
    private var parentsMissing = 0
    /// How often it has got a number that is used up.
    var timesAside = 0

    /// A parent that vanishes again and again is not made more often than this in a row.
    static let maximumParentTries = 16

    init(joinsQueue: Bool, looksFirst: Bool = false) {
        self.joinsQueue = joinsQueue
        self.looksFirst = looksFirst
    }

    var isOver: Bool { self.state == .over }

    /// The ensemble cannot know of it.
    var isUnknown: Bool {
        switch self.state {
        case .idle, .over: true
        // A look may be out, and what follows from it must not come after its claim is forgotten.
        case .creating, .unsure, .placed, .first, .holding, .steppingAside, .aside, .leaving: false
        }
    }

    var node: ContenderNode? {
        switch self.state {
        case .placed(let node, _), .first(let node, _), .holding(let node, _): node
        case .steppingAside(let node): node
        case .leaving(let node, _): node
        case .idle, .creating, .unsure, .aside, .over: nil
        }
    }

    /// The node whose watch it waits for.
    var predecessor: ContenderNode? { self.watched }

    // MARK: The session

    /// The session is attached, for the first time or again: what has no answer is asked again.
    mutating func attached() -> Action {
        switch self.state {
        case .idle:
            self.state = self.looksFirst ? .aside : .creating
            return self.looksFirst ? .look : .create
        case .unsure:
            return .seek
        case .steppingAside(let node):
            return self.stepAside(node)
        case .aside:
            return .look
        case .placed:
            // A watch that is set is set again by the client, and fires if something has happened meanwhile.
            return self.isWatchSet ? .none : .list
        case .leaving(let node?, _):
            return self.delete(node)
        case .leaving(nil, _):
            return .seek
        case .holding(let node, _):
            return self.isOwnWatchSet ? .none : .watchOwn(node)
        case .first(let node, nil):
            return .identify(node)
        case .first, .over:
            return .none
        case .creating:
            preconditionFailure("a request is out on a connection that has ended")
        }
    }

    /// The session is over, and the node with it.
    mutating func expired() -> Action {
        defer { self.forgetWatches() }
        switch self.state {
        case .idle, .over:
            return .none
        case .creating, .unsure, .placed, .first, .steppingAside, .aside:
            if self.wantsToLeave || self.isQueued {
                self.state = .over
                return self.wantsToLeave ? .left(wasHeld: false) : .gone
            }
            // The caller still waits for its first answer: it gets one from the next session.
            self.state = .idle
            return .none
        case .holding:
            self.state = .over
            return .none
        case .leaving:
            self.state = .over
            return .left(wasHeld: false)
        }
    }

    mutating func forgetWatches() {
        self.watched = nil
        self.isWatchSet = false
        self.isOwnWatchSet = false
    }

    // MARK: Answers

    /// The node was not created, for this reason. `nil`: nobody knows whether it was.
    mutating func createFailed(_ code: ZooKeeperCode?) -> Action {
        guard case .creating = self.state else { return .none }
        guard let code else {
            self.state = self.wantsToLeave ? .leaving(nil, wasHolding: false) : .unsure
            return .none
        }
        self.state = .over
        return self.wantsToLeave ? .left(wasHeld: false) : .failed(code)
    }

    /// The request never left. It is made when the session is attached again.
    mutating func notCreated() -> Action {
        guard case .creating = self.state else { return .none }
        if self.wantsToLeave {
            self.state = .over
            return .left(wasHeld: false)
        }
        self.state = .idle
        return .none
    }

    /// The parents are not there. True: make them, then call ``parentsMade()``.
    mutating func parentsMissed() -> Bool {
        guard case .creating = self.state, !self.wantsToLeave else { return false }
        self.parentsMissing += 1
        return self.parentsMissing <= Self.maximumParentTries
    }

    mutating func parentsMade() -> Action {
        guard case .creating = self.state else { return .none }
        if self.wantsToLeave {
            self.state = .over
            return .left(wasHeld: false)
        }
        return .create
    }

    /// The node is there.
    ///
    /// - Parameters:
    ///   - czxid: the transaction that created it, if the answer told it.
    ///   - zxid: what the server had carried out when it answered.
    mutating func created(_ node: ContenderNode, czxid: Int64?, zxid: Int64) -> Action {
        guard case .creating = self.state else { return .none }
        self.createdZxid = zxid
        return self.isPlaced(node, czxid: czxid)
    }

    mutating func isPlaced(_ node: ContenderNode, czxid: Int64?) -> Action {
        if self.wantsToLeave {
            self.state = .leaving(node, wasHolding: false)
            return self.delete(node)
        }
        self.parentsMissing = 0
        if node.isUsedUp { return self.gotUsedUpNumber(node) }
        self.state = .placed(node, czxid: czxid)
        return .none
    }

    /// The contenders were listed, after the node was made.
    ///
    /// - Parameters:
    ///   - pzxid: The transaction that last created or deleted a contender.
    ///   - isValid: Whether the session can be relied on now.
    mutating func listed(_ contenders: [ContenderNode], pzxid: Int64, isValid: Bool) -> Action {
        guard case .placed(let node, let known) = self.state else { return .none }
        guard let place = ContenderNode.place(of: node, among: contenders) else {
            // An operator has deleted it.
            self.state = .over
            return .gone
        }
        // If nothing has happened among the contenders since, that transaction was the one that created the node.
        let czxid = known ?? (pzxid == self.createdZxid ? pzxid : nil)
        self.state = .placed(node, czxid: czxid)
        guard let predecessor = place.predecessor else {
            self.forgetWatches()
            guard let czxid else {
                self.state = .first(node, czxid: nil)
                return .identify(node)
            }
            guard isValid else {
                self.state = .first(node, czxid: czxid)
                return .none
            }
            self.state = .holding(node, czxid: czxid)
            return .grant(token: czxid)
        }
        guard self.joinsQueue else {
            self.state = .leaving(node, wasHolding: false)
            self.isDeleteOut = true
            return .busy(node, first: place.first)
        }
        self.watched = predecessor
        self.isWatchSet = false
        self.isNext = place.ahead == 1
        let wasQueued = self.isQueued
        self.isQueued = true
        if wasQueued { return .watch(predecessor: predecessor) }
        return .queued(ahead: place.ahead - 1, watch: predecessor)
    }

    /// The lock's node is gone, and every contender's with it.
    mutating func parentGone() -> Action {
        guard case .placed = self.state else { return .none }
        self.state = .over
        return .gone
    }

    /// Something that the server refused, or that could not be sent, is asked again on the same connection: the node may be
    /// there, and must not be forgotten.
    mutating func retried() -> Action {
        switch self.state {
        case .unsure, .leaving(nil, _): .seek
        case .placed: self.isWatchSet ? .none : .list
        case .first(let node, nil): .identify(node)
        case .steppingAside(let node): self.isDeleteOut ? .none : self.stepAside(node)
        case .aside: .look
        case .leaving(let node?, _): self.isDeleteOut ? .none : self.delete(node)
        case .holding(let node, _): self.isOwnWatchSet ? .none : .watchOwn(node)
        case .idle, .creating, .first, .over: .none
        }
    }

    /// The grant was decided on, and the session cannot be relied on after all.
    mutating func validityGone() {
        if case .holding(let node, let czxid) = self.state { self.state = .first(node, czxid: czxid) }
    }

    /// Whether it is to be asked which transaction created the node, before that is needed.
    var isUnidentified: Bool {
        if case .placed(_, nil) = self.state { true } else { false }
    }

    /// Which transaction created the node; `nil` if the node is gone.
    mutating func identified(_ czxid: Int64?, isValid: Bool) -> Action {
        switch self.state {
        case .placed(let node, nil), .first(let node, nil):
            guard let czxid else {
                self.state = .over
                return .gone
            }
            guard case .first = self.state else {
                self.state = .placed(node, czxid: czxid)
                return .none
            }
            self.state = .first(node, czxid: czxid)
            return isValid ? self.validityReturned() : .none
        case .idle, .creating, .unsure, .placed, .first, .holding, .steppingAside, .aside, .leaving, .over:
            return .none
        }
    }

    /// The session can be relied on again.
    mutating func validityReturned() -> Action {
        guard case .first(let node, let czxid?) = self.state else { return .none }
        self.state = .holding(node, czxid: czxid)
        return .grant(token: czxid)
    }
}
