import DistributedLocks
import LockKernel

/// One round of Redlock with a fencing token: the client proposes the token, as in a Paxos ballot, and an instance grants it
/// only if it is above every token that it has granted before.
///
/// Events: the answers of the instances, their word that the lock is free for this round now, and the end of the time given.
/// It ends once: *granted* when a quorum has granted and enough validity is left, *failed* when that cannot come about any
/// more. Two rounds that succeed share an instance, and that one accepts strictly rising tokens only; so tokens are unique
/// and rise in real-time order, with no assumption about clocks. Tests/RedisLocksTests/Redlock checks that for all
/// interleavings of small cases.
///
/// The round itself is that of https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/.
struct RedlockRoundStateMachine {
    typealias Instant = BootInstant

    /// What an instance said.
    enum Answer: Equatable, Sendable {
        case granted
        /// Somebody else holds the lock there. If the round is queued, it is told when the lock is free for it.
        case busy(holder: String, isQueued: Bool)
        /// The token is not above what the instance has granted before. Somebody may hold the lock there; else it is empty.
        case behind(holder: String)
        /// The token is further ahead of the instance's clock than is allowed.
        case tooFarAhead
        /// The server refuses it, and goes on refusing until somebody changes something.
        case refused(String)
        /// No answer that helps: unreachable, refused for now, late, or not open yet.
        case failed(String)
    }

    /// What an instance tells with most answers.
    struct Told: Equatable, Sendable {
        /// The highest token that it has granted, or could have.
        var fence: Int64
        /// Its clock, in the units of tokens.
        var time: Int64
    }

    enum Action: Equatable, Sendable {
        case none
        /// - Parameter margin: how many instances more than a quorum have granted so far.
        case granted(validUntil: Instant, margin: Int)
        /// Release wherever the round may have been granted: see ``mayHold(_:)``.
        case failed
    }

    private enum Reply: Equatable {
        /// Not asked.
        case none(String)
        /// - Parameter isAwaited: others are late as a rule: what they answer counts, but nobody waits for it.
        case outstanding(isAwaited: Bool)
        case answered(Answer)
    }

    let quorum: Int
    /// What was proposed.
    let token: Int64
    let startedAt: Instant
    private let lease: Duration
    private let minimumValidity: Duration
    /// How far the token may be ahead of an instance's clock.
    let skew: Int64

    private var replies: [Reply]
    /// Empty until the first one tells something: grants do not.
    private var told: [Told?] = []
    // Kept with the replies, as they are asked for with every answer.
    private(set) var grantedCount = 0
    private var queuedCount = 0
    private var awaitedCount = 0
    private(set) var isOver = false
    private var isTimeOver = false
    private let failsEarly: Bool

    /// - Parameters:
    ///   - instances: for each one `nil` if it is asked, or why not.
    ///   - isLate: which of them did not answer in time lately.
    ///   - quorum: how many have to grant; by itself the majority of these.
    ///   - failsEarly: as soon as no quorum can come about; otherwise when all that are awaited have answered, so that it is
    ///     known who holds the lock.
    ///   - skew: how far a token may be ahead of an instance's clock.
    ///   - startedAt: before the first byte of the first request: validity counts from here.
    ///   - minimumValidity: less than this is worth nothing.
    init(
        instances: [String?],
        isLate: [Bool],
        quorum: Int? = nil,
        token: Int64,
        lease: Duration,
        minimumValidity: Duration,
        failsEarly: Bool = true,
        skew: Int64,
        startedAt: Instant
    ) {
        precondition(!instances.isEmpty && instances.count == isLate.count && token > 0)
        let quorum = quorum ?? RedlockPolicy.quorum(of: instances.count)
        self.quorum = quorum
        self.token = token
        self.lease = lease
        self.minimumValidity = minimumValidity
        self.failsEarly = failsEarly
        self.skew = skew
        self.startedAt = startedAt
        let prompt = instances.indices.count { instances[$0] == nil && !isLate[$0] }
        self.replies = instances.indices.map { index in
            if let reason = instances[index] { return .none(reason) }
            // Without the late ones there would be no quorum.
            return .outstanding(isAwaited: prompt < quorum || !isLate[index])
        }
        self.awaitedCount = self.replies.count { $0 == .outstanding(isAwaited: true) }
    }

    func isAsked(_ instance: Int) -> Bool {
        if case .none = self.replies[instance] { false } else { true }
    }

    /// Whether a reply of this instance is still to come.
    func isOutstanding(_ instance: Int) -> Bool {
        if case .outstanding = self.replies[instance] { true } else { false }
    }

    /// Whether the lock's key may be this round's there: granted, or not known.
    func mayHold(_ instance: Int) -> Bool {
        switch self.replies[instance] {
        case .none, .answered(.busy), .answered(.behind), .answered(.tooFarAhead): false
        case .outstanding, .answered(.granted), .answered(.refused), .answered(.failed): true
        }
    }

    /// Where the lock's key may be this round's.
    var mayHold: InstanceSet {
        var instances = InstanceSet()
        for index in self.replies.indices where self.mayHold(index) { instances.insert(index) }
        return instances
    }

