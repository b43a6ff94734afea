import DistributedLocks
import LockKernel

/// What all claims of a client on a Redlock have in common: the instances, the tokens, what is released, when something is due, and
/// what leaves. A part of ``RedlockMachine``, which has the parts change each other through it. Pure.
struct RedlockCommons {
    typealias Instant = BootInstant
    typealias Request = RedlockMachine.Request

    let configuration: RedlockConfiguration
    /// How a lock's key is called: the same on all instances.
    private let keys: RedisLockConfiguration
    var now: Instant
    var members: RedlockMembers
    var tokens: TokenProposals
    var releases: RedlockReleases
    var timers = ClaimTimers()
    /// By what those who have asked for a turn are named in the instances' messages.
    var waiters: [LockOwner.Secret: AttemptID] = [:]
    var generator: BufferedRandomNumberGenerator
    var outbox = RedlockMachine.Outbox()
    private var lastNumber: UInt64 = 0

    init(_ configuration: RedlockConfiguration, _ generator: BufferedRandomNumberGenerator, now: Instant) {
        self.configuration = configuration
        self.keys = configuration.server(configuration.servers[0])
        self.now = now
        self.members = RedlockMembers(configuration)
        self.tokens = TokenProposals(instanceCount: configuration.servers.count, now: now)
        self.releases = RedlockReleases(instanceCount: configuration.servers.count)
        self.generator = generator
    }

    /// Names what begins now: later things have higher numbers.
    mutating func nextNumber() -> UInt64 {
        self.lastNumber += 1
        return self.lastNumber
    }

    func key(of name: LockName) throws(LockError) -> String { try self.keys.key(of: name) }

    /// When something has to be answered.
    func deadline(_ deadline: Instant? = nil) -> Instant {
        let patience = self.now + self.configuration.requestTimeout
        return deadline.map { min($0, patience) } ?? patience
    }

    /// When a caller is answered at the latest: a little before its own deadline, so that it hears why.
    func endOfPatience(_ deadline: Instant?) -> Instant {
        let patience = self.deadline(deadline)
        return patience - min(self.now.duration(to: patience).divided(by: 4), .milliseconds(250))
    }

    /// When an instance has to have answered a request for a lock with this lease.
    func deadline(lease: Duration) -> Instant { self.now + self.configuration.timeout(lease: lease) }

    mutating func contended(_ name: LockName) { self.tokens.contended(name, now: self.now) }

    /// Releases on instances what this client must not leave there.
    ///
    /// - Parameters:
    ///   - first: the instance to begin with; those before it come last.
    ///   - kept: on which of them there may be something to release, if they cannot be reached now.
    ///   - election: for what a quorum has to confirm.
    mutating func release(
        _ what: RedlockMachine.Release.What, key: String, owner: LockOwner.Secret, of claim: LockClaim,
        lasts: Duration, on instances: InstanceSet, from first: Int = 0, kept: InstanceSet? = nil,
        election: RedlockReleases.Election? = nil
    ) {
        var release = RedlockMachine.Release(
            what: what, key: key, owner: owner, metadata: claim.owner.metadata, until: self.now + lasts)
        if let election { release.election = self.releases.began(election) }
        let verdict = self.releases.sent(
            release, to: instances, from: first, kept: kept ?? instances, connected: self.members.connected,
            deadline: self.deadline(), now: self.now, &self.outbox)
        if let verdict { self.answer(verdict) }
    }

    /// An instance has answered a release. Returns what is decided by that.
    mutating func releaseAnswered(
        _ election: Int?, isProbe: Bool, by index: Int, _ answer: Int64?
    ) -> RedlockReleases.Verdict? {
        self.releases.answered(
            election, isProbe: isProbe, by: index, answer, connected: self.members.connected,
            deadline: self.deadline(), now: self.now, &self.tokens, &self.outbox)
    }

    /// An instance has not confirmed a release. Returns what is decided by that.
    mutating func releaseFailed(_ release: RedlockMachine.Release, by index: Int) -> RedlockReleases.Verdict? {
        self.releases.failed(release, by: index, connected: self.members.connected, now: self.now)
    }

    /// Who waits for a release is answered.
    mutating func answer(_ verdict: RedlockReleases.Verdict) {
        guard let call = verdict.call else { return }
        switch verdict.wasHeld {
        case .some(let wasHeld): self.outbox.add(.answer(call, .left(wasHeld: wasHeld)))
        case nil: self.outbox.add(.answer(call, .failed(self.members.noQuorum(now: self.now))))
        }
    }
}
