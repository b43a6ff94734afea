public import DistributedLocks

/// A fencing token with its domain: what travels with every write, and what a protected resource remembers.
public struct FencingStamp: Hashable, Sendable {
    /// The token.
    public var token: FencingToken
    /// Where the token can be compared.
    public var domain: TokenDomain

    /// Puts a token and its domain together.
    public init(_ token: FencingToken, domain: TokenDomain) {
        self.token = token
        self.domain = domain
    }
}

extension FencingStamp: CustomStringConvertible {
    /// The token, and its domain in brackets.
    public var description: String { "\(self.token) (\(self.domain))" }
}

extension HeldLock {
    /// Hand this to the protected resource with every write, and before every read that a write depends on.
    public var stamp: FencingStamp { FencingStamp(self.token, domain: self.tokenDomain) }
}

extension LockHandle {
    /// Hand this to the protected resource with every write, and before every read that a write depends on.
    public var stamp: FencingStamp { FencingStamp(self.token, domain: self.tokenDomain) }
}
