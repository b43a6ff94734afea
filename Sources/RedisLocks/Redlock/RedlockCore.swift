import DistributedLocks
import LockKernel
import LockTransport
import Logging
import NIOCore

/// All that a backend knows, and its connections. Lives on one event loop: nothing here is locked.
///
/// What is decided is decided by ``RedlockRoundStateMachine``, ``RedlockClaimStateMachine``, ``RedlockPolicyStateMachine`` and
/// ``RedlockInstanceStateMachine``; here their actions are carried out, and the answers are fed in.
final class RedlockCore {
    typealias Instant = BootInstant
    typealias RequestContinuation = WaitContinuation<Result<AcquireReply, LockError>>
    typealias Exchange = Result<RedisReply, RedisError>

    let configuration: RedlockConfiguration
    let eventLoop: any EventLoop
    let environment: Environment
    let logger: Logger
    /// Which policy of the instances is this client's. Changed by ``followPolicies()`` only.
    var policies: RedlockPolicyStateMachine
    // Of the policy that is used; asked for with each lock, so kept.
    private(set) var quorum: Int
    /// Counts the changes of the policy.
    private(set) var policyNumber = 0
    /// What renewals are compared with.
    private(set) var policyArgument: ScriptArgument
    /// How far a token may be ahead of an instance's clock.
    let skew: Int64
    var sink: (any LockEventSink)?
    var instances: [Instance] = []
    /// Changes nothing on the instances but what it is told to: for the first installation.
    var onlyLooks = false
    /// Somebody has asked for a lock: before that, nothing is changed on an instance that is new.
    var wantsLocks = false

    var claims: [AttemptID: Claim] = [:]
    /// By what those who have asked for a turn are named in the instances' messages.
    var waiters: [LockOwner.Secret: AttemptID] = [:]
    /// Claims that wait until a quorum can be asked.
    var gathering: Set<AttemptID> = []
    /// The first connections are being made. Until ``settlingUntil`` those instances are waited for that have not been reached.
    private var isSettling = true
    private var settlingUntil: Instant?

    /// What waits until that is over.
    var settledWaiters: [() -> Void] = []

    var outbox = ReleaseOutbox<Claim>()
    var releaseTimer: Scheduled<Void>?
    private var whenAllReleased: (() -> Void)?
    private var releaseLimit: Scheduled<Void>?
    private var isStopped = false

    var recent = RecentLocks()
    var times: ServerTimes
    var generator: BufferedRandomNumberGenerator
    private var suffixes: EncodedMetadata

    var timers = ClaimTimers()
    private let timer: EventLoopTimer
    private var armedFor: Instant?
    /// When the first instance that is closed, or refused, is looked at again. Found out with each change.
    private var opensAt: Instant?

    init(
        configuration: RedlockConfiguration, eventLoop: any EventLoop, environment: Environment, clientName: String,
        logger: Logger
    ) {
        self.configuration = configuration
        self.eventLoop = eventLoop
        self.environment = environment
        self.generator = BufferedRandomNumberGenerator(environment.entropy)
        self.logger = logger
        self.suffixes = EncodedMetadata { OwnerText.suffix(client: clientName, metadata: $0) }
        self.policies = configuration.policies
        self.quorum = self.policies.current.quorum
        self.policyArgument = .encoded([.text(self.policies.current.text)])
        self.skew = configuration.maximumClockSkew.ticks
        self.times = ServerTimes(count: configuration.servers.count, origin: environment.now)
        self.timer = EventLoopTimer(eventLoop: eventLoop, environment: environment)
    }

    var now: Instant { self.environment.now }

    // MARK: Asking

    /// Calls a script on an instance.
    ///
    /// - Parameters:
    ///   - command: the call, if it was encoded before.
    ///   - isWanted: asked if the script has to be called again. What has been taken back meanwhile must not come
    ///     after that.
    func submit(
        _ script: RedisScript,
        to instance: Instance,
        key: String,
        _ arguments: [ScriptArgument],
        deadline: Instant,
        command: RedisCommand? = nil,
        isWanted: @escaping () -> Bool = { true },
        then: @escaping (Exchange) -> Void
    ) {
        // Called on the event loop, where all of it lives.
        nonisolated(unsafe) let (isWanted, then) = (isWanted, then)
        instance.client.submit(
            command ?? script.command(key: key, arguments), deadline: deadline, isWanted: { isWanted() }
        ) { then($0) }
    }

    func send(_ command: RedisCommand, to instance: Instance, then: @escaping (Exchange) -> Void) {
        // Called on the event loop, where all of it lives.
        nonisolated(unsafe) let then = then
        instance.client.submit(command, deadline: self.deadline(nil)) { then($0) }
    }

