import DistributedLocks
import LockTransport

/// Decides what one claim does next on a Redlock.
///
/// A round that fails because others try at the same time must not be followed by one that fails for the same reason. So
/// whoever has failed, and whoever has seen others want the lock a moment ago, asks for its *turn*: an ordinary lock on one
/// instance, the *gate* of the name, which is the same for all clients. Who has the turn tries a round; if somebody holds the
/// lock, it is told by a push when the lock is free. The turn is kept until the lock is released, and then goes to the next one.
/// The truth is the round, though, and the turn a hint: who has it, and the first who waits for it, try a round now and then
/// without being told.
/// If clients do not agree on the gate, because some cannot reach it, rounds can fail again: then they pause for a time drawn
/// at random (full jitter), longer each time. None of this has anything to do with safety, which is the round's own.
///
/// States: *gathering* (too few instances can be asked), *in a round*, *queued* for the turn, *waiting* with the turn until the lock
/// is free, *pausing*, *held*, *over*.
struct RedlockClaimStateMachine: Sendable {
    enum State: Equatable, Sendable {
        case gathering
        case inRound
        case queued(gate: Int)
        case waiting(gate: Int)
        case pausing
        case held
        case over
    }

    /// What is known of its turn.
    enum Turn: Equatable, Sendable {
        case none
        case asked(gate: Int)
        case owned(gate: Int)

        var gate: Int? {
            switch self {
            case .none: nil
            case .asked(let gate), .owned(let gate): gate
            }
        }
    }

    /// What to do next.
    enum Step: Equatable, Sendable {
        case none
        /// Ask all instances. `hasTurn`: where the lock is held, they tell when it is free.
        case round(hasTurn: Bool)
        /// Ask this instance for the turn; who waits for it already shows so that it is alive.
        case ask(gate: Int)
        /// Renew the turn.
        case keepTurn(gate: Int)
        /// Wait until an instance says that the lock is free, or the holder's lease must have passed.
        case watch
        /// For a time between zero and this.
        case pause(atMost: Duration)
        /// Until a quorum can be asked.
        case gather
        /// Somebody else holds the lock, and nobody waits for it.
        case busy(holder: String?)
        /// The quorum was lost on the way.
        case noQuorum
        /// So many instances refuse it for good that no quorum can grant.
        case refusedByInstances
        case refuse(String)
    }

    /// What an instance said to one who wants the turn.
    enum TurnAnswer: Equatable, Sendable {
        case granted
        /// - Parameter isFirst: nobody who waits comes before.
        case queued(isFirst: Bool)
        /// The instance does not know it any more.
        case gone
        case full(Int)
        /// The server answers and refuses. The other instances may be well: a round tells.
        case refused
        /// No answer, or no use: another gate is needed.
        case failed
    }

    private(set) var state = State.gathering
    private(set) var turn = Turn.none
    let joinsQueue: Bool
    /// Whether the caller was promised a grant: then nothing but the grant ends the claim.
    private(set) var isPromised = false
    /// It has waited for others: they may want the lock again.
    private(set) var hasWaited = false
    private var failures = 0
    private var refusals = 0
    /// Somebody had the lock when the last round failed.
    private var wasBusy = false
    /// The last round failed because too few instances answered.
    private var lacksQuorum = false
    /// What follows the pause is a round, because the gate has refused.
    private var triesRound = false
    /// An instance has said during the round that the lock is free there now.
    private var wasFreed = false
    /// The round that is under way follows such a pause.
    private var isTrial = false
    /// It was the first of those who wait for the turn when it asked last.
    private var isFirst = false
    /// The round that is under way is that of one who waits for the turn, and looks whether the lock is free.
    private var isLook = false
    /// Rounds in a row that failed because of what instances refuse for good.
    private var refusedRounds = 0

    /// A call that does not wait looks again this often when nobody had the lock.
    static let maximumTries = 8
    static let maximumRefusals = 8
    /// So many rounds in a row of one who has the turn are split; then it waits to be told.
    static let maximumSplits = 6
    /// Somebody may be putting right what is wrong: with the pauses between them these take a second or two.
    static let toleratedRefusedRounds = 5
    static let firstPause = Duration.milliseconds(4)
    static let longestPause = Duration.milliseconds(500)

