import DistributedLocks
import LockKernel

/// Decides all that a client does with a Redlock. Pure: time and random numbers are passed in.
///
/// It knows *instances*, *claims*, *renewals* and *releases*. Events are the methods named in the past tense; what is to be done then is
/// taken one by one with ``next()``, in its order. A request to instances leaves with all that it says, and comes back with each
/// answer, by which the answer finds its way: late answers to what is over are told by the numbers in it.
///
/// An **instance** (``RedlockMembers``, ``RedlockMember``) is connected or not. A connection has it looked at: who it is, then what its
/// node says of its policy. It may be open, and votes then; closed, apart, refused or away. It is looked at again when a script finds
/// another node than it was seen to have, when it refuses what it is asked, and after a time. What is known of all of them says which
/// policy is used, what a quorum is, and who is given a policy.
///
/// A **claim** (``RedlockClaims``, ``RedlockClaim``) begins with a request, and *gathers* until a quorum is open. A *round*
/// (``RedlockRound``) proposes a token (``TokenProposals``) to all instances at once; a quorum of grants makes it a *hold*
/// (``RedlockHold``), whatever falls short is taken back. Who has lost waits for the *turn* (``RedlockTurn``), and tries again when it
/// has that, when a message says that the lock is free, or when its time comes. A claim ends when its caller takes it back, with a
/// refusal, or when its lock has been released.
///
/// A **renewal** (``RedlockRenewals``) asks all instances, and is decided by a quorum. What is said of a lost lock is told to its caller.
///
/// A **release** (``RedlockReleases``) goes to all instances that may have something: at once, or a moment later with the request that
/// follows. Where an instance has not confirmed it, it is tried again until the key has ended by itself. When the backend *ends*, what
/// is still to be released is waited for, for a short time; when it has *stopped*, whoever still waits is told so.
struct RedlockMachine {
    private var commons: RedlockCommons
    private var claims = RedlockClaims()
    private var renewals = RedlockRenewals()
    private var isStopped = false
    /// What the alarm is set to.
    private var armedFor: Instant?

    /// - Parameter generator: for owners and pauses.
    init(_ configuration: RedlockConfiguration, _ generator: BufferedRandomNumberGenerator, now: Instant) {
        self.commons = RedlockCommons(configuration, generator, now: now)
    }

    /// What is to be done next; `nil`: nothing, until something happens.
    mutating func next() -> Effect? { self.commons.outbox.next() }

    /// How many claims are known. For tests of what is left behind.
    var count: Int { self.claims.count }

    // MARK: The backend

    /// The first connections are being made.
    ///
    /// - Parameter onlyLooks: it changes nothing on the instances but what it is told to.
    mutating func started(onlyLooks: Bool, now: Instant) {
        self.commons.now = now
        self.commons.members.started(onlyLooks: onlyLooks, now: now)
        self.arm()
    }

    /// The backend is to end: when nothing is left to be released, or when that takes too long, the connections may end.
    mutating func ended(now: Instant) {
        self.commons.now = now
        self.claims.releaseDelayed(&self.commons)
        self.commons.releases.ended(
            self.commons.members.connected, deadline: self.commons.deadline(), now: now, &self.commons.outbox)
        self.arm()
    }

    /// Nothing is connected any more.
    mutating func stopped(now: Instant) {
        self.commons.now = now
        self.isStopped = true
        self.follow(self.commons.members.stopped(now: now, &self.commons.outbox))
        self.claims.stopped(Self.stoppedFailure, &self.commons)
        self.commons.releases.stopped(&self.commons.outbox)
        self.commons.outbox.add(.finish)
    }

    private static let stoppedFailure = Failure(.clientNotRunning, "the backend was stopped")

    // MARK: Callers

    /// Somebody asks for a lock, and waits for the answer.
    mutating func requested(_ request: AcquireRequest, _ call: CallID, now: Instant) {
        self.commons.now = now
        if self.isStopped { return self.commons.outbox.add(.answer(call, .failed(Self.stoppedFailure))) }
        self.claims.requested(request, call, &self.commons)
        self.arm()
    }

    /// Who has asked for a lock waits for an answer no longer.
    mutating func requestCancelled(_ attempt: AttemptID, now: Instant) {
        self.commons.now = now
        self.claims.requestCancelled(attempt, &self.commons)
        self.arm()
    }

