import DistributedLocks
import LockKernel

/// The instances of a client: which of them may be asked, what a quorum is, and which of their policies is used. A part of
/// ``RedlockMachine``. Pure.
///
/// States: first it is *settling*: connections are being made, and the instances that have not been reached are waited for, up to a
/// moment; those who want to ask all of them something wait with it. Each instance is a ``RedlockMember``, *connected* or not.
struct RedlockMembers {
    typealias Instant = BootInstant
    typealias Failure = RedlockMachine.Failure
    typealias Outbox = RedlockMachine.Outbox
    typealias Outcome = RedlockMachine.Outcome

    /// Whether something is known that was not known before, so that those who wait for a quorum may have it, or never get one.
    enum News: Equatable {
        case none
        case changed
    }

    private let configuration: RedlockConfiguration
    private var members: [RedlockMember]
    /// Those that have a connection.
    private(set) var connected = InstanceSet()
    /// Which policy of the instances is this client's. Changed by ``follow(_:_:)`` only.
    private var policies: RedlockPolicyStateMachine
    // Of the policy that is used; asked for with each lock, so kept.
    private(set) var quorum: Int
    private(set) var policyText: String
    /// How far a token may be ahead of an instance's clock, by the policy that is used: floors are as far ahead, whatever this client was told.
    private(set) var skew: Int64
    /// Counts the changes of the policy.
    private(set) var policyNumber = 0
    /// Changes nothing on the instances but what it is told to: for the first installation.
    private var onlyLooks = false
    /// Somebody has asked for a lock: before that, nothing is changed on an instance that is new.
    private var wantsLocks = false
    private var isSettling = true
    /// Until then those instances are waited for that have not been reached; `nil`: nothing is connected yet.
    private(set) var settlingUntil: Instant?
    /// Who waits until that is over.
    private var settledWaiters: [CallID] = []
    /// When the first instance that is closed, or refused, is looked at again. Found out with each change.
    private(set) var opensAt: Instant?

    private static let shortestSilence: Duration = .milliseconds(250)

    init(_ configuration: RedlockConfiguration) {
        self.configuration = configuration
        self.members = configuration.sortedServers.enumerated().map {
            RedlockMember(index: $0.offset, name: RedlockConfiguration.text($0.element))
        }
        self.policies = configuration.policies
        self.quorum = self.policies.current.quorum
        self.policyText = self.policies.current.text
        self.skew = self.policies.current.skew.ticks
    }

    var count: Int { self.members.count }

    /// How many members the set has, by the policy that is used.
    var memberCount: Int { self.policies.current.count }

    func name(of index: Int) -> String { self.members[index].name }

    /// Why an instance cannot be asked now; `nil` if it can.
    func reason(of index: Int, now: Instant) -> String? { self.members[index].reason(now: now) }

    /// What is known of all of them, for people.
    func standings(now: Instant) -> [InstanceStanding] {
        self.members.map { member in
            InstanceStanding(
                index: member.index, name: member.name, closed: member.reason(now: now), isUntried: member.isUntried,
                runID: member.runID, found: member.found, refusal: member.refusal)
        }
    }

    func isOpen(_ index: Int) -> Bool { self.members[index].isOpen }

    /// Tokens up to this one may have been granted there and forgotten.
    func floor(of index: Int) -> Int64 { self.members[index].floor }

    // MARK: Rounds and renewals

    /// What a round begins with: why instances are not asked, and which did not answer in time lately.
    func roll(now: Instant) -> (reasons: [String?], isLate: [Bool]) {
        var reasons: [String?] = []
        var isLate: [Bool] = []
        reasons.reserveCapacity(self.members.count)
        isLate.reserveCapacity(self.members.count)
        for index in self.members.indices {
            reasons.append(self.members[index].isOpen ? nil : self.members[index].reason(now: now))
            isLate.append(self.members[index].isLate)
        }
        return (reasons, isLate)
    }

