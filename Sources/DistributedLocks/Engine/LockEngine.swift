import LockKernel

/// Decides what a client does with its attempts and grants, whatever the backend.
///
/// States of the client: see ``ClientLifecycle``. States of an attempt: see ``AttemptTable``. A grant that its caller has taken is
/// *held* until it is let go of, also when it was declared lost; what is left on the store is cleaned up.
///
/// Pure: time and random numbers are passed in. `Starter` is who waits for the start, `Waiter` who waits for an attempt, `Held`
/// what a grant is held by; tests use strings. The shell carries effects out in their order, when it has left its mutex. The way
/// of one uncontended lock has none: its events are answered by a value.
struct LockEngine<Starter: Sendable, Waiter: Sendable, Held: Sendable>: Sendable {
    private let capabilities: LockCapabilities
    private var lifecycle: ClientLifecycle<Starter>
    private var nextID: UInt64 = 1
    private var attempts = AttemptTable<Waiter>()
    private var held: [AttemptID: Held] = [:]
    private var keeper: KeeperStateMachine
    private var cleanup = CleanupStateMachine()
    private var cleanupsUnderWay = 0
    private var releasesUnderWay = 0
    private var highWater = TokenHighWater()
    /// For when the timer loop has set its alarm; `nil` while it is not asleep, or sleeps without end.
    private var wakesAt: BootInstant?

    init(capabilities: LockCapabilities, shutdownTimeout: Duration) {
        self.capabilities = capabilities
        self.lifecycle = ClientLifecycle(shutdownTimeout: shutdownTimeout)
        self.keeper = KeeperStateMachine(leaseScope: capabilities.leaseScope)
    }

    mutating func makeID() -> UInt64 {
        defer { self.nextID += 1 }
        return self.nextID
    }

    // MARK: The client's life

    var start: ClientLifecycle<Starter>.Start { self.lifecycle.start }
    var isRunning: Bool { self.lifecycle.isRunning }

    /// `run()` was called. False: not for the first time.
    mutating func runCalled() -> Bool { self.lifecycle.runCalled() }

    /// Somebody waits for the start. False if there is nothing to wait for.
    mutating func startAwaited(_ key: UInt64, by starter: Starter) -> Bool {
        self.lifecycle.startAwaited(key, by: starter)
    }

    mutating func startNoLongerAwaited(_ key: UInt64) -> Starter? { self.lifecycle.startNoLongerAwaited(key) }

    mutating func started() -> Effects { self.starting(self.lifecycle.started()) }

    /// Everybody is told that the client stops.
    mutating func stopWanted() -> Effects {
        guard let starters = self.lifecycle.stopWanted() else { return Effects() }
        var effects = self.starting(starters)
        for attempt in self.held.keys.sorted() {
            if let held = self.held[attempt] { effects.append(.lose(held, .clientStopped)) }
        }
        for attempt in self.attempts.ids { self.happened(to: attempt, &effects) { $0.clientStopped() } }
        effects.append(.wake)
        return effects
    }

    /// Nothing is done any more.
    mutating func ended() -> Effects {
        var effects = self.starting(self.lifecycle.ended())
        for held in self.takeHeld() { effects.append(.end(held)) }
        return effects
    }

    private func starting(_ starters: [Starter]) -> Effects {
        var effects = Effects()
        for starter in starters { effects.append(.start(starter)) }
        return effects
    }

    private mutating func takeHeld() -> [Held] {
        defer { self.held = [:] }
        return self.held.sorted { $0.key < $1.key }.map(\.value)
    }

    // MARK: Attempts

    /// How many callers wait in a queue and know it.
    var queuedCount: Int { self.attempts.queuedCount }

    /// A call begins an attempt.
    ///
    /// - Parameters:
    ///   - latest: when an exchange must have been answered.
    ///   - deadline: when the caller's time is over.
    /// - Returns: whether to wake the timer loop; `nil` if the client does not run.
    mutating func attemptBegan(_ claim: LockClaim, latest: BootInstant?, deadline: BootInstant?) -> Bool? {
        guard self.lifecycle.isRunning else { return nil }
        self.attempts.began(claim, latest: latest, deadline: deadline)
        return deadline != nil && self.sleepsTooLong()
    }

