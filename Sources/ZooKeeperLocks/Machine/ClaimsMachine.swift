import DistributedLocks
import LockKernel

/// All claims of a client, each under the name of its attempt.
///
/// States: a claim is *known* from its request until it is over; one that begins again is another one in its place, so that what
/// was asked for the first one does not concern it. Beside them: for which locks a list of the contenders is asked at the end of
/// this turn of the event loop, so that many who lose their predecessors at once look at the same one. Pure.
struct ClaimsMachine {
    typealias Failure = ZooKeeperMachine.Failure
    typealias ReplyResult = Result<ZooKeeperReply, ZooKeeperError>

    private let requestTimeout: Duration
    private var claims: [AttemptID: ClaimMachine] = [:]
    private var lastBeginning: UInt32 = 0
    /// Who wants to see the contenders of a lock.
    private var listing: [String: [ClaimID]] = [:]

    init(requestTimeout: Duration) {
        self.requestTimeout = requestTimeout
    }

    /// The locks in whose folders somebody is, or will be.
    func locksInUse() -> Set<String> {
        Set(self.claims.values.lazy.filter { !$0.node.isOver }.map(\.node.name.lock))
    }

    /// The locks in whose folders somebody stays, if all that is being deleted is.
    func locksKept() -> Set<String> {
        Set(self.claims.values.lazy.filter { !$0.node.isDeleting }.map(\.node.name.lock))
    }

    // MARK: One claim

    private mutating func change(
        _ attempt: AttemptID, _ ensemble: inout Ensemble,
        _ event: (inout ClaimMachine, inout Ensemble) -> ClaimMachine.Fate
    ) {
        guard let index = self.claims.index(forKey: attempt) else { return }
        self.follow(event(&self.claims.values[index], &ensemble), index, &ensemble)
    }

    private mutating func change(
        _ id: ClaimID, _ ensemble: inout Ensemble,
        _ event: (inout NodeMachine, inout Ensemble) -> NodeMachine.News
    ) {
        guard let index = self.claims.index(forKey: id.attempt) else { return }
        self.follow(self.claims.values[index].change(id, &ensemble, event), index, &ensemble)
    }

    private mutating func follow(
        _ fate: ClaimMachine.Fate, _ index: Dictionary<AttemptID, ClaimMachine>.Index, _ ensemble: inout Ensemble
    ) {
        switch fate {
        case .stays: break
        case .isOver: self.claims.remove(at: index)
        case .wantsList:
            let name = self.claims.values[index].node.name
            self.listing[name.lock, default: []].append(name.id)
            if self.listing[name.lock]?.count == 1 { ensemble.outbox.add(.awaitEnd(of: .list(lock: name.lock))) }
        case .beginsAgain(let call):
            let node = self.claims.values[index].node
            self.make(node.name.claim, lock: node.name.lock, joinsQueue: node.joinsQueue, &ensemble) {
                $0.beganAgain(call, &$1)
            }
        }
    }

    /// A claim begins.
    private mutating func make(
        _ claim: LockClaim, lock: String, joinsQueue: Bool, _ ensemble: inout Ensemble,
        _ event: (inout ClaimMachine, inout Ensemble) -> ClaimMachine.Fate
    ) {
        self.lastBeginning &+= 1
        let id = ClaimID(attempt: claim.attempt, beginning: self.lastBeginning)
        let node = NodeMachine(
            ClaimIdentity(id: id, claim: claim, lock: lock), joinsQueue: joinsQueue,
            looksFirst: ensemble.folders.isWorthALook(lock, joinsQueue: joinsQueue))
        var machine = ClaimMachine(node)
        let fate = event(&machine, &ensemble)
        precondition(fate == .stays, "a claim that has just begun is \(fate)")
        self.claims[claim.attempt] = machine
    }

    /// For each of them, in the order in which they began; leaves out those that are gone by their turn.
    private mutating func changeAll(
        where isMeant: (ClaimMachine) -> Bool = { _ in true }, _ ensemble: inout Ensemble,
        _ event: (inout ClaimMachine, inout Ensemble) -> ClaimMachine.Fate
    ) {
        let meant = self.claims.compactMap { isMeant($0.value) ? $0.key : nil }.sorted()
        for attempt in meant { self.change(attempt, &ensemble, event) }
    }

    // MARK: Calls