    /// A claim is given back.
    ///
    /// - Parameter call: who waits for the answer; `nil`: nobody does.
    mutating func withdrawn(_ attempt: AttemptID, _ call: CallID?, now: Instant) {
        self.commons.now = now
        self.claims.withdrawn(attempt, call, &self.commons)
        self.arm()
    }

    /// Locks are to be renewed.
    mutating func renewalsRequested(_ renewals: [LockRenewal], _ call: CallID, now: Instant) {
        self.commons.now = now
        self.renewals.asked(renewals, call, &self.claims, &self.commons)
        self.arm()
    }

    /// Somebody wants to ask the instances something.
    mutating func inquired(_ call: CallID, now: Instant) {
        self.commons.members.inquired(call, now: now, &self.commons.outbox)
    }

    // MARK: Connections

    mutating func connected(_ index: Int, now: Instant) {
        self.commons.now = now
        self.commons.members.connected(index, now: now, &self.commons.outbox)
        self.commons.releases.connected(
            index, self.commons.members.connected, deadline: self.commons.deadline(), now: now, &self.commons.outbox)
        self.arm()
    }

    /// A connection has ended, or none could be made.
    mutating func disconnected(_ index: Int, _ error: RedisError, now: Instant) {
        self.commons.now = now
        self.commons.members.disconnected(index, error)
        self.instanceLost(index)
    }

    /// The turn of the event loop has ended in which an instance has refused something.
    mutating func turnEnded(refusedBy index: Int, now: Instant) {
        self.commons.now = now
        self.instanceLost(index)
    }

    private mutating func instanceLost(_ index: Int) {
        self.claims.instanceLost(index, &self.commons)
        let news = self.commons.members.couldNotBeAsked(now: self.commons.now, &self.commons.outbox)
        self.follow(news)
        self.arm()
    }

    private mutating func follow(_ news: RedlockMembers.News) {
        if news == .changed { self.claims.quorumChanged(&self.commons) }
    }

    /// An instance has told something by itself.
    mutating func messageCame(_ message: InstanceMessage, from index: Int, now: Instant) {
        self.commons.now = now
        self.claims.messageCame(message, from: index, &self.commons)
        self.arm()
    }

    // MARK: Answers

    mutating func roundAnswered(
        _ number: UInt64, of claim: ClaimID, by index: Int, _ outcome: consuming Outcome<InstanceAcquireReply>,
        now: Instant
    ) {
        self.commons.now = now
        let said: RedlockRound.Said
        switch outcome {
        case .failure(let error):
            self.failed(index, error)
            let reason = LockError(error, calling: .instanceAcquire).message
            said = error.isLastingRefusal ? .refused(reason) : .failed(reason)
        case .success(let answer):
            self.commons.members.answered(index, sentAt: answer.sentAt, now: now)
            guard let reply = answer.value else {
                said = .failed("its answer makes no sense")
                break
            }
            if let told = reply.told { self.commons.tokens.told(told.time, by: index, sentAt: answer.sentAt) }
            if reply.outcome == .anotherNode {
                self.commons.members.anotherNodeFound(by: index, now: now, &self.commons.outbox)
            }
            said = reply.outcome == .granted ? .granted : .replied(reply)
        }
        self.claims.roundAnswered(number, of: claim, by: index, said, &self.commons)
        self.arm()
    }

    /// An instance has answered a release.
    ///
    /// - Parameters:
    ///   - election: where that is counted.
    ///   - isProbe: it had refused it before.
    mutating func releaseAnswered(
        _ election: Int?, isProbe: Bool, by index: Int, _ answer: Answered<Int64>, now: Instant
    ) {
        self.commons.now = now
        self.commons.members.answered(index, sentAt: answer.sentAt, now: now)
        self.follow(self.commons.releaseAnswered(election, isProbe: isProbe, by: index, answer.value))
        self.arm()
    }

    /// An instance has not confirmed a release.
    mutating func releaseFailed(_ release: Release, by index: Int, _ error: RedisError, now: Instant) {
        self.commons.now = now
        self.failed(index, error)
        self.follow(self.commons.releaseFailed(release, by: index))
        self.arm()
    }

    private mutating func follow(_ verdict: RedlockReleases.Verdict?) {
        if let verdict { self.claims.released(verdict, &self.commons) }
        self.commons.releases.endIfReleased(now: self.commons.now, &self.commons.outbox)
    }