    /// The highest floor of those that are open, and not above the limit.
    func floor(atMost limit: Int64) -> Int64 {
        var floor: Int64 = 0
        for index in self.members.indices where self.members[index].isOpen {
            let own = self.members[index].floor
            if own > floor, own <= limit { floor = own }
        }
        return floor
    }

    /// Whether an instance may be asked for a token: it is open, by the policy of the round, and has not granted the token and
    /// forgotten it.
    func mayBeAsked(_ index: Int, token: Int64, policyNumber: Int) -> Bool {
        self.isOpen(index) && token > self.floor(of: index) && policyNumber == self.policyNumber
    }

    /// Who may vote: one that has turned out to be another server must not do so twice.
    var voters: InstanceSet {
        var voters = self.connected
        self.connected.forEach { if self.members[$0].isRefused { voters.remove($0) } }
        return voters
    }

    // MARK: Quorum

    private var openCount: Int { self.members.indices.count { self.members[$0].isOpen } }

    /// Whether a round can begin. Not before all instances have been reached, or found not to be reachable, or a moment has
    /// passed: so what is wrong with one of them is told, and nobody starts with half of them.
    func hasQuorum(now: Instant) -> Bool {
        guard self.openCount >= self.quorum else { return false }
        return self.isSettled(now: now)
    }

    /// Where those who want a lock wait: the first usable instance in an order that depends on the lock, the same for all.
    /// None without a quorum.
    func gate(from home: Int) -> Int? {
        guard self.openCount >= self.quorum else { return nil }
        return self.firstUsable(from: home)
    }

    /// The first instance from this one on that is open, and not late if there is such a one.
    func firstUsable(from home: Int) -> Int? {
        var usable: Int?
        for step in self.members.indices {
            let index = (home + step) % self.members.count
            guard self.members[index].isOpen else { continue }
            if !self.members[index].isLate { return index }
            usable = usable ?? index
        }
        return usable
    }

    /// What makes the whole Redlock unusable: instances that do not belong together, or so many that must not be used that the
    /// others are no quorum.
    ///
    /// Whether one belongs to another set may turn out when the others say which set this is: that is waited for.
    func refusal(now: Instant) -> Failure? {
        var refused = 0
        var culprit: (name: String, refusal: RedlockInstanceStateMachine.Refusal)?
        for index in self.members.indices {
            guard let refusal = self.members[index].refusal else { continue }
            if refusal.isPolicy, refusal.isOfWholeSet, !self.isSettled(now: now) { continue }
            refused += 1
            if culprit == nil || refusal.isOfWholeSet && culprit?.refusal.isOfWholeSet == false {
                culprit = (self.members[index].name, refusal)
            }
        }
        guard let culprit, culprit.refusal.isOfWholeSet || self.members.count - refused < self.quorum else {
            return nil
        }
        return Failure(
            culprit.refusal.isPolicy ? .policyMismatch : .serverRefused,
            "the instance \(culprit.name) cannot be used: \(culprit.refusal.reason)"
        )
    }

    /// - Parameter failures: what instances answered to the claim for which there is none.
    func noQuorum(
        _ code: LockError.Code = .noQuorum, _ failures: [(instance: Int, reason: String)] = [], now: Instant
    ) -> Failure {
        Failure(
            code,
            "\(self.quorum) of \(self.memberCount) instances are needed, and fewer can be used" + self.policies.advice,
            nodes: self.members.compactMap { member in
                let reason =
                    member.reason(now: now)
                    ?? failures.first { $0.instance == member.index }?.reason
                    ?? (member.isLate ? "no answer in time" : nil)
                return reason.map {
                    Failure.Node(
                        instance: member.index, name: member.name, reason: $0, isUntried: member.isUntried)
                }
            }
        )
    }

    // MARK: Settling

    mutating func started(onlyLooks: Bool, now: Instant) {
        self.onlyLooks = onlyLooks
        self.settlingUntil =
            now + (onlyLooks ? self.configuration.connectTimeout : self.configuration.instanceTimeout)
    }

