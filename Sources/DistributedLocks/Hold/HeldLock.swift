/// A lock that is held while a body runs: what `withLock` lends to it.
///
/// It cannot be copied, stored or captured, so that nothing can go on believing in it after the body has ended. Copy the
/// ``token`` out of it where it has to travel.
public struct HeldLock: ~Copyable, Sendable {
    let hold: Hold

    init(_ hold: Hold) {
        self.hold = hold
    }

    /// The lock.
    public var name: LockName { self.hold.claim.name }

    /// Hand this to the protected resource with every write.
    public var token: FencingToken { self.hold.token }

    /// Where the token can be compared.
    public var tokenDomain: TokenDomain { self.hold.tokenDomain }

    /// After this instant the holder must assume nothing. It grows with every renewal.
    public var validUntil: ContinuousClock.Instant { self.hold.validUntil }

    /// Whether the grant is valid at this instant, by the clock: true on the first step after the process was paused.
    public var isValid: Bool { self.hold.loss() == nil }

    /// Checks that the grant is valid at this instant, by the clock.
    ///
    /// Call it right before a step that cannot be undone. It narrows the window in which a stale holder can do harm; only
    /// a resource that checks the ``token`` closes it.
    ///
    /// - Throws: ``LockError`` with ``LockError/Code-swift.struct/lost``.
    public func checkValid() throws(LockError) {
        try self.hold.checkValid()
    }
}