    func owner(_ secret: LockOwner.Secret, of claim: LockClaim) -> ScriptArgument {
        .owner(secret, suffix: self.suffixes.bytes(of: claim.owner.metadata))
    }

    func deadline(_ deadline: Instant?, now: Instant? = nil) -> Instant {
        let patience = (now ?? self.now) + self.configuration.requestTimeout
        return deadline.map { min($0, patience) } ?? patience
    }

    // MARK: Quorum

    var openCount: Int { self.instances.count { $0.machine.isOpen } }

    /// What makes the whole Redlock unusable: instances that do not belong together, or so many that must not be used that the
    /// others are no quorum.
    ///
    /// Whether one belongs to another set may turn out when the others say which set this is: that is waited for.
    var refusal: LockError? {
        var refused = 0
        var culprit: (name: String, refusal: RedlockInstanceStateMachine.Refusal)?
        for instance in self.instances {
            guard let refusal = instance.machine.refusal else { continue }
            if refusal.isPolicy, refusal.isOfWholeSet, !self.isSettled { continue }
            refused += 1
            if culprit == nil || refusal.isOfWholeSet && culprit?.refusal.isOfWholeSet == false {
                culprit = (instance.name, refusal)
            }
        }
        guard let culprit,
            culprit.refusal.isOfWholeSet || self.instances.count - refused < self.quorum
        else { return nil }
        return LockError(
            culprit.refusal.isPolicy ? .policyMismatch : .serverRefused,
            "the instance \(culprit.name) cannot be used: \(culprit.refusal.reason)"
        )
    }

    /// - Parameter claim: for which there is none: what instances answered to it is told, too.
    func noQuorum(for claim: Claim? = nil) -> LockError {
        let now = self.now
        return LockError(
            .noQuorum,
            "\(self.quorum) of \(self.policies.current.count) instances are needed, and fewer can be used"
                + self.policies.advice,
            nodes: self.instances.compactMap { instance in
                let reason =
                    instance.reason(now: now)
                    ?? claim?.failures.first { $0.instance == instance.index }?.reason
                    ?? (instance.machine.isLate ? "no answer in time" : nil)
                return reason.map { LockError.NodeFailure(node: instance.name, message: $0) }
            }
        )
    }

    /// Whether a round can begin. Not before all instances have been reached, or found not to be reachable, or a moment has
    /// passed: so what is wrong with one of them is told, and nobody starts with half of them.
    func hasQuorum(now: Instant) -> Bool {
        guard self.openCount >= self.quorum else { return false }
        return self.isSettled
    }

    /// Another policy is used from now on.
    func use(_ policy: RedlockPolicy) {
        self.policyNumber += 1
        self.quorum = policy.quorum
        self.policyArgument = .encoded([.text(policy.text)])
    }

    var isSettled: Bool {
        guard self.isSettling else { return true }
        guard let settlingUntil else { return false }
        return self.instances.allSatisfy(\.machine.isSettled) || self.now >= settlingUntil
    }

    /// Something is known of an instance that was not known before, or the time to wait for that is over.
    func settled() {
        self.followPolicies()
        self.logRefusals()
        self.givePolicies()
        if self.isSettled {
            self.isSettling = false
            self.settlingUntil = nil
            let waiters = self.settledWaiters
            self.settledWaiters = []
            for body in waiters { body() }
        }
        self.findWhenOneOpens()
        self.quorumChanged()
        self.armTimer()
    }

    /// Where those who want a lock wait: the first usable instance in an order that depends on the lock, the same for all.
    /// None without a quorum.
    func gate(of claim: Claim) -> Int? {
        guard self.openCount >= self.quorum else { return nil }
        return self.firstUsable(from: claim.home)
    }

    /// The first instance from this one on that is open, and not late if there is such a one.
    func firstUsable(from home: Int) -> Int? {
        let instances = self.instances
        var usable: Int?
        for step in instances.indices {
            let index = (home + step) % instances.count
            guard instances[index].machine.isOpen else { continue }
            if !instances[index].machine.isLate { return index }
            usable = usable ?? index
        }
        return usable
    }

    /// Goes on with the claims that waited for a quorum, or tells them why there is none.
    func quorumChanged() {
        if self.gathering.isEmpty { return }
        if let refusal {
            for attempt in self.gathering.sorted() {
                guard let claim = self.claims[attempt], !claim.machine.isPromised else { continue }
                self.finish(claim, .failure(refusal))
            }
            return
        }
        guard self.hasQuorum(now: self.now) else { return }
        for attempt in self.gathering.sorted() {
            self.gathering.remove(attempt)
            guard let claim = self.claims[attempt] else { continue }
            self.begin(claim)
        }
    }

    // MARK: Time

    private func findWhenOneOpens() {
        self.opensAt = self.instances.lazy.compactMap(\.machine.opensAt).min()
    }

