import LockKernel

/// What becomes of the attempts that are under way.
extension LockClient.State {
    @discardableResult
    mutating func removeAttempt(_ attempt: AttemptID) -> Attempt? {
        guard let entry = self.attempts.removeValue(forKey: attempt) else { return nil }
        self.forget(entry.deadline, of: attempt)
        return entry
    }

    /// Why the grant of an attempt is lost already, although nobody has taken it yet.
    func loss(of attempt: AttemptID) -> LockError.LossReason? {
        guard let index = self.attempts.index(forKey: attempt) else { return nil }
        return self.attempts.values[index].machine.loss
    }

    /// The attempt has an end: its deadline does not matter any more.
    private mutating func forget(_ deadline: BootInstant?, of attempt: AttemptID) {
        if let deadline { self.attemptDeadlines.remove(attempt, at: deadline) }
    }

    mutating func replyArrived(_ reply: AcquireReply, for attempt: AttemptID) -> AcquireStateMachine.ReplyAction {
        guard let index = self.attempts.index(forKey: attempt) else { preconditionFailure("a reply for nobody") }
        let action = self.attempts.values[index].machine.replyArrived(reply)
        switch action {
        case .finish, .startAnew: self.forget(self.attempts.values[index].deadline.take(), of: attempt)
        case .wait, .withdraw: break
        }
        return action
    }

    mutating func requestFailed(
        _ error: LockError,
        for attempt: AttemptID,
        now: BootInstant,
        jitter: Double
    ) -> AcquireStateMachine.FailureAction {
        guard let index = self.attempts.index(forKey: attempt) else { preconditionFailure("a failure for nobody") }
        let action = self.attempts.values[index].machine.requestFailed(error, now: now, jitter: jitter)
        switch action {
        case .finish: self.forget(self.attempts.values[index].deadline.take(), of: attempt)
        case .retry, .withdraw: break
        }
        return action
    }

    /// Feeds an event into an attempt. Returns whom to wake with what.
    mutating func feed(
        _ attempt: AttemptID,
        _ event: (inout AcquireStateMachine) -> AcquireStateMachine.EventAction
    ) -> (waiter: WaitContinuation<WaitEnd?>?, end: WaitEnd?) {
        guard var entry = self.attempts[attempt] else { return (nil, nil) }
        let action = event(&entry.machine)
        switch action {
        case .none:
            self.attempts[attempt] = entry
            return (nil, nil)
        case .withdraw:
            // The attempt is over, and its caller has not come to see that yet. It takes the claim back when it does.
            entry.isStray = true
            self.attempts[attempt] = entry
            return (nil, nil)
        case .finish(let outcome):
            entry.end = .finished(outcome)
        case .startAnew:
            entry.end = .startAnew
        }
        let waiter = entry.waiter
        entry.waiter = nil
        self.forget(entry.deadline.take(), of: attempt)
        self.attempts[attempt] = entry
        return (waiter, entry.end)
    }
}
