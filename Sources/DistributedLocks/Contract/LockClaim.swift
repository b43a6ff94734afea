package import LockKernel

/// Names an attempt to acquire within one client. Never used twice.
public struct AttemptID: Hashable, Comparable, Sendable, RawRepresentable, CustomStringConvertible {
    /// The number.
    public let rawValue: UInt64

    /// Makes an identifier of a number.
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// Whether the left one was made earlier.
    public static func < (left: AttemptID, right: AttemptID) -> Bool { left.rawValue < right.rawValue }

    /// The number in decimal digits.
    public var description: String { String(self.rawValue) }
}

/// An attempt to acquire one lock, from the request to the release.
public struct LockClaim: Sendable {
    /// In what way a lock is asked for.
    ///
    /// There is one kind. A store that is asked for a kind that it does not know would grant what must not be granted together, so
    /// the client asks it for those only that it lists (``LockCapabilities/kinds``).
    public struct Kind: Hashable, Sendable, RawRepresentable {
        /// The number of the kind, which no other kind has.
        public let rawValue: UInt8

        /// Names a kind.
        public init(rawValue: UInt8) { self.rawValue = rawValue }

        /// One holder at a time.
        public static var exclusive: Kind { Kind(rawValue: 0) }
    }

    /// Names the claim in events.
    public let attempt: AttemptID
    /// The lock.
    public let name: LockName
    /// Who asks, made afresh for this claim.
    public let owner: LockOwner
    /// How long a grant lasts unless it is renewed.
    public let lease: Duration
    /// In what way.
    public let kind: Kind

    /// Makes a claim.
    public init(attempt: AttemptID, name: LockName, owner: LockOwner, lease: Duration, kind: Kind = .exclusive) {
        self.attempt = attempt
        self.name = name
        self.owner = owner
        self.lease = lease
        self.kind = kind
    }
}

/// Asks for a lock.
public struct AcquireRequest: Sendable {
    /// What is asked for.
    public let claim: LockClaim
    /// Whether to join the queue when the lock is held.
    public let joinsQueue: Bool
    /// When this exchange must have been answered; `nil` if the backend's own patience decides.
    public var deadline: ContinuousClock.Instant? { self.latest?.continuous }
    package let latest: BootInstant?

    /// Makes a request.
    public init(claim: LockClaim, joinsQueue: Bool, deadline: ContinuousClock.Instant?) {
        self.init(claim: claim, joinsQueue: joinsQueue, latest: BootInstant(deadline))
    }

    init(claim: LockClaim, joinsQueue: Bool, latest: BootInstant?) {
        self.claim = claim
        self.joinsQueue = joinsQueue
        self.latest = latest
    }
}

/// Answers a request. There may be more cases later: have a `default`.
public enum AcquireReply: Sendable {
    /// The lock is the owner's.
    case granted(LockGrant)
    /// The lock is held; the claim waits in the queue.
    case queued(QueuePlace)
    /// The lock is held, and the claim was not to wait.
    ///
    /// - Parameter holders: who holds it, where known.
    case busy(holders: [OwnerMetadata])
}

/// A place in a queue, as far as the store knows.
public struct QueuePlace: Sendable {
    /// How many are served before, the holder not counted; `nil` where unknown.
    public var waitersAhead: Int?
    /// Who holds the lock now, where known.
    public var holders: [OwnerMetadata]

    /// Describes a place.
    public init(waitersAhead: Int?, holders: [OwnerMetadata]) {
        self.waitersAhead = waitersAhead
        self.holders = holders
    }
}

/// A grant as the store gives it.
public struct LockGrant: Sendable {
    /// Rises with every grant of a name.
    public var token: FencingToken
    /// The domain of the token.
    public var tokenDomain: TokenDomain
    /// After this instant the holder must assume nothing (see ``LockValidity``).
    public var validUntil: ContinuousClock.Instant {
        get { self.validity.continuous }
        set { self.validity = BootInstant(newValue) }
    }
    var validity: BootInstant

    /// Describes a grant.
    public init(token: FencingToken, tokenDomain: TokenDomain, validUntil: ContinuousClock.Instant) {
        self.init(token: token, tokenDomain: tokenDomain, validity: BootInstant(validUntil))
    }

    package init(token: FencingToken, tokenDomain: TokenDomain, validity: BootInstant) {
        self.token = token
        self.tokenDomain = tokenDomain
        self.validity = validity
    }
}

/// Asks for one grant to be renewed.
public struct LockRenewal: Sendable {
    /// The claim that holds the lock.
    public let claim: LockClaim
    /// When the grant's present validity ends: a reply later than that is of no use.
    public var deadline: ContinuousClock.Instant { self.latest.continuous }
    package let latest: BootInstant

    /// Makes a renewal.
    public init(claim: LockClaim, deadline: ContinuousClock.Instant) {
        self.init(claim: claim, latest: BootInstant(deadline))
    }

    init(claim: LockClaim, latest: BootInstant) {
        self.claim = claim
        self.latest = latest
    }
}

/// Answers one renewal. There may be more cases later: have a `default`.
public enum LockRenewalReply: Sendable {
    /// The lease was set anew.
    case extended(until: ContinuousClock.Instant)
    /// The owner does not hold the lock any more.
    case lost(LockError.LossReason)
    /// It is not known whether the lease was set anew.
    case failed(LockError)
}

/// Answers a release. There may be more cases later: have a `default`.
public enum ReleaseReply: Sendable {
    /// The owner held the lock, and does not any more.
    case released
    /// The owner did not hold the lock any more.
    case notHeld
}

/// Answers a request to break a lock. There may be more cases later: have a `default`.
public enum BreakReply: Sendable {
    /// The lock was taken from its holder, or will be when it confirms or its lease has passed.
    case broken(OwnerMetadata?)
    /// The holder is another program, which hears nothing of this: nothing was changed. Breaking the lock at once takes it away.
    ///
    /// - Parameter remainingLease: after so long the lock is free by itself, unless it is renewed; `nil` if that is not known, or never.
    case cannotBeTold(remainingLease: Duration?)
    /// Nobody held the lock.
    case notHeld
}
