public import DistributedLocks

/// The rule by which a protected resource accepts and refuses fencing tokens.
///
/// A resource remembers the highest token that it has seen, and where it came from. It accepts that one and higher ones,
/// refuses lower ones, and refuses those of another token domain until it is told to ``adopt(_:)`` one. Each kind of
/// resource (SQL, Redis, HTTP, files) carries out this rule in its own words, and is tested against it.
public struct FenceRule: Hashable, Sendable {
    /// The highest token that was accepted; `nil` before the first one.
    public private(set) var highest: FencingStamp?

    /// A resource that remembers this token.
    public init(highest: FencingStamp? = nil) {
        self.highest = highest
    }

    /// Somebody wants to write and presents a token. A token that is refused changes nothing.
    public mutating func presented(_ stamp: FencingStamp) -> FenceDecision {
        guard let highest else {
            self.highest = stamp
            return .first
        }
        guard stamp.domain == highest.domain else { return .otherDomain(highest: highest) }
        if stamp.token < highest.token { return .stale(highest: highest) }
        if stamp.token == highest.token { return .same }
        self.highest = stamp
        return .raised(from: highest)
    }

    /// An operator moves the resource to another backend, whose tokens cannot be compared with the earlier ones.
    ///
    /// Tokens of the former domain are refused from now on. Within one domain nothing is lowered: there it is the same as
    /// ``presented(_:)``. Nothing but this decides that the locks of the former domain are out of use, so make sure that
    /// nobody takes them any more.
    public mutating func adopt(_ stamp: FencingStamp) -> FenceDecision {
        guard let highest, stamp.domain != highest.domain else { return self.presented(stamp) }
        self.highest = stamp
        return .adopted(from: highest)
    }
}

/// What a protected resource decided about a token.
public enum FenceDecision: Hashable, Sendable {
    /// Accepted: the resource had seen none before.
    case first
    /// Accepted: it is the highest token so far, seen again.
    case same
    /// Accepted: it is higher than the highest so far.
    case raised(from: FencingStamp)
    /// Accepted: the resource was moved to another token domain.
    case adopted(from: FencingStamp)
    /// Refused: a later holder has been here.
    case stale(highest: FencingStamp)
    /// Refused: the token cannot be compared with the one that the resource remembers.
    case otherDomain(highest: FencingStamp)

    /// Whether the write may happen.
    public var isAccepted: Bool {
        switch self {
        case .first, .same, .raised, .adopted: true
        case .stale, .otherDomain: false
        }
    }

    /// The decision, if it is to accept.
    ///
    /// - Throws: ``FenceRefusal`` if it is to refuse.
    @discardableResult
    public func accepted(_ stamp: FencingStamp, by resource: LockName) throws(FenceRefusal) -> FenceDecision {
        switch self {
        case .first, .same, .raised, .adopted:
            return self
        case .stale(let highest):
            throw FenceRefusal(resource: resource, presented: stamp, highest: highest, reason: .stale)
        case .otherDomain(let highest):
            throw FenceRefusal(resource: resource, presented: stamp, highest: highest, reason: .otherDomain)
        }
    }
}

/// A protected resource refused a write, and nothing was written.
///
/// A stale holder lost its lock: whatever it read before may have been changed by a later one. To try again means to
/// acquire the lock again and to start from the beginning.
public struct FenceRefusal: Error, Hashable, Sendable {
    /// Why a token was refused.
    public enum Reason: String, Hashable, Sendable {
        /// A later holder has been here.
        case stale
        /// The token is of another domain than the one that the resource remembers.
        case otherDomain
    }

    /// The resource.
    public var resource: LockName
    /// What was presented.
    public var presented: FencingStamp
    /// What the resource remembers.
    public var highest: FencingStamp
    /// Why it was refused.
    public var reason: Reason

    /// Describes a refusal.
    public init(resource: LockName, presented: FencingStamp, highest: FencingStamp, reason: Reason) {
        self.resource = resource
        self.presented = presented
        self.highest = highest
        self.reason = reason
    }
}

extension FenceRefusal: CustomStringConvertible {
    /// What was refused, and why.
    public var description: String {
        switch self.reason {
        case .stale:
            "'\(self.resource)' refused the fencing token \(self.presented.token): it has seen \(self.highest.token), "
                + "so a later holder has been here"
        case .otherDomain:
            "'\(self.resource)' refused a fencing token of the domain '\(self.presented.domain)': it was written under "
                + "the domain '\(self.highest.domain)', and has to be told if that has changed"
        }
    }
}
