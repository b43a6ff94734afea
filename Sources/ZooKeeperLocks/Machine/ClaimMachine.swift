import DistributedLocks
import LockKernel

/// One claim: its node, and who waits for an answer about it.
///
/// States: those of its ``NodeMachine``. Beside them: at most one call *waits for the answer to a request*, and any number *wait for
/// the claim to be given back*. A request is answered once: with what is known when the node is held or waits, or with why that
/// is not known. What comes to be known when nobody waits for it is told to the client as news. Pure.
struct ClaimMachine {
    typealias Answer = ZooKeeperMachine.Answer
    typealias Failure = ZooKeeperMachine.Failure

    /// What becomes of the claim.
    enum Fate: Equatable {
        case stays
        case isOver
        /// Its node is gone, and nothing has been promised to who waits for an answer.
        case beginsAgain(CallID)
        /// It wants to see the contenders of its lock.
        case wantsList
    }

    private(set) var node: NodeMachine
    private var call: CallID?
    private var leaving: [CallID] = []

    init(_ node: NodeMachine) {
        self.node = node
    }

    private var attempt: AttemptID { self.node.name.id.attempt }

    /// Nothing was asked for it, and somebody waits for an answer.
    var isUnasked: Bool { self.node.isUnknown && self.call != nil }

    /// Something happened to the node; or to what it waits for, holds or does not know.
    mutating func change(
        _ ensemble: inout Ensemble, _ event: (inout NodeMachine, inout Ensemble) -> NodeMachine.News
    ) -> Fate {
        self.heard(event(&self.node, &ensemble), &ensemble)
    }

    /// Something that was asked for the claim of this name is answered, or its time has come.
    mutating func change(
        _ id: ClaimID, _ ensemble: inout Ensemble, _ event: (inout NodeMachine, inout Ensemble) -> NodeMachine.News
    ) -> Fate {
        self.node.name.id == id ? self.change(&ensemble, event) : .stays
    }

    private mutating func heard(_ news: NodeMachine.News, _ ensemble: inout Ensemble) -> Fate {
        switch news {
        case .none: return .stays
        case .wantsList: return .wantsList
        case .granted(let grant):
            if self.call != nil {
                self.answer(.granted(grant), &ensemble)
            } else {
                ensemble.outbox.add(.tell(.granted(self.attempt, grant)))
            }
            return .stays
        case .queued(let ahead):
            self.answer(.queued(waitersAhead: ahead), &ensemble)
            return .stays
        case .busy(let first): return self.busy(first, &ensemble)
        case .gone: return self.gone(&ensemble)
        case .lost(let reason):
            if self.node.isOver { self.forget(&ensemble) }
            ensemble.outbox.add(.tell(.lost(self.attempt, reason)))
            return self.node.isOver ? .isOver : .stays
        case .left(let wasHeld):
            self.forget(&ensemble)
            self.left(.left(wasHeld: wasHeld), &ensemble)
            return .isOver
        case .failed(let code): return self.failed(code, &ensemble)
        }
    }

    /// Who has asked is told who holds the lock, once that was read.
    private mutating func busy(_ first: ContenderNode, _ ensemble: inout Ensemble) -> Fate {
        ensemble.outbox.add(.cancel(.request(self.attempt)))
        ensemble.outbox.ask(
            .getData(path: self.node.name.lock + "/" + first.name), .holder(self.call, lock: self.node.name.lock))
        self.call = nil
        guard self.node.isOver else { return .stays }
        self.forget(&ensemble)
        return .isOver
    }

    private mutating func gone(_ ensemble: inout Ensemble) -> Fate {
        if let call {
            // Nothing was promised yet. Its time goes on.
            self.call = nil
            self.forget(&ensemble)
            return .beginsAgain(call)
        }
        self.forget(&ensemble)
        ensemble.outbox.add(.tell(.gone(self.attempt)))
        return .isOver
    }

    private mutating func failed(_ code: ZooKeeperCode, _ ensemble: inout Ensemble) -> Fate {
        let error = ZooKeeperError(.refused(code), "the ensemble answered \(code) for \(self.node.name.lock)")
        let failure = Failure(error)
        ensemble.outbox.add(.note(.refused(lock: self.node.name.claim.name.rawValue, code)))
        self.left(.failed(failure), &ensemble)
        let wasAsked = self.call != nil
        self.answer(.failed(failure), &ensemble)
        guard self.node.isOver, wasAsked || self.node.isQueued else { return .stays }
        self.forget(&ensemble)
        if !wasAsked { ensemble.outbox.add(.tell(.gone(self.attempt))) }
        return .isOver
    }

    // MARK: Who asks

