import DistributedLocks
import LockKernel

/// What the claims of a Redlock are timed by. Pure.
struct ClaimTimers {
    typealias Instant = BootInstant

    /// What one claim is set to. It belongs to the claim, and is passed in whenever that is changed.
    struct Times {
        fileprivate var wakeup: Instant?
        fileprivate var turn: Instant?
        fileprivate var ending: Instant?
        fileprivate var patience: Instant?

        /// A wake-up is due. False: it was set to a later instant, or to none, since.
        mutating func wokeUp(now: Instant) -> Bool { Self.passed(&self.wakeup, now) }
        mutating func turnIsDue(now: Instant) -> Bool { Self.passed(&self.turn, now) }
        mutating func ended(now: Instant) -> Bool { Self.passed(&self.ending, now) }
        mutating func patienceEnded(now: Instant) -> Bool { Self.passed(&self.patience, now) }

        private static func passed(_ instant: inout Instant?, _ now: Instant) -> Bool {
            guard let known = instant, known <= now else { return false }
            instant = nil
            return true
        }
    }

    struct Due {
        let patience: [AttemptID]
        let wakeups: [AttemptID]
        let turns: [AttemptID]
        let endings: [AttemptID]
    }

    private var wakeups = Deadlines()
    private var turns = Deadlines()
    private var endings = Deadlines()
    private var patience = Deadlines()
    /// Something was set since ``next()`` was asked.
    private(set) var isChanged = false

    mutating func next() -> Instant? {
        self.isChanged = false
        var next = self.wakeups.next()
        if let ending = self.endings.next() { next = next.map { min($0, ending) } ?? ending }
        if let turn = self.turns.next() { next = next.map { min($0, turn) } ?? turn }
        if let patience = self.patience.next() { next = next.map { min($0, patience) } ?? patience }
        return next
    }

    mutating func takeDue(at now: Instant) -> Due {
        Due(
            patience: self.patience.popDue(at: now), wakeups: self.wakeups.popDue(at: now),
            turns: self.turns.popDue(at: now), endings: self.endings.popDue(at: now))
    }

    /// When the claim has something to do.
    mutating func wake(_ attempt: AttemptID, at instant: Instant, _ times: inout Times) {
        self.isChanged = true
        self.wakeups.set(attempt, to: instant, knownAs: &times.wakeup)
    }

    mutating func stopWaking(_ attempt: AttemptID, _ times: inout Times) {
        self.wakeups.remove(attempt, knownAs: &times.wakeup)
    }

    /// When the claim shows at its gate that it is alive.
    mutating func askForTurn(_ attempt: AttemptID, at instant: Instant, _ times: inout Times) {
        self.isChanged = true
        self.turns.set(attempt, to: instant, knownAs: &times.turn)
    }

    mutating func stopAskingForTurn(_ attempt: AttemptID, _ times: inout Times) {
        self.turns.remove(attempt, knownAs: &times.turn)
    }

    /// When the keys of a released claim have ended, whatever the instances say.
    mutating func end(_ attempt: AttemptID, at instant: Instant, _ times: inout Times) {
        self.isChanged = true
        self.endings.set(attempt, to: instant, knownAs: &times.ending)
    }

    /// When the claim's caller has to be answered.
    mutating func answer(_ attempt: AttemptID, by instant: Instant, _ times: inout Times) {
        self.isChanged = true
        self.patience.set(attempt, to: instant, knownAs: &times.patience)
    }

    mutating func answered(_ attempt: AttemptID, _ times: inout Times) {
        self.patience.remove(attempt, knownAs: &times.patience)
    }

    mutating func forget(_ attempt: AttemptID, _ times: inout Times) {
        self.wakeups.remove(attempt, knownAs: &times.wakeup)
        self.turns.remove(attempt, knownAs: &times.turn)
        self.endings.remove(attempt, knownAs: &times.ending)
        self.patience.remove(attempt, knownAs: &times.patience)
    }
}