    mutating func replyArrived(_ reply: AcquireReply, for attempt: AttemptID) -> AcquireStateMachine.ReplyAction {
        self.attempts.replyArrived(reply, for: attempt)
    }

    mutating func requestFailed(
        _ error: LockError, for attempt: AttemptID, now: BootInstant, jitter: Double
    ) -> AcquireStateMachine.FailureAction {
        self.attempts.requestFailed(error, for: attempt, now: now, jitter: jitter)
    }

    /// The pause before a request is repeated is over. False if the attempt has an end by now.
    mutating func retryStarted(_ attempt: AttemptID) -> Bool { self.attempts.retryStarted(attempt) }

    mutating func cancelled(_ attempt: AttemptID) -> Effects {
        var effects = Effects()
        self.happened(to: attempt, &effects) { $0.cancelled() }
        return effects
    }

    /// Who holds the lock that an attempt waits for, as was heard last.
    func holders(of attempt: AttemptID) -> [OwnerMetadata] { self.attempts.holders(of: attempt) }

    func end(of attempt: AttemptID) -> AttemptEnd? { self.attempts.end(of: attempt) }

    /// Somebody waits for the end of an attempt. Returns that if it is there; then nobody is resumed.
    mutating func endAwaited(_ attempt: AttemptID, by waiter: Waiter) -> AttemptEnd? {
        self.attempts.endAwaited(attempt, by: waiter)
    }

    mutating func endNoLongerAwaited(_ attempt: AttemptID) -> Waiter? { self.attempts.endNoLongerAwaited(attempt) }

    /// The caller knows the attempt's end, and the store knows nothing of it, unless a grant came after all.
    mutating func attemptOver(_ claim: LockClaim) -> Effects {
        if self.attempts.isStray(claim.attempt) { return Effects(.cleanUp(claim)) }
        self.attempts.removed(claim.attempt)
        return Effects(self.lifecycle.isStopping ? .wake : nil)
    }

    private mutating func happened(
        to attempt: AttemptID, _ effects: inout Effects,
        _ event: (inout AcquireStateMachine) -> AcquireStateMachine.EventAction
    ) {
        if let (waiter, end) = self.attempts.happened(to: attempt, event) { effects.append(.resume(waiter, end)) }
    }

    // MARK: Grants

    /// The caller has come to take its grant. What is not `held` has to be taken back: ``cleanUpWanted(_:now:)``.
    mutating func taken(
        _ claim: LockClaim, _ grant: LockGrant, as held: Held, holdingAtMost: Duration?, now: BootInstant
    ) -> Taken {
        guard self.lifecycle.isRunning else { return .stopped }
        // First of all: a grant that has ended may have been overtaken by a later one, and says nothing of the backend.
        if now >= grant.validity { return .hasEnded(.leaseExpired) }
        if let loss = self.attempts.loss(of: claim.attempt) { return .hasEnded(loss) }
        if let highest = self.highWater.refusal(of: grant.token, name: claim.name, domain: grant.tokenDomain) {
            return .refused(highest: highest)
        }
        self.attempts.removed(claim.attempt)
        self.held[claim.attempt] = held
        self.keeper.held(claim, validUntil: grant.validity, holdUntil: holdingAtMost.map { now + $0 }, now: now)
        return .held(wake: self.sleepsTooLong())
    }

    /// A grant is about to be declared lost: it is not renewed any more. False if its holder has let go of it.
    mutating func lossFound(_ attempt: AttemptID) -> Bool {
        self.keeper.removed(attempt)
        return self.held[attempt] != nil
    }

