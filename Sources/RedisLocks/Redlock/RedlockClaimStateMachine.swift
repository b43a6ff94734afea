import DistributedLocks
import LockTransport

/// Decides what one claim does next on a Redlock.
///
/// A round that fails because others try at the same time must not be followed by one that fails for the same reason. So
/// whoever has failed, and whoever has seen others want the lock a moment ago, waits in the queue of one instance, the *gate*
/// of that lock, which is the same for all clients. It lets one at a time have its *turn*: the lock is reserved for it there,
/// and it is told by a push. Only who has the turn starts a round; the others have let go of whatever they had been granted.
/// The truth is the round, though, and the gate a hint: the first in its queue tries a
/// round each time that it shows that it lives.
/// If clients do not agree on the gate, because some cannot reach it, rounds can fail again: then they pause for a time drawn
/// at random (full jitter), longer each time. None of this has anything to do with safety, which is the round's own.
///
/// States: *gathering* (too few instances can be asked), *in a round*, *queued* at the gate, *pausing*, *held*, *over*.
struct RedlockClaimStateMachine: Sendable {
    enum State: Equatable, Sendable {
        case gathering
        case inRound
        case queued(gate: Int)
        case pausing
        case held
        case over
    }

    /// What to do next.
    enum Step: Equatable, Sendable {
        case none
        /// Ask all instances. `hasTurn`: others are kept out at the gate meanwhile.
        case round(hasTurn: Bool)
        /// Join the queue of this instance, or show that the waiter is alive.
        case wait(gate: Int)
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

    /// What an instance said to one who wants to wait.
    enum WaitAnswer: Equatable, Sendable {
        case turn
        /// - Parameter isFirst: nobody who waits comes before.
        case queued(isFirst: Bool)
        case full(Int)
        /// The server answers and refuses. The other instances may be well: a round tells.
        case refused
        /// No answer, or no use: another gate is needed.
        case failed
    }

    private(set) var state = State.gathering
    let joinsQueue: Bool
    /// Whether the caller was promised a grant: then nothing but the grant ends the claim.
    private(set) var isPromised = false
    private var failures = 0
    private var refusals = 0
    /// Of the round that is under way.
    private var hasTurn = false
    /// The last round failed because too few instances answered.
    private var lacksQuorum = false
    /// What follows the pause is a round, because the gate has refused.
    private var triesRound = false
    /// The round that is under way follows such a pause.
    private var isTrial = false
    /// It was the first in the gate's queue when it asked there last.
    private var isFirst = false
    /// The round that is under way is that of a first waiter that looks whether the lock is free.
    private var isLook = false
    /// Rounds in a row that failed because of what instances refuse for good.
    private var refusedRounds = 0

    /// A call that does not wait looks again this often when nobody had the lock.
    static let maximumTries = 8
    static let maximumRefusals = 8
    /// Somebody may be putting right what is wrong: with the pauses between them these take a second or two.
    static let toleratedRefusedRounds = 5
    static let firstPause = Duration.milliseconds(4)
    static let longestPause = Duration.milliseconds(500)

    init(joinsQueue: Bool) {
        self.joinsQueue = joinsQueue
    }

    /// Whether it still wants the lock, and a turn is of use.
    var isTrying: Bool { self.state != .held && self.state != .over }

    /// A quorum can be asked.
    ///
    /// - Parameters:
    ///   - isContended: others wanted the lock a moment ago.
    ///   - gate: the instance where those who want it wait.
    mutating func ready(isContended: Bool, gate: Int) -> Step {
        guard self.state == .gathering else { return .none }
        if self.joinsQueue, isContended || self.isPromised {
            self.state = .queued(gate: gate)
            return .wait(gate: gate)
        }
        return self.round(hasTurn: false)
    }

    private mutating func round(hasTurn: Bool) -> Step {
        self.state = .inRound
        self.isTrial = self.triesRound
        self.triesRound = false
        self.hasTurn = hasTurn
        return .round(hasTurn: hasTurn)
    }

    /// A round was won.
    mutating func granted() {
        precondition(self.state == .inRound, "a grant without a round")
        self.state = .held
    }

    /// A round was lost.
    ///
    /// - Parameter gate: `nil` if there is no quorum now.
    mutating func roundFailed(_ failure: RedlockRoundStateMachine.Failure, gate: Int?) -> Step {
        guard self.state == .inRound else { return .none }
        self.failures += 1
        self.lacksQuorum = failure.isWithoutQuorum
        let wasLook = exchange(&self.isLook, with: false)
        if wasLook { self.failures -= 1 }
        guard let gate else { return self.gather() }
        if wasLook {
            self.state = .queued(gate: gate)
            return .wait(gate: gate)
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
            return self.round(hasTurn: self.hasTurn)
        }
        guard self.joinsQueue else {
            if failure.holder == nil, self.failures < Self.maximumTries { return self.pause() }
            self.state = .over
            return .busy(holder: failure.holder)
        }
        if self.failures > 1 { return self.pause() }
        self.state = .queued(gate: gate)
        return .wait(gate: gate)
    }

    private mutating func pause() -> Step {
        self.state = .pausing
        let longest = Self.firstPause * (1 << min(self.failures, 7))
        return .pause(atMost: min(longest, Self.longestPause))
    }

    private mutating func gather() -> Step {
        self.state = .gathering
        return .gather
    }

    /// The gate answered.
    mutating func waitAnswered(_ answer: WaitAnswer, from instance: Int, gate: Int?) -> Step {
        guard self.state == .queued(gate: instance) else { return .none }
        switch answer {
        case .turn:
            return self.round(hasTurn: true)
        case .queued(let isFirst):
            self.isFirst = isFirst
            self.isPromised = true
            self.lacksQuorum = false
            return .none
        case .full(let waiters):
            guard self.isPromised else {
                self.state = .over
                return .refuse("\(waiters) waiters are as many as may wait")
            }
            self.failures += 1
            return self.pause()
        case .refused, .failed:
            guard let gate else { return self.gather() }
            if gate != instance {
                self.state = .queued(gate: gate)
                return .wait(gate: gate)
            }
            self.failures += 1
            self.triesRound = answer == .refused
            return self.pause()
        }
    }

    /// An instance says that it is this one's turn there.
    mutating func turn() -> Step {
        switch self.state {
        case .queued, .pausing:
            return self.round(hasTurn: true)
        case .gathering, .inRound, .held, .over:
            return .none
        }
    }

    /// A pause is over, or it is time to show that the waiter is alive.
    mutating func timerFired(gate: Int?) -> Step {
        switch self.state {
        case .queued, .pausing:
            guard let gate else { return self.gather() }
            if !self.joinsQueue || self.triesRound { return self.round(hasTurn: false) }
            // The gate may have missed a release, and all behind the first one believe what it says.
            if exchange(&self.isFirst, with: false), case .queued = self.state {
                self.isLook = true
                return self.round(hasTurn: false)
            }
            self.state = .queued(gate: gate)
            return .wait(gate: gate)
        case .gathering, .inRound, .held, .over:
            return .none
        }
    }

    /// An instance cannot be asked any more.
    mutating func lost(_ instance: Int, gate: Int?) -> Step {
        guard self.state == .queued(gate: instance) else { return .none }
        guard let gate else { return self.gather() }
        self.state = .queued(gate: gate)
        return .wait(gate: gate)
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
