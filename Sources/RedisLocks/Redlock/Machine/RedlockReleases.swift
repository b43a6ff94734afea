import DistributedLocks
import LockKernel

/// What this client takes back on the instances: the keys of rounds, turns. A part of ``RedlockMachine``. Pure.
///
/// A release that nobody waits for is *delayed*, to leave with the next request. It is *out* until all instances have answered. What an
/// instance has not confirmed is *left over* there, and tried again: when a connection is made, or after a pause where the instance
/// refuses; each until its key has ended by itself. Where a quorum has to confirm a release, an *election* counts the answers. When the
/// client *ends*, all of it is waited for, for a short time.
struct RedlockReleases {
    typealias Instant = BootInstant
    typealias ClaimID = RedlockMachine.ClaimID
    typealias Release = RedlockMachine.Release

    /// What the instances say to a release of the lock that a claim held, which a quorum has to confirm.
    struct Election {
        let claim: ClaimID
        let name: LockName
        /// `nil`: nobody waits for the result.
        let call: CallID?
        private var ballot: Ballot
        private var missing: Int

        init(_ claim: ClaimID, of name: LockName, count: Int, quorum: Int, call: CallID?) {
            self.claim = claim
            self.name = name
            self.call = call
            self.ballot = Ballot(count: count, quorum: quorum)
            self.missing = count
        }

        fileprivate var isComplete: Bool { self.missing == 0 }

        fileprivate mutating func voted(_ vote: Ballot.Vote) -> Verdict? {
            self.missing -= 1
            return self.ballot.voted(vote).map { Verdict(claim: self.claim, call: self.call, $0) }
        }
    }

    struct Verdict: Equatable {
        let claim: ClaimID
        let call: CallID?
        /// Whether the lock was held until now; `nil`: too few instances answered.
        let wasHeld: Bool?

        fileprivate init(claim: ClaimID, call: CallID?, _ verdict: Ballot.Verdict) {
            self.claim = claim
            self.call = call
            self.wasHeld =
                switch verdict {
                case .yes, .undecided: true
                case .no: false
                case .noQuorum: nil
                }
        }
    }

    /// What is left on one instance.
    private struct Instance {
        /// What has to be released there as soon as it can be reached: owners of rounds whose outcome is not known.
        var leftovers = Leftovers<Release>()
        /// One of them is tried again although the instance has refused it.
        var isProbed = false
    }

    private var outbox = ReleaseOutbox<ClaimID>()
    /// By their places, where the answers find them; `nil`: it is over, and its place free.
    private var elections: [Election?] = []
    private var freePlaces: [Int] = []
    private var instances: [Instance]
    private var isEnding = false

    /// A release that nobody waits for leaves with the next request, which saves the servers half of their work where one lock is
    /// taken after another; at the latest after this.
    private static let delay = Duration.microseconds(100)
    /// For so long a client that ends goes on releasing what it may have on the instances: as long as a `LockClient` that ends
    /// has for that. It has nothing to do with how long one instance may take: a connection that was lost a moment ago, or is
    /// being made, is worth waiting for.
    private static let endTimeout = Duration.seconds(2)

    init(instanceCount: Int) {
        self.instances = Array(repeating: Instance(), count: instanceCount)
    }

    /// When connected instances are asked once more to release what they have refused to.
    var retryAt: Instant? { self.outbox.retryAt }

    // MARK: Delayed ones

    var hasDelayed: Bool { self.outbox.hasDelayed }

    /// The release of a claim leaves with the next request.
    mutating func delayed(_ claim: ClaimID, _ effects: inout RedlockMachine.Outbox) {
        if self.outbox.delay(claim) { effects.add(.start(.releases, Self.delay)) }
    }

    mutating func takeDelayed(_ effects: inout RedlockMachine.Outbox) -> [ClaimID] {
        guard self.outbox.hasDelayed else { return [] }
        effects.add(.cancel(.releases))
        return self.outbox.takeDelayed()
    }

