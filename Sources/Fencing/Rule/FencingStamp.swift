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

extension FencingStamp {
    /// How fences keep it as text: the token in decimal digits, a space, and its domain.
    package var line: String { "\(self.token) \(self.domain.rawValue)" }

    /// Reads what ``line`` gives; `nil` for anything else.
    package init?(line: String) {
        guard let space = line.firstIndex(of: " "), let token = FencingToken(String(line[..<space])) else { return nil }
        let domain = String(line[line.index(after: space)...])
        guard !domain.isEmpty, domain.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else { return nil }
        self.init(token, domain: TokenDomain(rawValue: domain))
    }
}

extension FencingStamp {
    /// Every fence calls this before it compares: what it wrote it could not read again.
    ///
    /// - Throws: `LockError` `invalidConfiguration` if the domain is none that a fence can remember.
    package func check() throws(LockError) {
        guard self.domain.isWellFormed else {
            throw LockError(
                .invalidConfiguration,
                "a token domain has 1 to \(TokenDomain.maximumLengthInBytes) bytes without control characters"
            )
        }
    }
}

extension HeldLock {
    /// Hand this to the protected resource with every write, and before every read that a write depends on.
    public var stamp: FencingStamp { FencingStamp(self.token, domain: self.tokenDomain) }
}

extension LockHandle {
    /// Hand this to the protected resource with every write, and before every read that a write depends on.
    public var stamp: FencingStamp { FencingStamp(self.token, domain: self.tokenDomain) }
}
