import DistributedLocks
import LockKernel

/// A claim's node: what its ``ContenderStateMachine`` wants is asked of the ensemble, and the answers are fed to it.
///
/// States: those of the contender. Beside them: under which UUID its node is made, what its timer is for, and whether its requests
/// are *postponed* because connections end over them (``ResumptionStateMachine``). A request that the server refuses is asked again
/// soon; one whose connection has ended is asked again when the session is attached, and the answers of that connection do
/// nothing more. What concerns those who wait for the claim is returned. Pure.
struct NodeMachine {
    typealias Question = ZooKeeperMachine.ClaimQuestion
    typealias ReplyResult = Result<ZooKeeperReply, ZooKeeperError>

    /// What has become of the claim.
    enum News: Equatable {
        case none
        /// It wants to see the contenders of its lock.
        case wantsList
        case granted(ZooKeeperMachine.Grant)
        case queued(ahead: Int?)
        /// The lock is held, and the claim was not to wait. Its node, if it has one, is being deleted.
        case busy(first: ContenderNode)
        /// The node is no more.
        case gone
        case lost(LockError.LossReason)
        case left(wasHeld: Bool)
        case failed(ZooKeeperCode)
    }

    /// How long a lock is held before its own node is watched: most are given back sooner, and cost a request less.
    static let ownWatchDelay = Duration.milliseconds(20)
    /// How often a waiter looks whether its predecessor is still there.
    static let backstop = Duration.seconds(60)

    let name: ClaimIdentity
    private var contender: ContenderStateMachine
    private var creation = NodeCreation()
    private var timers = NodeTimers()
    /// It was given back by a call that does not wait for the answer.
    private var leavesInOrder = false

    init(_ name: ClaimIdentity, joinsQueue: Bool, looksFirst: Bool) {
        self.name = name
        self.contender = ContenderStateMachine(joinsQueue: joinsQueue, looksFirst: looksFirst)
    }

    private var lock: String { self.name.lock }

    var state: ContenderStateMachine.State { self.contender.state }
    var joinsQueue: Bool { self.contender.joinsQueue }
    var isQueued: Bool { self.contender.isQueued }
    var isOver: Bool { self.contender.isOver }
    /// The ensemble cannot know of it.
    var isUnknown: Bool { self.contender.isUnknown }
    /// It is to be deleted, and may not have been yet.
    var isDeleting: Bool { self.contender.isDeleting }

    /// Whether it knows nothing of a node that was made for its attempt.
    func isStray(_ node: ContenderNode) -> Bool {
        if let known = self.contender.node { return known != node }
        // It may be the one that is being made, or sought.
        return self.creation.uuid != node.uuid
    }

    private func path(_ node: ContenderNode) -> String { self.lock + "/" + node.name }

    // MARK: What is wanted

    private mutating func perform(_ action: ContenderStateMachine.Action, _ ensemble: inout Ensemble) -> News {
        switch action {
        case .none: return .none
        case .create: self.creation.begin(self.name, &ensemble)
        case .seek:
            // Without it a server that lags behind would hide the node, and the claim would wait for itself.
            ensemble.outbox.ask(.sync(path: self.lock), .nothing)
            self.ask(.getChildren(path: self.lock), .seek(uuid: self.creation.uuid), &ensemble)
        case .inspect(let node): self.ask(.exists(path: self.path(node)), .inspect(node), &ensemble)
        case .identify(let node): self.ask(.exists(path: self.path(node)), .identify(node), &ensemble)
        case .list: return .wantsList
        case .watch(let predecessor): self.watch(predecessor, .watch(predecessor), &ensemble)
        case .watchOwn(let node): self.watch(node, .watchOwn, &ensemble)
        case .delete(let node): self.delete(node, &ensemble)
        case .grant(let token): return self.grant(token, &ensemble)
        case .queued(let ahead, let predecessor):
            self.watch(predecessor, .watch(predecessor), &ensemble)
            if self.contender.isUnidentified, let node = self.contender.node {
                self.ask(.exists(path: self.path(node)), .identify(node), &ensemble)
            }
            return .queued(ahead: ahead)
        case .busy(let node, let first):
            // The delete is not waited for: the lock is somebody else's anyway.
            if let node { self.delete(node, &ensemble) }
            return .busy(first: first)
        case .stepAside(let node):
            ensemble.folders.foundUsedUp(self.lock)
            self.delete(node, &ensemble)
            // It comes right after the node's, and is refused if anybody else is in the folder.
            ensemble.outbox.ask(.delete(path: self.lock), .nothing)
        case .look:
            // Without it a server that lags behind would show those who have left.
            ensemble.outbox.ask(.sync(path: self.lock), .nothing)
            self.ask(.getChildren(path: self.lock), .look, &ensemble)
        case .lookLater:
            // Somebody has come between a look and what followed from it.
            self.timers.arm(.backstop, .milliseconds(100...300), of: self.name.id, &ensemble.outbox)
        case .deleteFolder: self.ask(.delete(path: self.lock), .deleteFolder, &ensemble)
        case .standAside(let node, let isNews):
            if let node {
                self.watch(node, .watch(node), &ensemble)
            } else {
                // It fires when the folder is deleted, and not when somebody comes or goes.
                ensemble.watch(self.lock, by: self.name.id.attempt, self.question(.watchFolder))
            }
            return isNews ? .queued(ahead: nil) : .none
        case .gone: return .gone
        case .lost(let reason):
            // Whoever held it has been told. If it does not let go in the time of a lease, it is not waited for.
            if !self.isOver { self.timers.arm(.letGo, .exactly(ensemble.lease), of: self.name.id, &ensemble.outbox) }
            return .lost(reason)
        case .left(let wasHeld): return .left(wasHeld: wasHeld)
        case .failed(let code): return .failed(code)
        }
        return .none
    }