    init(joinsQueue: Bool) {
        self.joinsQueue = joinsQueue
    }

    private var hasTurn: Bool {
        if case .owned = self.turn { true } else { false }
    }

    /// A quorum can be asked.
    ///
    /// - Parameters:
    ///   - isContended: others wanted the lock a moment ago.
    ///   - gate: the instance where the turn is.
    mutating func ready(isContended: Bool, gate: Int) -> Step {
        guard self.state == .gathering else { return .none }
        if self.joinsQueue, isContended || self.isPromised { return self.ask(gate) }
        return self.round()
    }

    private mutating func ask(_ gate: Int) -> Step {
        self.state = .queued(gate: gate)
        self.turn = .asked(gate: gate)
        return .ask(gate: gate)
    }

    private mutating func round() -> Step {
        self.state = .inRound
        self.isTrial = self.triesRound
        self.triesRound = false
        self.wasFreed = false
        return .round(hasTurn: self.hasTurn)
    }

    /// A round was won. Its turn it keeps until the lock is released.
    mutating func granted() {
        precondition(self.state == .inRound, "a grant without a round")
        self.state = .held
        if case .asked = self.turn { self.turn = .none }
    }

    /// A round was lost.
    ///
    /// - Parameter gate: `nil` if there is no quorum now.
    mutating func roundFailed(_ failure: RedlockRoundStateMachine.Failure, gate: Int?) -> Step {
        guard self.state == .inRound else { return .none }
        self.failures += 1
        self.lacksQuorum = failure.isWithoutQuorum
        self.wasBusy = failure.isBusy
        let wasLook = exchange(&self.isLook, with: false)
        if wasLook { self.failures -= 1 }
        guard let gate else { return self.gather() }
        if wasLook {
            // The turn may have come meanwhile.
            return self.turn == .owned(gate: gate) ? self.round() : self.ask(gate)
        }
        self.refusedRounds = failure.isRefused ? self.refusedRounds + 1 : 0
        if self.refusedRounds > Self.toleratedRefusedRounds {
            self.state = .over
            return .refusedByInstances
        }
        if failure.isWithoutQuorum {
            // It may have been a moment only. Whoever waits tries again until its time for an answer is over.
            if self.joinsQueue { return self.pause() }
            self.state = .over
            return .noQuorum
        }
        guard failure.isBusy else {
            // Only the token was refused: the answers tell which one will do. Or the round took too long.
            // Without a gate others try at the same time, and their tokens overtake this one.
            if self.isTrial { return self.pause() }
            self.refusals += 1
            if self.refusals > Self.maximumRefusals, !self.isPromised {
                self.state = .over
                return .refuse("no token is accepted by a quorum: the instances' clocks or fences differ too much")
            }
            if self.refusals > 2 { return self.pause() }
            return self.round()
        }
        guard self.joinsQueue else {
            if failure.holder == nil, self.failures < Self.maximumTries { return self.pause() }
            self.state = .over
            return .busy(holder: failure.holder)
        }
        if self.turn == .owned(gate: gate) {
            self.isPromised = true
            self.hasWaited = true
            // Where it was held is free by now.
            if self.wasFreed { return self.round() }
            // Nobody has it: others try at the same time.
            if failure.holder == nil, self.failures <= Self.maximumSplits { return self.pause() }
            // Wherever the lock was held, the instance tells when it is free.
            self.state = .waiting(gate: gate)
            self.failures = 1
            return .watch
        }
        if self.failures > 1 { return self.pause() }
        return self.ask(gate)
    }

    private mutating func pause() -> Step {
        self.state = .pausing
        let longest = Self.firstPause * (1 << min(self.failures, 7))
        return .pause(atMost: min(longest, Self.longestPause))
    }

    private mutating func gather() -> Step {
        self.state = .gathering
        // It may take long. Others are to have the turn, which ends by itself.
        self.turn = .none
        return .gather
    }

