import LockKernel

/// Decides what is true of one grant from the instant of the grant to its end.
///
/// The grant is *valid* until it is *released* or *lost*. Beside that, a body may run under it: *none*, *running*, *to be
/// cancelled*, *being cancelled*, *cancelled* (and still running), *ended*. Every method that can end the grant is allowed in
/// every state: the first end stays.
struct HoldStateMachine<Body: Sendable, BodyWaiter: Sendable, LossWaiter: Sendable>: Sendable {
    enum End: Sendable, Equatable {
        case released
        case lost(LockError.LossReason)
    }

    private enum BodyState: Sendable {
        case none
        case running(Body)
        /// The grant was lost, and somebody is on the way to cancel it. It may end before that begins.
        case toBeCancelled(Body)
        /// Its cancellation is under way; the task must not end before that is over.
        case beingCancelled(BodyWaiter?)
        /// It was cancelled, and has not ended yet.
        case cancelled
        case ended
    }

    struct EndAction: Sendable {
        /// There is a body to cancel: ``bodyCancellationBegan()`` must follow, on another thread.
        var cancelsBody = false
        var wake: [LossWaiter] = []
    }

    private(set) var validUntil: BootInstant
    private(set) var end: End?
    private var body: BodyState = .none
    private var lossWaiters: [UInt64: LossWaiter] = [:]

    init(validUntil: BootInstant) {
        self.validUntil = validUntil
    }

    /// Whether code of a scoped call still runs under this grant.
    var hasRunningBody: Bool {
        switch self.body {
        case .running, .toBeCancelled, .beingCancelled, .cancelled: true
        case .none, .ended: false
        }
    }

    /// Why the grant cannot be relied on at this instant; `nil` if it can, or if it was released.
    func loss(at now: BootInstant) -> LockError.LossReason? {
        switch self.end {
        case .lost(let reason): reason
        case .released: nil
        case nil: now >= self.validUntil ? .leaseExpired : nil
        }
    }

    mutating func extended(until: BootInstant) {
        self.validUntil = max(self.validUntil, until)
    }

    mutating func lost(_ reason: LockError.LossReason) -> EndAction {
        guard self.end == nil else { return EndAction() }
        self.end = .lost(reason)
        var action = EndAction(wake: self.takeLossWaiters())
        if case .running(let body) = self.body {
            self.body = .toBeCancelled(body)
            action.cancelsBody = true
        }
        return action
    }

    /// The holder gives the grant back. False if it had ended before.
    mutating func released(at now: BootInstant) -> (isFirst: Bool, wake: [LossWaiter]) {
        guard self.end == nil else { return (false, []) }
        self.end = now >= self.validUntil ? .lost(.leaseExpired) : .released
        return (true, self.takeLossWaiters())
    }

    /// A body starts. True if the grant was lost already, so that the body starts cancelled.
    mutating func bodyStarted(_ body: Body) -> Bool {
        guard case .none = self.body else { preconditionFailure("a grant runs one body") }
        self.body = .running(body)
        if case .lost = self.end { return true }
        return false
    }

    /// The body returned or threw. False if its cancellation is under way: then it must wait (``bodyWaits(_:)``).
    mutating func bodyEnded() -> Bool {
        switch self.body {
        case .running, .toBeCancelled, .cancelled:
            self.body = .ended
            return true
        case .beingCancelled:
            return false
        case .none, .ended:
            preconditionFailure("a body ended that did not run")
        }
    }

    /// Whom to wake when the cancellation is over; false if it is over already.
    mutating func bodyWaits(_ waiter: BodyWaiter) -> Bool {
        switch self.body {
        case .beingCancelled:
            self.body = .beingCancelled(waiter)
            return true
        case .cancelled:
            self.body = .ended
            return false
        case .none, .running, .toBeCancelled, .ended:
            preconditionFailure("a body waits that was not cancelled")
        }
    }

    /// Somebody is about to cancel the body. Returns it, and then ``bodyCancelled()`` must follow; `nil` if it has ended.
    mutating func bodyCancellationBegan() -> Body? {
        switch self.body {
        case .toBeCancelled(let body):
            self.body = .beingCancelled(nil)
            return body
        case .ended:
            return nil
        case .none, .running, .beingCancelled, .cancelled:
            preconditionFailure("a cancellation began that nobody asked for, or twice")
        }
    }

    /// The cancellation of the body is over. Returns the body's end, if that waits for this.
    mutating func bodyCancelled() -> BodyWaiter? {
        guard case .beingCancelled(let waiter) = self.body else {
            preconditionFailure("a cancellation ended that had not begun")
        }
        self.body = waiter == nil ? .cancelled : .ended
        return waiter
    }

    /// Somebody waits for the end of the grant. Returns the end if it is there.
    mutating func lossAwaited(_ key: UInt64, by waiter: LossWaiter) -> End? {
        if let end = self.end { return end }
        self.lossWaiters[key] = waiter
        return nil
    }

    private mutating func takeLossWaiters() -> [LossWaiter] {
        if self.lossWaiters.isEmpty { return [] }
        defer { self.lossWaiters = [:] }
        return Array(self.lossWaiters.values)
    }

    mutating func lossNoLongerAwaited(_ key: UInt64) -> LossWaiter? {
        self.lossWaiters.removeValue(forKey: key)
    }
}
