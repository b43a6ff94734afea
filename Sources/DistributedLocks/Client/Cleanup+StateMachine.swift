import LockKernel

/// Decides when claims are taken back that nobody waits for any more: abandoned attempts, and releases that failed.
///
/// States of a claim: *waiting* for its next try, *trying*. It is forgotten when the store confirmed, or when its lease
/// has passed, because nothing of it can be left on the store then.
struct CleanupStateMachine: Sendable {
    struct Entry: Sendable {
        let claim: LockClaim
        let until: Moment
        var failures = 0
        /// It has not been tried yet.
        var isScheduled = true
    }

    struct TimerAction: Sendable {
        var withdraw: [LockClaim] = []
        var abandoned: [LockClaim] = []
    }

    /// More than this many are not remembered: their leases end by themselves.
    static let maximumCount = 65_536

    private var entries: [AttemptID: Entry] = [:]
    private var timers = DeadlineQueue<AttemptID>()

    var isEmpty: Bool { self.entries.isEmpty }
    var count: Int { self.entries.count }

    mutating func nextWakeup() -> ContinuousClock.Instant? { self.timers.next() }
    mutating func nextMoment() -> Moment? { self.timers.nextMoment() }

    /// Takes a claim. False if there are too many already.
    ///
    /// - Parameters:
    ///   - until: The instant after which the store cannot know of the claim any more.
    ///   - start: When to try first. A claim that is there already is brought forward to it.
    mutating func added(_ claim: LockClaim, until: ContinuousClock.Instant, start: ContinuousClock.Instant) -> Bool {
        if let entry = self.entries[claim.attempt] {
            if entry.isScheduled { self.timers.set(claim.attempt, to: start) }
            return true
        }
        guard self.entries.count < Self.maximumCount else { return false }
        self.entries[claim.attempt] = Entry(claim: claim, until: Moment(until))
        self.timers.set(claim.attempt, to: start)
        return true
    }

    mutating func timerFired(now: ContinuousClock.Instant) -> TimerAction {
        var action = TimerAction()
        for attempt in self.timers.popDue(at: now) {
            guard var entry = self.entries[attempt] else { continue }
            entry.isScheduled = false
            self.entries[attempt] = entry
            if entry.failures > 0 && Moment(now) >= entry.until {
                self.entries[attempt] = nil
                action.abandoned.append(entry.claim)
            } else {
                action.withdraw.append(entry.claim)
            }
        }
        return action
    }

    mutating func confirmed(_ attempt: AttemptID) {
        self.entries[attempt] = nil
        self.timers.remove(attempt)
    }

    /// - Parameter jitter: A random number from 0 to 1.
    mutating func failed(_ attempt: AttemptID, now: ContinuousClock.Instant, jitter: Double) {
        guard var entry = self.entries[attempt] else { return }
        entry.failures += 1
        self.entries[attempt] = entry
        let ceiling = min(20 << min(entry.failures, 7), 2_000)
        let pause: Duration = .milliseconds(1) + .milliseconds(Double(ceiling) * jitter)
        let now = Moment(now)
        self.timers.set(attempt, to: min(now + pause, max(entry.until, now)))
    }
}
