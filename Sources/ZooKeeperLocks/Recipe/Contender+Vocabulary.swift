import DistributedLocks

/// The states of a contender, what it asks for, and what may become of a delete.
extension ContenderStateMachine {
    enum Action: Equatable {
        case none
        /// Create the node, and list the contenders.
        case create
        /// Make the server current, list, and look for the node.
        case seek
        /// Ask whose node it is.
        case inspect(ContenderNode)
        /// Ask which transaction created the node.
        case identify(ContenderNode)
        case list
        case watch(predecessor: ContenderNode)
        case watchOwn(ContenderNode)
        case delete(ContenderNode)
        case grant(token: Int64)
        /// It waits, behind so many; watch this one.
        case queued(ahead: Int, watch: ContenderNode)
        /// Somebody else holds the lock, and it was not to wait. Delete the node, if there is one.
        case busy(ContenderNode?, first: ContenderNode)
        /// Its number is used up. Delete the node, and then the lock's folder, which goes if nobody is in it.
        case stepAside(ContenderNode)
        /// It has no node. See who is in the folder, and whether it is to be waited for.
        case look
        case lookLater
        /// Nobody is in the folder any more.
        case deleteFolder
        /// It waits without a node. Watch this one, or the folder if there is none to watch, and tell the caller if that is
        /// news.
        case standAside(watch: ContenderNode?, isNews: Bool)
        /// The node is no more; ask again from the beginning.
        case gone
        case lost(LockError.LossReason)
        /// It has left.
        case left(wasHeld: Bool)
        /// The server refuses to do what is needed.
        case failed(ZooKeeperCode)
    }

    enum State: Equatable {
        case idle
        case creating
        case unsure
        /// The transaction that created it is not known yet where several nodes were created by one.
        case placed(ContenderNode, czxid: Int64?)
        case first(ContenderNode, czxid: Int64?)
        case holding(ContenderNode, czxid: Int64)
        case steppingAside(ContenderNode)
        case aside
        /// `nil`: it has to be sought first.
        case leaving(ContenderNode?, wasHolding: Bool)
        case over
    }

    /// What became of a delete.
    enum DeleteResult: Equatable {
        case done
        /// There is no such node, any more.
        case noNode
        case refused(ZooKeeperCode)
        /// It was sent, and has no answer.
        case unsure
        case notSent
    }
}