    mutating func requested(_ request: AcquireRequest, _ call: CallID, _ ensemble: inout Ensemble) {
        let claim = request.claim
        if let failure = ensemble.session.objection(toLease: claim.lease) {
            return ensemble.outbox.add(.answer(call, .failed(failure)))
        }
        let isOpen = ensemble.session.isOpen
        if !isOpen, let refusal = ensemble.session.refusal {
            return ensemble.outbox.add(.answer(call, .failed(Failure(refusal))))
        }
        let patience = self.patience(for: request, isOpen: isOpen, now: ensemble.now)
        if let index = self.claims.index(forKey: claim.attempt), !self.claims.values[index].node.isOver {
            self.follow(self.claims.values[index].requested(call, patience: patience, &ensemble), index, &ensemble)
        } else {
            let lock = ensemble.paths.lock(claim.name)
            self.make(claim, lock: lock, joinsQueue: request.joinsQueue, &ensemble) {
                $0.requested(call, patience: patience, &$1)
            }
        }
    }

    /// A little less than the caller's own deadline leaves, so that it hears why. Where nothing is connected the rest of the time
    /// is worth less than the reason.
    private func patience(for request: AcquireRequest, isOpen: Bool, now: BootInstant) -> Duration {
        guard let deadline = request.latest else { return max(self.requestTimeout, .zero) }
        let margin = isOpen ? Duration.milliseconds(100) : .milliseconds(250)
        let left = now.duration(to: deadline)
        return max(min(self.requestTimeout, left - min(left / 4, margin)), .zero)
    }

    mutating func requestGivenUp(_ attempt: AttemptID, isCancelled: Bool, reason: String, _ ensemble: inout Ensemble) {
        self.change(attempt, &ensemble) { $0.requestGivenUp(isCancelled: isCancelled, reason: reason, &$1) }
    }

    mutating func withdrawn(_ attempt: AttemptID, _ call: CallID?, _ ensemble: inout Ensemble) {
        guard let index = self.claims.index(forKey: attempt) else {
            if let call { ensemble.outbox.add(.answer(call, .left(wasHeld: false))) }
            return
        }
        let patience = self.requestTimeout
        self.follow(self.claims.values[index].withdrawn(call, patience: patience, &ensemble), index, &ensemble)
    }

    mutating func leaveTimedOut(_ attempt: AttemptID, reason: String, _ ensemble: inout Ensemble) {
        self.change(attempt, &ensemble) {
            $0.leaveTimedOut(reason: reason, &$1)
            return .stays
        }
    }

    // MARK: Time

    mutating func timerFired(_ id: ClaimID, _ ensemble: inout Ensemble) {
        self.change(id, &ensemble) { $0.timerFired(&$1) }
    }

    mutating func pauseEnded(_ id: ClaimID, _ ensemble: inout Ensemble) {
        self.change(id, &ensemble) { $0.pauseEnded(&$1) }
    }

    mutating func turnEnded(_ lock: String, _ ensemble: inout Ensemble) {
        guard let claims = self.listing.removeValue(forKey: lock) else { return }
        ensemble.outbox.ask(.getChildren(path: lock), .list(lock: lock, claims))
    }

    // MARK: Answers

    /// One create or delete that left by itself.
    mutating func answered(_ write: Write, _ result: ReplyResult, _ ensemble: inout Ensemble) {
        if write.isCreate {
            switch result {
            case .success: ensemble.noteFolder(write.lock, isThere: true)
            case .failure(let error): if error.serverCode == .noNode { ensemble.folders.missed(write.lock) }
            }
        }
        self.change(write.claim, &ensemble) { $0.written(write, result, &$1) }
    }

    /// Creates and deletes that left as one transaction.
    mutating func answered(
        _ group: [Write], _ batch: WriteBatchID, _ result: ReplyResult, _ ensemble: inout Ensemble
    ) {
        switch result {
        case .success(let reply):
            guard case .multi(let parts) = reply.answer, parts.count == group.count,
                let answers = ZooKeeperAnswer.answers(of: parts)
            else { return ensemble.outbox.sendAgain(group, after: batch) }
            for (write, answer) in zip(group, answers) {
                let part = ZooKeeperReply(answer: answer, zxid: reply.zxid, sentAt: reply.sentAt)
                self.change(write.claim, &ensemble) { $0.written(write, .success(part), &$1) }
            }
        case .failure(let error) where error.serverCode != nil:
            ensemble.outbox.sendAgain(group, after: batch)
        case .failure:
            self.notWritten(group, result, &ensemble)
        }
    }

    /// What was to be written was not sent, or will have no answer.
    mutating func notWritten(_ group: [Write], _ result: ReplyResult, _ ensemble: inout Ensemble) {
        for write in group { self.change(write.claim, &ensemble) { $0.written(write, result, &$1) } }
    }