    /// Somebody wants a lock.
    mutating func wanted(now: Instant, _ outbox: inout Outbox) {
        if self.wantsLocks { return }
        self.wantsLocks = true
        self.givePolicies(now, &outbox)
    }

    /// Somebody wants to ask the instances something, which begins when all of them have been reached or have turned out not to
    /// be, or the time for that is over.
    mutating func inquired(_ call: CallID, now: Instant, _ outbox: inout Outbox) {
        if self.isSettled(now: now) { outbox.add(.begin(call)) } else { self.settledWaiters.append(call) }
    }

    private func isSettled(now: Instant) -> Bool {
        guard self.isSettling else { return true }
        guard let settlingUntil else { return false }
        return self.members.allSatisfy(\.isSettled) || now >= settlingUntil
    }

    /// Something is known of an instance that was not known before, or the time to wait for that is over.
    private mutating func settled(_ now: Instant, _ outbox: inout Outbox) -> News {
        self.follow(now, &outbox)
        for index in self.members.indices {
            guard let refusal = self.members[index].takeNewRefusal() else { continue }
            outbox.add(.note(.unusable(instance: self.members[index].name, reason: refusal.reason)))
        }
        self.givePolicies(now, &outbox)
        if self.isSettled(now: now) {
            self.isSettling = false
            self.settlingUntil = nil
            for call in self.settledWaiters { outbox.add(.begin(call)) }
            self.settledWaiters = []
        }
        self.findWhenOneOpens()
        return .changed
    }

    private mutating func findWhenOneOpens() { self.opensAt = self.members.lazy.compactMap(\.opensAt).min() }

    /// It may be time to look again at instances.
    mutating func looksBecameDue(now: Instant, _ outbox: inout Outbox) {
        let terms = self.terms(now)
        for index in self.members.indices { self.members[index].timePassed(terms, &outbox) }
        self.findWhenOneOpens()
    }

    /// The time to wait for instances may be over.
    mutating func settlingTimePassed(now: Instant, _ outbox: inout Outbox) -> News {
        guard let settlingUntil, settlingUntil <= now else { return .none }
        return self.settled(now, &outbox)
    }

    /// Nothing is connected any more, and nothing is waited for.
    mutating func stopped(now: Instant, _ outbox: inout Outbox) -> News {
        self.isSettling = false
        return self.settled(now, &outbox)
    }

    // MARK: Policies

    private func terms(_ now: Instant) -> RedlockMember.Terms {
        RedlockMember.Terms(
            now: now, deadline: now + self.configuration.requestTimeout, mode: self.onlyLooks ? "look" : "check",
            policies: self.policies)
    }

    private func sightings(_ now: Instant) -> [RedlockPolicyStateMachine.Sighting] {
        self.members.map { $0.sighting(now: now) }
    }

    /// The instances may have another policy than they had.
    private mutating func follow(_ now: Instant, _ outbox: inout Outbox) {
        if self.policies.saw(self.sightings(now)) {
            let policy = self.policies.current
            self.policyNumber += 1
            self.quorum = policy.quorum
            self.policyText = policy.text
            self.skew = policy.skew.ticks
            if policy.generation > 1 {
                outbox.add(
                    .note(
                        .policyChanged(generation: policy.generation, members: policy.count, quorum: policy.quorum)))
            }
        }
        let terms = self.terms(now)
        for index in self.members.indices { self.members[index].follow(terms, &outbox) }
    }

    /// Gives this client's policy to instances that have none, or an earlier one, if it is sure of it.
    private mutating func givePolicies(_ now: Instant, _ outbox: inout Outbox) {
        guard self.wantsLocks, !self.onlyLooks, self.isSettled(now: now) else { return }
        let terms = self.terms(now)
        switch self.policies.gifts(self.sightings(now)) {
        case .none: break
        case .look(let indices):
            for index in indices { self.members[index].confirm(terms, &outbox) }
        case .give(let gifts):
            for gift in gifts { self.members[gift.instance].given(gift, terms, &outbox) }
        }
    }