    private func question(_ question: Question) -> ZooKeeperMachine.Question {
        .claim(self.name.id, lock: self.lock, question)
    }

    private func ask(_ request: ZooKeeperRequest, _ question: Question, _ ensemble: inout Ensemble) {
        ensemble.outbox.ask(request, self.question(question))
    }

    private func watch(_ node: ContenderNode, _ question: Question, _ ensemble: inout Ensemble) {
        ensemble.watch(self.path(node), by: self.name.id.attempt, self.question(question))
    }

    private mutating func delete(_ node: ContenderNode, _ ensemble: inout Ensemble) {
        self.timers.stop(self.name.id, &ensemble.outbox)
        ensemble.stopWatching(self.name.id.attempt)
        let request = ZooKeeperRequest.delete(path: self.path(node))
        ensemble.outbox.write(
            Write(claim: self.name.id, lock: self.lock, request: request, isCreate: false), isKnown: true,
            canWait: self.leavesInOrder)
    }

    private mutating func grant(_ token: Int64, _ ensemble: inout Ensemble) -> News {
        guard let grant = ensemble.session.grant(token: token, now: ensemble.now) else {
            // The next write of the chain grants it.
            self.contender.validityGone()
            if token <= 0 {
                ensemble.outbox.add(.leaveServer("a transaction numbered \(token)", isRefusal: true))
            }
            return .none
        }
        self.timers.arm(.ownWatch, .exactly(Self.ownWatchDelay), of: self.name.id, &ensemble.outbox)
        return .granted(grant)
    }

    // MARK: Who has the claim

    /// The claim is given back. The node stays on the list of those that are to be deleted until it is gone.
    ///
    /// - Parameter isAwaited: whether somebody waits until it is gone.
    mutating func withdrawn(isAwaited: Bool, _ ensemble: inout Ensemble) -> News {
        if !isAwaited { self.leavesInOrder = true }
        let action = self.contender.withdrawn()
        switch action {
        // What it has to ask for that waits if it is postponed.
        case .seek where self.timers.isPostponed, .delete where self.timers.isPostponed: return .none
        default: return self.perform(action, &ensemble)
        }
    }

    /// Who has asked waits no longer. Who has no node has only looked, and what is answered to that comes too late.
    mutating func requestGivenUp() {
        if case .aside = self.contender.state { _ = self.contender.withdrawn() }
    }

    /// Nothing comes of it any more.
    mutating func forget(_ ensemble: inout Ensemble) {
        ensemble.stopWatching(self.name.id.attempt)
        self.timers.stop(self.name.id, &ensemble.outbox)
        self.timers.resumed(self.name.id, &ensemble.outbox)
    }

    // MARK: The session

    /// It is asked for first, if there is a session to ask with.
    mutating func begin(_ ensemble: inout Ensemble) -> News {
        guard case .idle = self.contender.state, ensemble.session.isOpen else { return .none }
        return self.perform(self.contender.attached(), &ensemble)
    }

    /// The session is attached, and can be used.
    mutating func attached(_ ensemble: inout Ensemble) -> News {
        if self.timers.postponed(self.name, in: self.contender.state, &ensemble.outbox) { return .none }
        return self.resume(&ensemble)
    }

    /// It was postponed for long enough.
    mutating func pauseEnded(_ ensemble: inout Ensemble) -> News {
        let isDue = self.timers.pauseEnded(in: self.contender.state, isOpen: ensemble.session.isOpen)
        return isDue ? self.resume(&ensemble) : .none
    }