    func armTimer() {
        var earliest = self.settlingUntil
        func consider(_ moment: BootInstant?) {
            if let moment { earliest = earliest.map { min($0, moment) } ?? moment }
        }
        consider(self.timers.next())
        consider(self.opensAt)
        consider(self.outbox.retryAt)
        guard let next = earliest else { return }
        if let armedFor, armedFor <= next { return }
        self.armedFor = next
        let bound = NIOLoopBound(self, eventLoop: self.eventLoop)
        self.timer.arm(next) { bound.value.timerFired() }
    }

    private func timerFired() {
        self.armedFor = nil
        let now = self.now
        let due = self.timers.takeDue(at: now)
        for attempt in due.patience { self.patienceIsOver(attempt, now: now) }
        for attempt in due.wakeups { self.wakeUp(attempt, now: now) }
        for attempt in due.turns { self.turnIsDue(attempt, now: now) }
        for attempt in due.endings { self.hasEnded(attempt, now: now) }
        for instance in self.instances {
            if let opensAt = instance.machine.opensAt, opensAt <= now {
                instance.machine.looksAgain()
                self.introduce(instance)
            }
        }
        self.findWhenOneOpens()
        if self.outbox.isRetryDue(at: now) { self.retryLeftovers() }
        if let settlingUntil, settlingUntil <= now { self.settled() }
        self.armTimer()
    }

    /// The first connections are being made.
    func started() {
        self.settlingUntil =
            self.now + (self.onlyLooks ? self.configuration.connectTimeout : self.configuration.instanceTimeout)
        self.armTimer()
    }

    // MARK: The end

    /// For so long a client that ends goes on releasing what it may have on the instances: as long as a `LockClient` that ends
    /// has for that. It has nothing to do with how long one instance may take: a connection that was lost a moment ago, or is
    /// being made, is worth waiting for.
    private static let releaseTimeout = Duration.seconds(2)

    var isEnding: Bool { self.whenAllReleased != nil }

    /// Calls when nothing is left to be released, or when that takes too long.
    func whenReleased(_ body: @escaping () -> Void) {
        self.flushReleases()
        guard !self.isAllReleased else { return body() }
        self.whenAllReleased = body
        self.retryLeftovers()
        let bound = NIOLoopBound(self, eventLoop: self.eventLoop)
        self.releaseLimit = self.eventLoop.scheduleTask(in: TimeAmount(Self.releaseTimeout)) {
            bound.value.logLeftovers()
            bound.value.released()
        }
    }

    /// Nothing is out, and nothing is kept for an instance.
    private var isAllReleased: Bool {
        guard self.outbox.outCount == 0 else { return false }
        let now = self.now
        return self.instances.allSatisfy { $0.leftovers.isEmpty(at: now) }
    }

    func releasesChanged() {
        if self.whenAllReleased != nil, self.isAllReleased { self.released() }
    }

    private func released() {
        self.releaseLimit?.cancel()
        self.releaseLimit = nil
        exchange(&self.whenAllReleased, with: nil)?()
    }

    private func logLeftovers() {
        let now = self.now
        for instance in self.instances where !instance.leftovers.isEmpty(at: now) {
            self.logger.warning(
                "locks may be left on an instance until their leases end",
                metadata: [
                    "redlock.instance": "\(instance.name)", "redlock.locks": "\(instance.leftovers.count(at: now))",
                    "redlock.reason": "\(instance.machine.reason(now: now) ?? "it has not confirmed their release")",
                ]
            )
        }
        guard self.outbox.outCount > 0 else { return }
        self.logger.warning(
            "locks may be left on instances that have not answered",
            metadata: ["redlock.releases": "\(self.outbox.outCount)"])
    }

    /// Nothing is carried out any more.
    func refuseIfStopped(_ continuation: RequestContinuation) -> Bool {
        if self.isStopped {
            continuation.resume(returning: .failure(LockError(.clientNotRunning, "the backend was stopped")))
        }
        return self.isStopped
    }

    func stopped() {
        self.isStopped = true
        self.isSettling = false
        self.settled()
        for claim in self.claims.values {
            self.answer(claim, .failure(LockError(.clientNotRunning, "the backend was stopped")))
            // A claim and its rounds have each other.
            claim.round = nil
            claim.won = nil
        }
        self.claims = [:]
        self.waiters = [:]
        self.gathering = []
        _ = self.outbox.takeDelayed()
        self.releaseTimer?.cancel()
        self.timer.cancel()
        // Whoever hears of events has this backend.
        self.sink = nil
    }

    deinit {
        // A claim and its rounds have each other.
        for claim in self.claims.values {
            claim.round = nil
            claim.won = nil
        }
    }

    func tell(_ event: LockEvent) { self.sink?.receive(event) }
}