    // MARK: One instance

    mutating func connected(_ index: Int, now: Instant, _ outbox: inout Outbox) {
        self.connected.insert(index)
        self.members[index].connected(self.terms(now), &outbox)
    }

    /// A connection has ended, or none could be made.
    mutating func disconnected(_ index: Int, _ error: RedisError) {
        self.connected.remove(index)
        self.members[index].disconnected(error)
    }

    /// It has become known that an instance cannot be asked any more, or for now.
    mutating func couldNotBeAsked(now: Instant, _ outbox: inout Outbox) -> News { self.settled(now, &outbox) }

    mutating func introductionAnswered(
        by index: Int, _ look: UInt64, _ outcome: Outcome<InstanceInfo>, now: Instant, _ outbox: inout Outbox
    ) -> News {
        let terms = self.terms(now)
        switch self.members[index].introductionAnswered(look, outcome, terms) {
        case .none: return .none
        case .changed: return self.settled(now, &outbox)
        case .introduced:
            guard let twin = self.twin(of: index) else {
                self.members[index].look(terms, &outbox)
                return .none
            }
            self.members[index].isTwin(of: twin, now: now)
            return self.settled(now, &outbox)
        }
    }

    /// The instance that is the same server, unless it was that server before, and is another one now.
    private func twin(of index: Int) -> String? {
        let runID = self.members[index].runID
        return self.members.first { $0.index != index && $0.runID == runID && self.connected.contains($0.index) }?.name
    }

    mutating func nodeAnswered(
        by index: Int, _ request: RedlockMachine.NodeRequest, _ outcome: Outcome<InstanceNodeReply>, now: Instant,
        _ tokens: inout TokenProposals, _ outbox: inout Outbox
    ) -> News {
        let terms = self.terms(now)
        let news: RedlockMember.News
        switch request.purpose {
        case .look(let look):
            news = self.members[index].nodeAnswered(look, asked: request.policy, outcome, terms, &tokens, &outbox)
        case .confirm(let look): news = self.members[index].confirmationAnswered(look, outcome, terms, &outbox)
        case .byHand: preconditionFailure("what was asked by hand was answered to the machine")
        }
        return news == .none ? .none : self.settled(now, &outbox)
    }

    /// A script found another node than the one that was seen.
    mutating func anotherNodeFound(by index: Int, now: Instant, _ outbox: inout Outbox) {
        self.members[index].anotherNodeFound(self.terms(now), &outbox)
    }

    /// A renewal found another policy than the one by which the lock is held.
    mutating func anotherPolicyFound(by index: Int, now: Instant, _ outbox: inout Outbox) {
        self.members[index].anotherPolicyFound(self.terms(now), &outbox)
    }

    mutating func answered(_ index: Int, sentAt: Instant, now: Instant) {
        self.members[index].answered(sentAt: sentAt, timeout: self.configuration.instanceTimeout, now: now)
    }

    /// What an instance has not done, it may not do for others either.
    mutating func failed(_ index: Int, _ error: RedisError, now: Instant, _ outbox: inout Outbox) {
        if error.code == .outcomeUnknown {
            self.members[index].wasLate()
            // The connection may lead nowhere, while a new one would not.
            outbox.add(
                .leaveIfSilent(index, for: max(self.configuration.instanceTimeout, Self.shortestSilence)))
        }
        // An instance that answers and refuses is done without until it does again what it is asked. One that refuses for good is
        // told of where there is no quorum without it.
        if error.isPassingRefusal || error.isPermission && self.openCount > self.quorum,
            self.members[index].refused(error, now: now)
        {
            outbox.add(.note(.refuses(instance: self.members[index].name, error: error.message)))
            // Not in the middle of what was answered.
            outbox.add(.awaitEndOfTurn(refusedBy: index))
        }
        // A master no more: the next connection finds out what it is.
        if error.isNoMaster, let connection = error.connection {
            outbox.add(.leave(index, connection, reason: error.reason))
        }
    }
}