    private mutating func resume(_ ensemble: inout Ensemble) -> News {
        self.timers.resumed(self.name.id, &ensemble.outbox)
        let action = self.contender.attached()
        if case .none = action { self.timers.hadNothingToAsk() }
        return self.perform(action, &ensemble)
    }

    /// The session is over, and the node with it.
    mutating func expired(_ ensemble: inout Ensemble) -> News {
        self.timers.stop(self.name.id, &ensemble.outbox)
        ensemble.stopWatching(self.name.id.attempt)
        return self.perform(self.contender.expired(), &ensemble)
    }

    /// The session can be relied on again.
    mutating func validityReturned(_ ensemble: inout Ensemble) -> News {
        self.perform(self.contender.validityReturned(), &ensemble)
    }

    mutating func timerFired(_ ensemble: inout Ensemble) -> News {
        switch self.timers.fired() {
        case nil: return .none
        case .retry: return self.perform(self.contender.retried(), &ensemble)
        case .ownWatch: return self.perform(self.contender.ownWatchDue(), &ensemble)
        case .backstop: return self.perform(self.contender.backstopFired(), &ensemble)
        case .letGo: return self.perform(self.contender.withdrawn(), &ensemble)
        }
    }

    private mutating func retry(after error: ZooKeeperError, _ ensemble: inout Ensemble) -> News {
        self.timers.retry(self.name, after: error, isOpen: ensemble.session.isOpen, &ensemble.outbox)
        return .none
    }

    // MARK: Answers

    /// Something happened to a node that is watched.
    mutating func watchFired(_ event: WatchEvent, _ ensemble: inout Ensemble) -> News {
        if let node = self.contender.node, self.path(node) == event.path {
            return self.perform(self.contender.ownFired(isDeleted: event.kind == .deleted), &ensemble)
        }
        if let node = self.contender.predecessor, self.path(node) == event.path {
            return self.perform(self.contender.predecessorFired(), &ensemble)
        }
        return self.lock == event.path ? self.perform(self.contender.folderFired(), &ensemble) : .none
    }

    /// The node was to be made or deleted, by itself or with others.
    mutating func written(_ write: Write, _ result: ReplyResult, _ ensemble: inout Ensemble) -> News {
        write.isCreate ? self.created(result, &ensemble) : self.deleted(result, &ensemble)
    }

    private mutating func created(_ result: ReplyResult, _ ensemble: inout Ensemble) -> News {
        switch result {
        case .success(let reply):
            guard let (node, czxid) = NodeCreation.made(reply.answer, by: ensemble.session.session) else {
                // It cannot be judged what was made, and for whom.
                return self.perform(self.contender.createFailed(.runtimeInconsistency), &ensemble)
            }
            return self.perform(self.contender.created(node, czxid: czxid, zxid: reply.zxid), &ensemble)
        case .failure(let error):
            switch error.code {
            case .refused(.noNode) where self.contender.parentsMissed():
                self.creation.askWithFolder(self.name, &ensemble)
                return .none
            case .refused(let code): return self.perform(self.contender.createFailed(code), &ensemble)
            case .notSent, .stopped: return self.perform(self.contender.notCreated(), &ensemble)
            case .outcomeUnknown, .unusableServer:
                return self.perform(self.contender.createFailed(nil), &ensemble)
            }
        }
    }

    private mutating func createdWithFolder(
        _ batch: WriteBatchID, _ result: ReplyResult, _ ensemble: inout Ensemble
    ) -> News {
        switch NodeCreation.folderAnswered(in: self.lock, result, &ensemble) {
        case .nothing: return .none
        case .made(let answer):
            return self.created(
                result.map { ZooKeeperReply(answer: answer, zxid: $0.zxid, sentAt: $0.sentAt) }, &ensemble)
        case .unanswered(let error): return self.created(.failure(error), &ensemble)
        case .folderIsThere:
            ensemble.outbox.failed(batch, lists: 1)
            return self.perform(self.contender.parentsMade(), &ensemble)
        case .parentsMissing(let paths):
            ensemble.outbox.failed(batch, lists: 1)
            let parents = ParentsMachine(paths, chroot: ensemble.paths.chrootNodes)
            _ = ensemble.outbox.make(parents, access: ensemble.access, for: .claim(self.name.id))
            return .none
        }
    }

    /// What the node stands under was made, or not.
    mutating func parentsMade(_ error: ZooKeeperError?, _ ensemble: inout Ensemble) -> News {
        switch error?.code {
        case nil: self.perform(self.contender.parentsMade(), &ensemble)
        case .refused(let code)?: self.perform(self.contender.createFailed(code), &ensemble)
        case .notSent?, .outcomeUnknown?, .unusableServer?, .stopped?:
            self.perform(self.contender.notCreated(), &ensemble)
        }
    }