    /// It was declared lost. Where leases belong to the session, a lock that was lost does not come free by itself while the
    /// session lives: a holder that does not let go of it is not waited for longer than the lease would last elsewhere.
    mutating func lossDeclared(_ claim: LockClaim, now: BootInstant) -> Effects {
        switch self.capabilities.leaseScope {
        case .grant: return Effects()
        case .session: break
        }
        if self.held[claim.attempt] != nil {
            let lease = min(claim.lease, self.capabilities.leaseRange.lowerBound)
            _ = self.cleanup.added(claim, until: now + lease * 3, start: now + lease)
        }
        return Effects(.wake)
    }

    /// The backend has something to tell.
    mutating func told(_ event: LockEvent, now: BootInstant) -> Effects {
        var effects = Effects()
        switch event {
        case .granted(let attempt, let grant): self.happened(to: attempt, &effects) { $0.granted(grant) }
        case .gone(let attempt): self.happened(to: attempt, &effects) { $0.gone() }
        case .failed(let attempt, let error): self.happened(to: attempt, &effects) { $0.failed(error) }
        case .held(let attempt, let holders):
            if let claim = self.attempts.held(attempt, by: holders) { effects.append(.reportWait(claim, for: holders)) }
        case .extended(let attempt, let until):
            self.extended(attempt, &effects) { $0.extended(attempt, until: BootInstant(until), now: now) }
        case .sessionExtended(let until):
            let until = BootInstant(until)
            for attempt in self.keeper.attempts {
                self.extended(attempt, &effects) { $0.extended(attempt, until: until, now: now) }
            }
        case .lost(let attempt, let reason): self.lost(attempt, reason, &effects, now: now)
        case .sessionLost:
            self.attempts.allLost(.sessionEnded)
            for (_, held) in self.held.sorted(by: { $0.key < $1.key }) { effects.append(.lose(held, .sessionEnded)) }
        case .reconnected:
            // The store may have forgotten what is held.
            self.keeper.renewalsWanted(now: now)
            if self.sleepsTooLong() { effects.append(.wake) }
        }
        return effects
    }

    private mutating func extended(
        _ attempt: AttemptID, _ effects: inout Effects, _ event: (inout KeeperStateMachine) -> BootInstant?
    ) {
        if let until = event(&self.keeper), let held = self.held[attempt] {
            effects.append(.extend(held, until: until))
        }
    }

    private mutating func lost(
        _ attempt: AttemptID, _ reason: LockError.LossReason, _ effects: inout Effects, now: BootInstant
    ) {
        // Whoever asked for the grant may not have taken it yet.
        self.attempts.lost(attempt, reason)
        // One that the keeper does not know any more has been found to be lost by somebody else.
        guard let held = self.held[attempt], let validUntil = self.keeper.validUntil(of: attempt) else { return }
        // What a process hears that was stopped past its lease came later than the end of the lease.
        effects.append(.lose(held, now >= validUntil ? .leaseExpired : reason))
    }

    /// Renewals were answered, each of them, in their order.
    mutating func renewed(_ renewals: [LockRenewal], _ replies: [LockRenewalReply], now: BootInstant) -> Effects {
        precondition(replies.count == renewals.count, "a backend answers each renewal")
        var effects = Effects()
        for (renewal, reply) in zip(renewals, replies) {
            let attempt = renewal.claim.attempt
            switch reply {
            case .extended(let until):
                self.extended(attempt, &effects) { $0.renewed(attempt, until: BootInstant(until), now: now) }
            case .lost(let reason): self.lost(attempt, reason, &effects, now: now)
            case .failed: self.keeper.renewalFailed(attempt, now: now)
            }
        }
        if self.sleepsTooLong() { effects.append(.wake) }
        return effects
    }

    // MARK: Releases

    /// The holder lets go of a grant. False if that was known. Otherwise ``releaseEnded()`` has to follow.
    mutating func releaseBegan(_ attempt: AttemptID) -> Bool {
        guard self.letGo(attempt) else { return false }
        self.releasesUnderWay += 1
        return true
    }

    /// A release is over; whatever it has left to be cleaned up is known by now. Returns whether to wake the timer loop.
    mutating func releaseEnded() -> Bool {
        self.releasesUnderWay -= 1
        return self.lifecycle.isStopping
    }