    mutating func renewalAnswered(_ renewal: Renewal, by index: Int, _ outcome: Outcome<Int64>, now: Instant) {
        self.commons.now = now
        var answer: Int64?
        switch outcome {
        case .failure(let error): self.failed(index, error)
        case .success(let answered):
            self.commons.members.answered(index, sentAt: answered.sentAt, now: now)
            answer = answered.value
        }
        self.renewals.answered(renewal.number, by: index, answer, &self.claims, &self.commons)
        self.arm()
    }

    mutating func turnAnswered(_ request: TurnRequest, by index: Int, _ outcome: Outcome<ClaimReply>, now: Instant) {
        self.commons.now = now
        guard self.claims.isKnown(request.claim) else { return }
        var reply: ClaimReply?
        var isRefusal = false
        switch outcome {
        case .failure(let error):
            self.failed(index, error)
            isRefusal = error.code == .refused
        case .success(let answered):
            self.commons.members.answered(index, sentAt: answered.sentAt, now: now)
            reply = answered.value
        }
        self.claims.turnAnswered(request.claim, by: index, reply, isRefusal: isRefusal, &self.commons)
        self.arm()
    }

    /// What an instance has not done, it may not do for others either.
    private mutating func failed(_ index: Int, _ error: RedisError) {
        self.commons.members.failed(index, error, now: self.commons.now, &self.commons.outbox)
    }

    /// An instance has said who it is.
    mutating func introductionAnswered(
        look: UInt64, by index: Int, _ outcome: Outcome<InstanceInfo>, now: Instant
    ) {
        self.commons.now = now
        self.follow(
            self.commons.members.introductionAnswered(by: index, look, outcome, now: now, &self.commons.outbox))
        self.arm()
    }

    mutating func nodeAnswered(
        _ request: NodeRequest, by index: Int, _ outcome: Outcome<InstanceNodeReply>, now: Instant
    ) {
        self.commons.now = now
        self.follow(
            self.commons.members.nodeAnswered(
                by: index, request, outcome, now: now, &self.commons.tokens, &self.commons.outbox))
        self.arm()
    }

    // MARK: Time

    /// The alarm has gone off.
    mutating func alarmFired(now: Instant) {
        self.commons.now = now
        self.armedFor = nil
        self.claims.timePassed(&self.commons)
        self.commons.members.looksBecameDue(now: now, &self.commons.outbox)
        self.commons.releases.timePassed(
            self.commons.members.connected, deadline: self.commons.deadline(), now: now, &self.commons.outbox)
        self.follow(self.commons.members.settlingTimePassed(now: now, &self.commons.outbox))
        self.arm(afterAlarm: true)
    }

    mutating func timerFired(_ timer: Timer, now: Instant) {
        self.commons.now = now
        switch timer {
        case .releases: self.claims.releaseDelayed(&self.commons)
        case .end: self.commons.releases.endTimedOut(self.commons.members, now: now, &self.commons.outbox)
        }
        self.arm()
    }

    /// Sets the alarm, unless it goes off early enough.
    private mutating func arm(afterAlarm: Bool = false) {
        if self.isStopped { return }
        var earliest = self.commons.members.settlingUntil
        func consider(_ instant: Instant?) {
            if let instant { earliest = earliest.map { min($0, instant) } ?? instant }
        }
        consider(self.commons.members.opensAt)
        consider(self.commons.releases.retryAt)
        // Asked for with each answer, and seldom earlier than before.
        if afterAlarm || self.commons.timers.isChanged { consider(self.commons.timers.next()) }
        guard let earliest else { return }
        if let armedFor = self.armedFor, armedFor <= earliest { return }
        self.armedFor = earliest
        self.commons.outbox.add(.wake(at: earliest))
    }

    // MARK: Questions

    /// Whether an instance may be asked again what it could not do because it did not know the script. What has been taken back
    /// meanwhile must not come after that.
    func wants(_ request: Request, from index: Int) -> Bool {
        self.claims.wants(request, from: index, self.commons.members)
    }

    /// Why no quorum can be asked.
    func trouble(now: Instant) -> Failure? {
        let members = self.commons.members
        return members.refusal(now: now) ?? (members.hasQuorum(now: now) ? nil : members.noQuorum(now: now))
    }

    /// What makes the whole Redlock unusable.
    func refusal(now: Instant) -> Failure? { self.commons.members.refusal(now: now) }

    /// What is known of the instances, and how many of them decide.
    func standing(now: Instant) -> RedlockStanding {
        let members = self.commons.members
        return RedlockStanding(
            quorum: members.quorum, memberCount: members.memberCount, instances: members.standings(now: now))
    }
}
