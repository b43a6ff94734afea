import LockKernel

/// Decides when claims are taken back that nobody waits for any more: abandoned attempts, and releases that failed.
///
/// States of a claim: *waiting* for its next try, *trying*. It is forgotten when the store confirmed, or when its lease
/// has passed, because nothing of it can be left on the store then.
struct CleanupStateMachine: Sendable {
    struct Entry: Sendable {
        let claim: LockClaim
        let until: BootInstant
        var failures = 0
        /// It has not been tried yet.
        var isScheduled = true
        var nextTry: BootInstant?
    }

    struct TimerAction: Sendable {
        var withdraw: [LockClaim] = []
        var abandoned: [LockClaim] = []
    }

    /// More than this many are not remembered: their leases end by themselves.
    static let maximumCount = 65_536

    private var entries: [AttemptID: Entry] = [:]
    private var timers = Deadlines()

    var isEmpty: Bool { self.entries.isEmpty }
    var count: Int { self.entries.count }

    mutating func nextWakeup() -> BootInstant? { self.timers.next() }

    /// Takes a claim. False if there are too many already.
    ///
    /// - Parameters:
    ///   - until: The instant after which the store cannot know of the claim any more.
    ///   - start: When to try first. A claim that is there already is brought forward to it.
    mutating func added(_ claim: LockClaim, until: BootInstant, start: BootInstant) -> Bool {
        if var entry = self.entries[claim.attempt] {
            guard entry.isScheduled else { return true }
            self.timers.set(claim.attempt, to: start, knownAs: &entry.nextTry)
            self.entries[claim.attempt] = entry
            return true
        }
        guard self.entries.count < Self.maximumCount else { return false }
        self.entries[claim.attempt] = Entry(claim: claim, until: until, nextTry: start)
        self.timers.set(claim.attempt, to: start)
        return true
    }

    mutating func timerFired(now: BootInstant) -> TimerAction {
        var action = TimerAction()
        for attempt in self.timers.popDue(at: now) {
            guard var entry = self.entries[attempt] else { continue }
            entry.isScheduled = false
            entry.nextTry = nil
            self.entries[attempt] = entry
            if entry.failures > 0 && now >= entry.until {
                self.entries[attempt] = nil
                action.abandoned.append(entry.claim)
            } else {
                action.withdraw.append(entry.claim)
            }
        }
        return action
    }

    mutating func confirmed(_ attempt: AttemptID) {
        guard var entry = self.entries.removeValue(forKey: attempt) else { return }
        self.timers.remove(attempt, knownAs: &entry.nextTry)
    }

    /// - Parameter jitter: A random number from 0 to 1.
    mutating func failed(_ attempt: AttemptID, now: BootInstant, jitter: Double) {
        guard var entry = self.entries[attempt] else { return }
        entry.failures += 1
        let ceiling = min(20 << min(entry.failures, 7), 2_000)
        let pause: Duration = .milliseconds(1) + .milliseconds(Double(ceiling) * jitter)
        self.timers.set(attempt, to: min(now + pause, max(entry.until, now)), knownAs: &entry.nextTry)
        self.entries[attempt] = entry
    }
}