    // MARK: Out

    /// Answers are counted from now on, until all have come. Returns where.
    mutating func began(_ election: Election) -> Int {
        if let place = self.freePlaces.popLast() {
            self.elections[place] = election
            return place
        }
        self.elections.append(election)
        return self.elections.count - 1
    }

    /// A release is sent where there is a connection, and kept where there is none. Repeated until the instance has answered, or the
    /// lease is over. Returns what is decided by that.
    mutating func sent(
        _ release: Release, to instances: InstanceSet, from first: Int, kept: InstanceSet, connected: InstanceSet,
        deadline: Instant, now: Instant, _ effects: inout RedlockMachine.Outbox
    ) -> Verdict? {
        let reached = instances.intersection(connected)
        self.outbox.sent(reached.count)
        effects.ask(.release(release), of: reached, from: first, deadline: deadline)
        let away = instances.subtracting(connected)
        if away.isEmpty { return nil }
        var verdict: Verdict?
        away.forEach(from: first) { index in
            if kept.contains(index) { self.keep(release, for: index, connected, now) }
            if let decided = self.voted(release.election, .none) { verdict = decided }
        }
        return verdict
    }

    /// An instance has answered a release.
    ///
    /// - Parameters:
    ///   - election: where that is counted.
    ///   - isProbe: it tells whether others have a chance.
    ///   - answer: `nil`: it makes no sense.
    mutating func answered(
        _ election: Int?, isProbe: Bool, by index: Int, _ answer: Int64?, connected: InstanceSet, deadline: Instant,
        now: Instant, _ tokens: inout TokenProposals, _ effects: inout RedlockMachine.Outbox
    ) -> Verdict? {
        if isProbe {
            self.instances[index].isProbed = false
            self.releaseLeftovers(of: index, connected, deadline: deadline, now: now, &effects)
        }
        if answer == 2, let election, let name = self.elections[election]?.name {
            tokens.contended(name, now: now)
        }
        let vote: Ballot.Vote =
            switch answer {
            case 1, 2: .yes
            case 0: .no
            default: .none
            }
        self.outbox.answered()
        return self.voted(election, vote)
    }

    /// An instance has not confirmed a release.
    mutating func failed(_ release: Release, by index: Int, connected: InstanceSet, now: Instant) -> Verdict? {
        if release.isProbe { self.instances[index].isProbed = false }
        self.keep(release, for: index, connected, now)
        self.outbox.answered()
        return self.voted(release.election, .none)
    }

    private mutating func voted(_ election: Int?, _ vote: Ballot.Vote) -> Verdict? {
        guard let election else { return nil }
        let verdict = self.elections[election]?.voted(vote)
        if self.elections[election]?.isComplete == true {
            self.elections[election] = nil
            self.freePlaces.append(election)
        }
        return verdict ?? nil
    }

    // MARK: What is left

    private mutating func keep(_ release: Release, for index: Int, _ connected: InstanceSet, _ now: Instant) {
        // What it answers later decides nothing any more.
        var release = release
        release.isProbe = false
        guard self.instances[index].leftovers.keep(release, until: release.until, now: now) else { return }
        // Where there is no connection, the next one is waited for.
        if connected.contains(index) || self.isEnding { self.outbox.retry(at: now + self.pauseBeforeRetry) }
    }

    /// What an instance has refused is tried again after this. A client that ends has little time.
    private var pauseBeforeRetry: Duration { self.isEnding ? .milliseconds(100) : .milliseconds(500) }

    /// A connection was made.
    mutating func connected(
        _ index: Int, _ connected: InstanceSet, deadline: Instant, now: Instant,
        _ effects: inout RedlockMachine.Outbox
    ) {
        self.releaseLeftovers(of: index, connected, deadline: deadline, now: now, &effects)
    }