    /// An instance has answered what it was asked last.
    mutating func answered(
        _ instance: Int, _ answer: Answer, told: Told?, now: @autoclosure () -> Instant
    ) -> Action {
        guard case .outstanding(let isAwaited) = self.replies[instance] else {
            preconditionFailure("instance \(instance) answered twice")
        }
        self.replies[instance] = .answered(answer)
        if isAwaited { self.awaitedCount -= 1 }
        switch answer {
        case .granted: self.grantedCount += 1
        case .busy(_, isQueued: true): self.queuedCount += 1
        case .busy, .behind, .tooFarAhead, .refused, .failed: break
        }
        if let told {
            if self.told.isEmpty { self.told = Array(repeating: nil, count: self.replies.count) }
            self.told[instance] = told
        }
        guard !self.isOver else { return .none }
        if self.grantedCount >= self.quorum {
            self.isOver = true
            let validUntil = LockValidity.deadline(lease: self.lease, sentAt: self.startedAt)
            guard now() + self.minimumValidity < validUntil else { return .failed }
            return .granted(validUntil: validUntil, margin: self.grantedCount - self.quorum)
        }
        guard self.grantedCount + self.queuedCount + self.awaitedCount < self.quorum,
            self.failsEarly || self.awaitedCount == 0
        else { return .none }
        self.isOver = true
        return .failed
    }

    /// The instance says that the lock is free for this round now. True: it has to be asked again.
    mutating func turn(_ instance: Int) -> Bool {
        guard !self.isOver, case .answered(.busy(_, isQueued: true)) = self.replies[instance] else { return false }
        self.replies[instance] = .outstanding(isAwaited: true)
        self.queuedCount -= 1
        self.awaitedCount += 1
        return true
    }

    /// The time for answers is over: what has not answered counts for nothing.
    mutating func timeIsOver() -> Action {
        guard !self.isOver else { return .none }
        self.isOver = true
        self.isTimeOver = true
        return .failed
    }

    /// How a round has failed.
    struct Failure: Equatable, Sendable {
        /// Some instance says that somebody else holds the lock.
        var isBusy = false
        /// The holder, if so many instances name the same one that nobody else can have a quorum.
        var holder: String?
        /// So many instances could not be asked, or did not answer, that there was no quorum at all.
        var isWithoutQuorum = false
        /// So many instances refuse for good that there is no quorum as long as they do.
        var isRefused = false
        /// Why, for each instance that could not be asked or gave no answer.
        var reasons: [(instance: Int, reason: String)] = []

        static func == (left: Failure, right: Failure) -> Bool {
            left.isBusy == right.isBusy && left.holder == right.holder
                && left.isWithoutQuorum == right.isWithoutQuorum && left.isRefused == right.isRefused
                && left.reasons.map(\.instance) == right.reasons.map(\.instance)
        }
    }

    var failure: Failure {
        var failure = Failure()
        var holders: [String: Int] = [:]
        var refusals = 0
        for (instance, reply) in self.replies.enumerated() {
            switch reply {
            case .none(let reason), .answered(.failed(let reason)):
                failure.reasons.append((instance, reason))
            case .answered(.refused(let reason)):
                refusals += 1
                failure.reasons.append((instance, reason))
            case .outstanding(let isAwaited):
                // What is still to come may be anything.
                if self.isTimeOver || !isAwaited { failure.reasons.append((instance, "no answer in time")) }
            case .answered(.busy(let holder, _)), .answered(.behind(let holder)):
                if holder.isEmpty { break }
                failure.isBusy = true
                let owner = String(holder.prefix(OwnerText.secretLength))
                holders[owner, default: 0] += 1
                if holders[owner] == self.replies.count - self.quorum + 1 { failure.holder = holder }
            case .answered(.granted), .answered(.tooFarAhead):
                break
            }
        }
        failure.isWithoutQuorum = self.replies.count - failure.reasons.count < self.quorum
        failure.isRefused = self.replies.count - refusals < self.quorum
        return failure
    }

    /// What to propose next, at least: above the fences that a quorum of those that may grant does not exceed. So one instance
    /// with a wild fence stops nobody, and does not drag the others along. Never below what was proposed now.
    func nextToken() -> Int64 {
        // The round was over before these could answer, which says nothing against them: they are taken to be like the others.
        let unheard = self.told.lazy.compactMap { told in
            told.flatMap { $0.fence <= $0.time &+ self.skew ? $0.fence : nil }
        }.max()
        let fences = self.replies.indices.map { index -> Int64 in
            switch self.replies[index] {
            case .answered(.granted): self.token
            case .answered(.busy), .answered(.behind): self.told.isEmpty ? .max : self.told[index]?.fence ?? .max
            case .outstanding(isAwaited: true) where !self.isTimeOver: unheard ?? self.token
            // It grants nothing, whatever is proposed, or says nothing in time.
            case .answered(.tooFarAhead), .answered(.refused), .answered(.failed), .outstanding, .none: .max
            }
        }
        // A client whose list of the members is too short has no quorum.
        let next = self.quorum <= fences.count ? fences.sorted()[self.quorum - 1] : .max
        return (next == .max ? self.token : max(self.token, next)) + 1
    }
}