    /// The gate answered, or told by a push that the turn has come.
    mutating func turnAnswered(_ answer: TurnAnswer, from instance: Int, gate: Int?) -> Step {
        guard self.turn.gate == instance else { return .none }
        switch answer {
        case .granted:
            self.turn = .owned(gate: instance)
            // Somebody had the lock a moment ago: the round may take its time to find that out.
            if self.wasBusy { self.isPromised = true }
        case .queued(let isFirst):
            self.turn = .asked(gate: instance)
            self.isFirst = isFirst
            self.isPromised = true
            self.hasWaited = true
            self.lacksQuorum = false
        case .gone, .full, .failed, .refused:
            self.turn = .none
        }
        switch (self.state, answer) {
        case (.gathering, _), (.inRound, _), (.over, _), (.queued, .queued), (.waiting, .granted):
            return .none
        case (.held, _):
            // The lock does not need it.
            if case .asked = self.turn { self.turn = .none }
            return .none
        case (.pausing, .granted), (.queued, .granted):
            return self.round()
        case (.pausing, _):
            return .none
        case (.waiting, .queued):
            self.state = .queued(gate: instance)
            return .none
        case (.queued, .gone), (.waiting, .gone):
            guard let gate else { return self.gather() }
            return self.ask(gate)
        case (.queued, .full(let waiters)), (.waiting, .full(let waiters)):
            guard self.isPromised else {
                self.state = .over
                return .refuse("\(waiters) waiters are as many as may wait")
            }
            self.failures += 1
            return self.pause()
        case (.queued, .refused), (.queued, .failed), (.waiting, .refused), (.waiting, .failed):
            guard let gate else { return self.gather() }
            if gate != instance { return self.ask(gate) }
            self.failures += 1
            self.triesRound = answer == .refused
            return self.pause()
        }
    }

    /// An instance that was asked by one who has the turn says that the lock is free there now.
    mutating func freed() -> Step {
        switch self.state {
        case .waiting: return self.round()
        case .inRound:
            self.wasFreed = true
            return .none
        // Who pauses does so because others try as well.
        case .gathering, .queued, .pausing, .held, .over: return .none
        }
    }

    /// A pause is over, or who has the turn has waited for long enough: the gate may have missed a release.
    mutating func timerFired(gate: Int?) -> Step {
        switch self.state {
        case .pausing:
            guard let gate else { return self.gather() }
            if !self.joinsQueue || self.triesRound || self.turn == .owned(gate: gate) { return self.round() }
            return self.ask(gate)
        case .waiting:
            return gate == nil ? self.gather() : self.round()
        case .gathering, .inRound, .queued, .held, .over:
            return .none
        }
    }

    /// It is time to show at the gate that it is alive.
    ///
    /// - Parameter mayLook: it has not looked for some time whether the lock is free.
    mutating func turnTimerFired(gate: Int?, mayLook: Bool) -> Step {
        if case .owned(let owned) = self.turn {
            return self.state == .over ? .none : .keepTurn(gate: owned)
        }
        guard case .queued = self.state else { return .none }
        guard let gate else { return self.gather() }
        // The gate may have missed a release, and all behind the first one believe what it says.
        if mayLook, exchange(&self.isFirst, with: false) {
            self.isLook = true
            return self.round()
        }
        return self.ask(gate)
    }

    /// The lock that it held is lost: it needs no turn any more, though its holder may not let go of it for long.
    mutating func heldNoMore() {
        if self.state == .held { self.turn = .none }
    }

    /// An instance cannot be asked any more.
    mutating func lost(_ instance: Int, gate: Int?) -> Step {
        guard self.turn.gate == instance else { return .none }
        self.turn = .none
        switch self.state {
        case .queued, .waiting:
            guard let gate else { return self.gather() }
            return self.ask(gate)
        case .gathering, .inRound, .pausing, .held, .over:
            return .none
        }
    }

    /// The caller's time for an answer is over. Returns whether the answer is that it waits: sooner or later it is granted.
    mutating func patienceIsOver() -> Bool {
        guard self.joinsQueue, self.isPromised || self.state != .gathering && !self.lacksQuorum else {
            self.state = .over
            return false
        }
        self.isPromised = true
        return true
    }

    /// It is released or taken back.
    mutating func ended() { self.state = .over }
}