    /// The holder lets go of a grant, or its handle was dropped. False if that was known.
    mutating func letGo(_ attempt: AttemptID) -> Bool {
        self.keeper.removed(attempt)
        return self.held.removeValue(forKey: attempt) != nil
    }

    /// Has a claim taken back in the background.
    mutating func cleanUpWanted(_ claim: LockClaim, now: BootInstant) -> Effects {
        self.attempts.removed(claim.attempt)
        // A place in a queue may turn into a grant once more while it is being taken back.
        let isTaken = self.cleanup.added(claim, until: now + claim.lease * 2, start: now)
        var effects = Effects(isTaken ? nil : .releaseUnremembered(claim))
        effects.append(.wake)
        return effects
    }

    mutating func withdrawn(_ attempt: AttemptID) -> Effects {
        self.cleanup.confirmed(attempt)
        self.cleanupsUnderWay -= 1
        return Effects(.wake)
    }

    mutating func withdrawalFailed(_ attempt: AttemptID, now: BootInstant, jitter: Double) -> Effects {
        self.cleanup.failed(attempt, now: now, jitter: jitter)
        self.cleanupsUnderWay -= 1
        return Effects(.wake)
    }

    /// Whether something was not taken back, for all that is known. Asked when the client has ended.
    var hasUnconfirmedReleases: Bool {
        !self.cleanup.isEmpty || self.cleanupsUnderWay > 0 || self.releasesUnderWay > 0
    }

    // MARK: Time

    mutating func timerFired(now: BootInstant) -> (Due, effects: Effects) {
        var due = Due()
        var effects = Effects()
        self.wakesAt = nil
        let kept = self.keeper.timerFired(now: now)
        for (attempt, reason) in kept.lost {
            if let held = self.held[attempt] { effects.append(.lose(held, reason)) }
        }
        for attempt in self.attempts.popDue(at: now) {
            self.happened(to: attempt, &effects) { $0.deadlinePassed() }
        }
        let cleanup = self.cleanup.timerFired(now: now)
        self.cleanupsUnderWay += cleanup.withdraw.count
        for claim in cleanup.abandoned { effects.append(.reportAbandoned(claim)) }
        due.renewals = kept.renew
        due.withdrawals = cleanup.withdraw
        due.heldCount = self.held.count
        due.waiterCount = self.attempts.count
        return (due, effects)
    }

    /// The timer loop has done what was due.
    ///
    /// - Returns: whether that was all, as the client stops.
    mutating func roundEnded(now: BootInstant) -> (isLast: Bool, effects: Effects) {
        let isIdle = self.held.isEmpty && self.attempts.isEmpty && !self.hasUnconfirmedReleases
        switch self.lifecycle.roundEnded(isIdle: isIdle, now: now) {
        case .wait: return (false, Effects())
        case .takeBack:
            var effects = Effects()
            for held in self.takeHeld() { effects.append(.takeBack(held)) }
            return (false, effects)
        case .end: return (true, Effects())
        }
    }

    /// The timer loop is about to sleep. Returns until when.
    ///
    /// - Parameter now: the instant of the round that has ended.
    mutating func slept(now: BootInstant) -> BootInstant? {
        self.wakesAt = Self.earliest(self.nextWakeup(), self.lifecycle.nextLook(now: now))
        return self.wakesAt
    }

    private mutating func nextWakeup() -> BootInstant? {
        Self.earliest(Self.earliest(self.keeper.nextWakeup(), self.cleanup.nextWakeup()), self.attempts.nextDeadline())
    }

    private static func earliest(_ one: BootInstant?, _ other: BootInstant?) -> BootInstant? {
        guard let one, let other else { return one ?? other }
        return min(one, other)
    }

    private mutating func sleepsTooLong() -> Bool {
        guard let next = self.nextWakeup() else { return false }
        return self.wakesAt.map { next < $0 } ?? true
    }
}