    private mutating func deleted(_ result: ReplyResult, _ ensemble: inout Ensemble) -> News {
        guard case .failure(let error) = result else { return self.perform(self.contender.deleted(.done), &ensemble) }
        let outcome: ContenderStateMachine.DeleteResult =
            switch error.code {
            case .refused(.noNode): .noNode
            case .refused(let code): .refused(code)
            case .notSent, .stopped: .notSent
            case .outcomeUnknown, .unusableServer: .unsure
            }
        let news = self.perform(self.contender.deleted(outcome), &ensemble)
        if self.isDeleting { _ = self.retry(after: error, &ensemble) }
        return news
    }

    /// The contenders were listed, after the node was made or somebody before it has gone.
    mutating func listed(_ list: ContenderList, _ ensemble: inout Ensemble) -> News {
        switch list {
        case .contenders(let nodes, let stat):
            let isValid = ensemble.mayGrant
            return self.perform(self.contender.listed(nodes, pzxid: stat.pzxid, isValid: isValid), &ensemble)
        case .noFolder: return self.perform(self.contender.parentGone(), &ensemble)
        case .failed(let error): return self.retry(after: error, &ensemble)
        case .unreadable: return .none
        }
    }

    /// The folder was looked into.
    mutating func looked(_ list: ContenderList, _ ensemble: inout Ensemble) -> News {
        switch list {
        case .contenders(let nodes, _):
            return self.perform(self.contender.looked(nodes, isUsedUp: list.isUsedUp), &ensemble)
        case .noFolder:
            self.creation.foundNoFolder()
            return self.perform(self.contender.looked(nil, isUsedUp: false), &ensemble)
        case .failed(let error): return self.retry(after: error, &ensemble)
        case .unreadable: return .none
        }
    }

    /// Something else that was asked for it is answered.
    mutating func answered(_ question: Question, _ result: ReplyResult, _ ensemble: inout Ensemble) -> News {
        if case .createWithFolder(let batch) = question { return self.createdWithFolder(batch, result, &ensemble) }
        var answer: ZooKeeperAnswer?
        switch result {
        case .success(let reply): answer = reply.answer
        // That it is not there, or that somebody is in it, is an answer, too.
        case .failure(let error) where error.serverCode == .noNode: break
        case .failure(let error) where error.serverCode == .notEmpty && question == .deleteFolder:
            return self.perform(self.contender.folderDeleted(isGone: false), &ensemble)
        case .failure(let error): return self.retry(after: error, &ensemble)
        }
        switch question {
        case .createWithFolder, .list, .look: return .none
        case .seek(let uuid): return self.sought(uuid, answer, &ensemble)
        case .inspect(let node):
            let stat = answer?.nodeStat
            let isMine = stat != nil && stat?.ephemeralOwner == ensemble.session.session?.id
            return self.perform(self.contender.inspected(node, czxid: isMine ? stat?.czxid : nil), &ensemble)
        case .identify:
            let isValid = ensemble.mayGrant
            return self.perform(self.contender.identified(answer?.nodeStat?.czxid, isValid: isValid), &ensemble)
        case .watch(let predecessor):
            if self.contender.isNext, let data = answer?.bytes.flatMap({ ContenderData(bytes: $0) }) {
                ensemble.outbox.add(.tell(.held(self.name.id.attempt, by: data.metadata)))
            }
            let news = self.perform(self.contender.watchSet(on: predecessor, isThere: answer != nil), &ensemble)
            if answer != nil { self.timers.arm(.backstop, .exactly(Self.backstop), of: self.name.id, &ensemble.outbox) }
            return news
        case .watchOwn:
            let data = answer?.bytes.flatMap { ContenderData(bytes: $0) }
            return self.perform(self.contender.ownRead(data, isThere: answer != nil), &ensemble)
        case .watchFolder:
            guard answer != nil else { return self.perform(self.contender.folderDeleted(isGone: true), &ensemble) }
            // Who is in there may leave without deleting it.
            self.timers.arm(.backstop, .milliseconds(1_000...2_000), of: self.name.id, &ensemble.outbox)
            return .none
        case .deleteFolder:
            if answer != nil { self.creation.foundNoFolder() }
            return self.perform(self.contender.folderDeleted(isGone: true), &ensemble)
        }
    }

    /// A node whose making was not confirmed was looked for. Asked twice, the claim may have made another node before the second
    /// answer comes.
    private mutating func sought(_ uuid: String, _ answer: ZooKeeperAnswer?, _ ensemble: inout Ensemble) -> News {
        let found = answer?.names?.lazy.map { ContenderNode(name: $0) }.first { $0.uuid == uuid }
        if found == nil { ensemble.expectGhost(uuid, of: self.lock) }
        return self.perform(self.contender.sought(found), &ensemble)
    }
}