    private mutating func releaseLeftovers(
        of index: Int, _ connected: InstanceSet, deadline: Instant, now: Instant,
        _ effects: inout RedlockMachine.Outbox
    ) {
        for leftover in self.instances[index].leftovers.takeAll(at: now) {
            self.sendAgain(leftover, to: index, connected, deadline: deadline, now: now, &effects)
        }
    }

    private mutating func sendAgain(
        _ leftover: Release, isProbe: Bool = false, to index: Int, _ connected: InstanceSet, deadline: Instant,
        now: Instant, _ effects: inout RedlockMachine.Outbox
    ) {
        var release = leftover
        release.election = nil
        release.isProbe = isProbe
        let instance = InstanceSet(index)
        _ = self.sent(
            release, to: instance, from: 0, kept: instance, connected: connected, deadline: deadline, now: now,
            &effects)
    }

    /// It may be time to try again what connected instances have refused.
    mutating func timePassed(
        _ connected: InstanceSet, deadline: Instant, now: Instant, _ effects: inout RedlockMachine.Outbox
    ) {
        if self.outbox.isRetryDue(at: now) { self.retry(connected, deadline: deadline, now: now, &effects) }
    }

    /// Tries again what connected instances have refused: one release on each, which tells whether the others have a chance.
    /// Where there is no connection, a client that ends does not wait until the pause before the next attempt is over.
    private mutating func retry(
        _ connected: InstanceSet, deadline: Instant, now: Instant, _ effects: inout RedlockMachine.Outbox
    ) {
        for index in self.instances.indices where !self.instances[index].leftovers.isEmpty(at: now) {
            if self.isEnding { self.outbox.retry(at: now + self.pauseBeforeRetry) }
            guard connected.contains(index) else {
                if self.isEnding { effects.add(.hurry(index)) }
                continue
            }
            guard !self.instances[index].isProbed,
                let leftover = self.instances[index].leftovers.takeFirst(at: now)
            else { continue }
            self.instances[index].isProbed = true
            self.sendAgain(
                leftover, isProbe: true, to: index, connected, deadline: deadline, now: now, &effects)
        }
    }

    // MARK: The end

    /// The client ends: when nothing is left to be released, or when that takes too long, the connections may end.
    mutating func ended(
        _ connected: InstanceSet, deadline: Instant, now: Instant, _ effects: inout RedlockMachine.Outbox
    ) {
        guard !self.isAllReleased(at: now) else { return effects.add(.disconnect) }
        self.isEnding = true
        self.retry(connected, deadline: deadline, now: now, &effects)
        effects.add(.start(.end, Self.endTimeout))
    }

    /// Nothing is out, and nothing is kept for an instance.
    private func isAllReleased(at now: Instant) -> Bool {
        self.outbox.outCount == 0 && self.instances.allSatisfy { $0.leftovers.isEmpty(at: now) }
    }

    /// What was answered may have been the last thing that a client which ends has waited for.
    mutating func endIfReleased(now: Instant, _ effects: inout RedlockMachine.Outbox) {
        guard self.isEnding, self.isAllReleased(at: now) else { return }
        effects.add(.cancel(.end))
        self.disconnect(&effects)
    }

    private mutating func disconnect(_ effects: inout RedlockMachine.Outbox) {
        self.isEnding = false
        effects.add(.disconnect)
    }

    /// It has taken too long.
    mutating func endTimedOut(_ members: RedlockMembers, now: Instant, _ effects: inout RedlockMachine.Outbox) {
        for (index, instance) in self.instances.enumerated() where !instance.leftovers.isEmpty(at: now) {
            effects.add(
                .note(
                    .leftovers(
                        instance: members.name(of: index), count: instance.leftovers.count(at: now),
                        reason: members.reason(of: index, now: now) ?? "it has not confirmed their release")))
        }
        if self.outbox.outCount > 0 { effects.add(.note(.unanswered(releases: self.outbox.outCount))) }
        self.disconnect(&effects)
    }

    /// Nothing is connected any more.
    mutating func stopped(_ effects: inout RedlockMachine.Outbox) { _ = self.takeDelayed(&effects) }
}
