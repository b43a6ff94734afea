import DistributedLocks

/// A contender without a node: one that looks before it makes one, as it is not to wait, and one whose number is used up
/// (``ContenderNode/firstUsedUpRank``).
///
/// The latter never holds. It deletes its node and waits without one, so that the folder empties: those with lower numbers
/// are served in their order, whoever finds the folder empty deletes it, and in the next one numbers begin at 0. Whoever
/// deletes a folder that is empty disturbs nobody: a contender is in it, or has not been made yet.
///
/// One that does not wait is told that the lock is busy, if anybody is in the folder, and then needs no node: however many ask
/// again and again, they neither use numbers up nor keep a folder from emptying.
extension ContenderStateMachine {
    mutating func gotUsedUpNumber(_ node: ContenderNode) -> Action {
        self.timesAside += 1
        return self.stepAside(node)
    }

    mutating func stepAside(_ node: ContenderNode) -> Action {
        self.state = .steppingAside(node)
        self.isDeleteOut = true
        return .stepAside(node)
    }

    /// The delete of the node has ended. One that is not known to have been carried out is asked again.
    mutating func steppedAside(_ result: DeleteResult) -> Action {
        switch result {
        case .done, .noNode:
            self.state = .aside
            // A server that goes on with such numbers must not be asked without a pause.
            return self.timesAside > 1 ? .lookLater : .look
        case .refused(let code):
            return .failed(code)
        case .unsure, .notSent:
            return .none
        }
    }

    /// The folder was looked into.
    ///
    /// - Parameters:
    ///   - nodes: Who is in it; `nil` if there is no folder.
    ///   - isUsedUp: Whether whoever comes now gets a number that is used up.
    mutating func looked(_ nodes: [ContenderNode]?, isUsedUp: Bool) -> Action {
        guard case .aside = self.state else { return .none }
        self.forgetWatches()
        guard let nodes else { return self.folderDeleted(isGone: true) }
        guard let first = nodes.min() else { return isUsedUp ? .deleteFolder : self.folderDeleted(isGone: true) }
        guard self.joinsQueue else {
            self.state = .over
            return .busy(nil, first: first)
        }
        guard isUsedUp else { return self.folderDeleted(isGone: true) }
        // Whoever has a number that is used up leaves soon; one from before this rule may hold, and then the folder is watched.
        self.watched = nodes.lazy.filter { !$0.isUsedUp }.max()
        let isNews = !self.isQueued
        self.isQueued = true
        return .standAside(watch: self.watched, isNews: isNews)
    }

    /// The folder was to be deleted, or watched. False: somebody is in it again.
    mutating func folderDeleted(isGone: Bool) -> Action {
        guard case .aside = self.state else { return .none }
        guard isGone else { return .lookLater }
        self.forgetWatches()
        self.state = .creating
        return .create
    }

    /// Something happened to the folder that is watched.
    mutating func folderFired() -> Action {
        if case .aside = self.state { .look } else { .none }
    }
}