    /// Somebody asks for the lock.
    ///
    /// - Parameter patience: how long who asks waits for an answer.
    mutating func requested(_ call: CallID, patience: Duration, _ ensemble: inout Ensemble) -> Fate {
        // A caller asks again only when it has given its first question up.
        self.answer(.failed(Failure(.outcomeUnknown, "asked again")), &ensemble)
        self.call = call
        if self.answerAgain(&ensemble) { return .stays }
        ensemble.outbox.add(.start(.request(self.attempt), .exactly(patience)))
        return self.change(&ensemble) { $0.begin(&$1) }
    }

    /// It takes the place of a claim whose node has gone before anything was promised to this call, whose time goes on.
    mutating func beganAgain(_ call: CallID, _ ensemble: inout Ensemble) -> Fate {
        self.call = call
        return self.change(&ensemble) { $0.begin(&$1) }
    }

    /// What is known already is told at once.
    private mutating func answerAgain(_ ensemble: inout Ensemble) -> Bool {
        switch self.node.state {
        case .holding(_, let czxid):
            guard let grant = ensemble.session.grant(token: czxid, now: ensemble.now) else { return false }
            self.answer(.granted(grant), &ensemble)
            return true
        case .placed where self.node.isQueued, .aside where self.node.isQueued:
            self.answer(.queued(waitersAhead: nil), &ensemble)
            return true
        case .idle, .creating, .unsure, .placed, .first, .steppingAside, .aside, .leaving, .over:
            return false
        }
    }

    /// Who has asked waits no longer.
    ///
    /// - Parameter reason: of the silence.
    mutating func requestGivenUp(isCancelled: Bool, reason: String, _ ensemble: inout Ensemble) -> Fate {
        if self.call == nil { return .stays }
        self.node.requestGivenUp()
        guard self.node.isUnknown else {
            self.answer(.failed(Failure(.outcomeUnknown, reason)), &ensemble)
            return .stays
        }
        let failure =
            isCancelled ? Failure(.cancelled, "cancelled before it was sent") : Failure(.unreachable, reason)
        self.refused(failure, &ensemble)
        return .isOver
    }

    /// The claim is given back.
    ///
    /// - Parameter call: who waits for the answer, for so long; `nil`: nobody does.
    mutating func withdrawn(_ call: CallID?, patience: Duration, _ ensemble: inout Ensemble) -> Fate {
        if let call {
            self.answer(.failed(Failure(.outcomeUnknown, "taken back")), &ensemble)
            if self.leaving.isEmpty { ensemble.outbox.add(.start(.leave(self.attempt), .exactly(patience))) }
            self.leaving.append(call)
        }
        return self.change(&ensemble) { $0.withdrawn(isAwaited: call != nil, &$1) }
    }

    /// Those who wait for the claim to be given back wait no longer. The node stays on the list of those that are to be deleted.
    mutating func leaveTimedOut(reason: String, _ ensemble: inout Ensemble) {
        self.left(.failed(Failure(.outcomeUnknown, reason)), &ensemble)
    }

    // MARK: The session

    /// The session is over, and the node with it.
    mutating func expired(_ ensemble: inout Ensemble) -> Fate {
        let fate = self.change(&ensemble) { $0.expired(&$1) }
        guard fate == .stays else { return fate }
        if self.node.isOver { self.forget(&ensemble) }
        // Asked again, it is granted by the next session; what was lost with this one is not held against that.
        self.answer(.failed(Failure(.outcomeUnknown, "the session has expired")), &ensemble)
        return self.node.isOver ? .isOver : .stays
    }

    /// Nothing will come of the claim, of which the ensemble knows nothing.
    mutating func refused(_ failure: Failure, _ ensemble: inout Ensemble) {
        self.answer(.failed(failure), &ensemble)
        self.forget(&ensemble)
    }

    /// Nobody must wait for ever when the backend ends.
    mutating func stopped(_ failure: Failure, _ ensemble: inout Ensemble) {
        self.answer(.failed(failure), &ensemble)
        self.left(.failed(failure), &ensemble)
        self.forget(&ensemble)
    }

    // MARK: Answers

    private mutating func answer(_ answer: Answer, _ ensemble: inout Ensemble) {
        guard let call = self.call else { return }
        self.call = nil
        ensemble.outbox.add(.cancel(.request(self.attempt)))
        ensemble.outbox.add(.answer(call, answer))
    }

    private mutating func left(_ answer: Answer, _ ensemble: inout Ensemble) {
        if self.leaving.isEmpty { return }
        ensemble.outbox.add(.cancel(.leave(self.attempt)))
        for call in self.leaving { ensemble.outbox.add(.answer(call, answer)) }
        self.leaving = []
    }

    private mutating func forget(_ ensemble: inout Ensemble) {
        // Nobody must wait for what is over.
        self.answer(.failed(Failure(.outcomeUnknown, "the claim is over")), &ensemble)
        self.node.forget(&ensemble)
    }
}