    /// Something that was asked for one claim.
    mutating func answered(
        _ id: ClaimID, _ lock: String, _ question: ZooKeeperMachine.ClaimQuestion, _ result: ReplyResult,
        _ ensemble: inout Ensemble
    ) {
        switch question {
        case .list(let batch):
            if ensemble.outbox.isWorthless(with: batch) { return }
            let list = self.list(of: lock, result, &ensemble)
            self.change(id, &ensemble) { $0.listed(list, &$1) }
        case .look:
            let list = self.list(of: lock, result, &ensemble)
            if !list.isUsedUp { ensemble.folders.foundNotUsedUp(lock) }
            self.change(id, &ensemble) { $0.looked(list, &$1) }
        case .createWithFolder, .seek, .inspect, .identify, .watch, .watchOwn, .watchFolder, .deleteFolder:
            self.change(id, &ensemble) { $0.answered(question, result, &$1) }
        }
    }

    /// The contenders of a lock, for those who wanted to see them in one turn.
    mutating func listed(_ lock: String, _ claims: [ClaimID], _ result: ReplyResult, _ ensemble: inout Ensemble) {
        let list = self.list(of: lock, result, &ensemble)
        for id in claims { self.change(id, &ensemble) { $0.listed(list, &$1) } }
    }

    /// Nodes that nobody has a use for are left out, and deleted.
    private func list(of lock: String, _ result: ReplyResult, _ ensemble: inout Ensemble) -> ContenderList {
        let list = ContenderList(result)
        guard case .contenders(let nodes, let stat) = list else { return list }
        return .contenders(self.withoutGhosts(nodes, of: lock, &ensemble), stat)
    }

    func withoutGhosts(_ nodes: [ContenderNode], of lock: String, _ ensemble: inout Ensemble) -> [ContenderNode] {
        let maker = ensemble.creations.maker
        return ensemble.seen(nodes, of: lock) { node in
            // This client has made it, and none of its claims knows it: it came when nobody looked for it any more.
            guard let attempt = maker.attempt(of: node) else { return false }
            return self.claims[attempt]?.node.isStray(node) ?? true
        }
    }

    mutating func parentsMade(_ id: ClaimID, _ error: ZooKeeperError?, _ ensemble: inout Ensemble) {
        self.change(id, &ensemble) { $0.parentsMade(error, &$1) }
    }

    mutating func watchFired(_ event: WatchEvent, _ ensemble: inout Ensemble) {
        for attempt in ensemble.watches.fired(event.path) {
            self.change(attempt, &ensemble) { claim, ensemble in claim.change(&ensemble) { $0.watchFired(event, &$1) } }
        }
    }

    // MARK: The session

    /// A session was made, and these came before it was known what they would get.
    mutating func refuseShortLeases(_ ensemble: inout Ensemble) {
        self.changeAll(where: \.isUnasked, &ensemble) { claim, ensemble in
            guard let failure = ensemble.session.objection(toLease: claim.node.name.claim.lease) else { return .stays }
            claim.refused(failure, &ensemble)
            return .isOver
        }
    }

    /// The ensemble refuses to be used. Such things are put right while clients run, so attempts go on; but nobody waits for that.
    mutating func refused(_ error: ZooKeeperError, _ ensemble: inout Ensemble) {
        self.changeAll(where: \.isUnasked, &ensemble) {
            $0.refused(Failure(error), &$1)
            return .isOver
        }
    }

    /// The session is attached, and can be used. Those that leave go first: nobody waits for its own former claim.
    mutating func attached(_ ensemble: inout Ensemble) {
        for isLeaving in [true, false] {
            self.changeAll(where: { $0.isLeaving == isLeaving }, &ensemble) { claim, ensemble in
                claim.change(&ensemble) { $0.attached(&$1) }
            }
        }
    }

    mutating func expired(_ ensemble: inout Ensemble) {
        self.changeAll(&ensemble) { $0.expired(&$1) }
    }

    /// The session can be relied on again, or for longer.
    mutating func validityReturned(_ ensemble: inout Ensemble) {
        self.changeAll(where: \.isFirst, &ensemble) { claim, ensemble in
            claim.change(&ensemble) { $0.validityReturned(&$1) }
        }
    }

    mutating func stopped(_ failure: Failure, _ ensemble: inout Ensemble) {
        self.changeAll(&ensemble) {
            $0.stopped(failure, &$1)
            return .isOver
        }
    }
}

extension ClaimMachine {
    fileprivate var isLeaving: Bool { if case .leaving = self.node.state { true } else { false } }
    fileprivate var isFirst: Bool { if case .first = self.node.state { true } else { false } }
}
