import LockKernel

/// What became of an attempt.
enum AttemptEnd: Sendable {
    case finished(AcquireStateMachine.Outcome)
    case startAnew
}

/// The attempts that are under way, and who waits for them.
///
/// States of an attempt: see ``AcquireStateMachine``. One that has an end stays here until its caller has come to see that, in one
/// step with what follows: a client that stops in between must see that something is left to do, and a grant may be lost in between.
struct AttemptTable<Waiter: Sendable>: Sendable {
    private struct Entry: Sendable {
        let claim: LockClaim
        var machine: AcquireStateMachine
        /// What it is set to in ``AttemptTable/deadlines``; `nil` if it is not there.
        var deadline: BootInstant?
        /// Whoever takes it out resumes it.
        var waiter: Waiter?
        /// What happened before the waiter was there.
        var end: AttemptEnd?
        /// A grant came when it was over.
        var isStray = false
    }

    private var entries: [AttemptID: Entry] = [:]
    private var deadlines = Deadlines()

    var isEmpty: Bool { self.entries.isEmpty }
    var count: Int { self.entries.count }
    /// How many callers wait in a queue and know it.
    var queuedCount: Int { self.entries.values.count { $0.machine.isQueued } }
    /// The earliest first.
    var ids: [AttemptID] { self.entries.keys.sorted() }

    /// - Parameters:
    ///   - latest: when an exchange must have been answered.
    ///   - deadline: when the caller's time is over.
    mutating func began(_ claim: LockClaim, latest: BootInstant?, deadline: BootInstant?) {
        self.entries[claim.attempt] = Entry(
            claim: claim, machine: AcquireStateMachine(latest: latest), deadline: deadline)
        if let deadline { self.deadlines.set(claim.attempt, to: deadline) }
    }

    mutating func replyArrived(_ reply: AcquireReply, for attempt: AttemptID) -> AcquireStateMachine.ReplyAction {
        guard let index = self.entries.index(forKey: attempt) else { preconditionFailure("a reply for nobody") }
        let action = self.entries.values[index].machine.replyArrived(reply)
        switch action {
        case .finish, .startAnew: self.forgetDeadline(of: attempt, at: index)
        case .wait, .withdraw: break
        }
        return action
    }

    mutating func requestFailed(
        _ error: LockError, for attempt: AttemptID, now: BootInstant, jitter: Double
    ) -> AcquireStateMachine.FailureAction {
        guard let index = self.entries.index(forKey: attempt) else { preconditionFailure("a failure for nobody") }
        let action = self.entries.values[index].machine.requestFailed(error, now: now, jitter: jitter)
        switch action {
        case .finish: self.forgetDeadline(of: attempt, at: index)
        case .retry, .withdraw: break
        }
        return action
    }

    /// The pause before a request is repeated is over. False if the attempt has an end by now.
    mutating func retryStarted(_ attempt: AttemptID) -> Bool {
        guard let index = self.entries.index(forKey: attempt) else { return false }
        return self.entries.values[index].machine.retryStarted()
    }

    /// Something happened to an attempt beside its requests: the backend says so, or its caller was cancelled, or its time is over.
    ///
    /// - Returns: who is resumed with what.
    mutating func happened(
        to attempt: AttemptID, _ event: (inout AcquireStateMachine) -> AcquireStateMachine.EventAction
    ) -> (waiter: Waiter, end: AttemptEnd)? {
        guard let index = self.entries.index(forKey: attempt) else { return nil }
        let end: AttemptEnd
        switch event(&self.entries.values[index].machine) {
        case .none: return nil
        case .withdraw:
            // The attempt is over, and its caller has not come to see that yet. It takes the claim back when it does.
            self.entries.values[index].isStray = true
            return nil
        case .finish(let outcome): end = .finished(outcome)
        case .startAnew: end = .startAnew
        }
        self.entries.values[index].end = end
        self.forgetDeadline(of: attempt, at: index)
        return self.entries.values[index].waiter.take().map { ($0, end) }
    }

    /// The store told who holds the lock. Returns the claim if that is news to who waits.
    mutating func held(_ attempt: AttemptID, by holders: [OwnerMetadata]) -> LockClaim? {
        guard let index = self.entries.index(forKey: attempt), self.entries.values[index].machine.held(by: holders)
        else { return nil }
        return self.entries.values[index].claim
    }

    /// Who holds the lock, as was heard last.
    func holders(of attempt: AttemptID) -> [OwnerMetadata] { self.entries[attempt]?.machine.holders ?? [] }

    /// The end of an attempt that was seen elsewhere than in its request.
    func end(of attempt: AttemptID) -> AttemptEnd? { self.entries[attempt]?.end }

    /// Somebody waits for the end of an attempt. Returns that if it is there; then nobody is resumed.
    mutating func endAwaited(_ attempt: AttemptID, by waiter: Waiter) -> AttemptEnd? {
        // Whoever waits is who began it, and has not come to see its end yet.
        guard let index = self.entries.index(forKey: attempt) else { preconditionFailure("nobody's end is waited for") }
        if let end = self.entries.values[index].end { return end }
        self.entries.values[index].waiter = waiter
        return nil
    }

    mutating func endNoLongerAwaited(_ attempt: AttemptID) -> Waiter? {
        guard let index = self.entries.index(forKey: attempt) else { return nil }
        return self.entries.values[index].waiter.take()
    }

    /// Whether a grant came when it was over.
    func isStray(_ attempt: AttemptID) -> Bool { self.entries[attempt]?.isStray ?? false }

    /// Its caller has come to see its end.
    mutating func removed(_ attempt: AttemptID) {
        guard let deadline = self.entries.removeValue(forKey: attempt)?.deadline else { return }
        self.deadlines.remove(attempt, at: deadline)
    }

    /// Why the grant of an attempt is lost already, although nobody has taken it yet.
    func loss(of attempt: AttemptID) -> LockError.LossReason? {
        guard let index = self.entries.index(forKey: attempt) else { return nil }
        return self.entries.values[index].machine.loss
    }

    /// The grant of an attempt that nobody has taken yet is lost, if there is one.
    mutating func lost(_ attempt: AttemptID, _ reason: LockError.LossReason) {
        guard let index = self.entries.index(forKey: attempt) else { return }
        self.entries.values[index].machine.lost(reason)
    }

    mutating func allLost(_ reason: LockError.LossReason) {
        for index in self.entries.indices { self.entries.values[index].machine.lost(reason) }
    }

    mutating func nextDeadline() -> BootInstant? { self.deadlines.next() }

    /// Whose time is over: ``happened(to:_:)`` follows.
    mutating func popDue(at now: BootInstant) -> [AttemptID] { self.deadlines.popDue(at: now) }

    /// An attempt that has an end does not time out.
    private mutating func forgetDeadline(of attempt: AttemptID, at index: Dictionary<AttemptID, Entry>.Index) {
        guard let deadline = self.entries.values[index].deadline.take() else { return }
        self.deadlines.remove(attempt, at: deadline)
    }
}
