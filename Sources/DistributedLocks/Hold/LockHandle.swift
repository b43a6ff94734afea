import LockKernel

/// A lock that was acquired without a scope.
///
/// Prefer `withLock`: it cannot forget to release, and it cancels its body when the lock is lost. Here there is no body to
/// cancel, so the caller has to watch ``lost()`` or to call ``checkValid()`` itself, and what it does between two checks
/// may happen after the loss. A handle that is dropped without ``release()`` is released in the background.
public final class LockHandle: Sendable {
    let hold: Hold
    private let client: LockClient

    init(hold: Hold, client: LockClient) {
        self.hold = hold
        self.client = client
    }

    deinit {
        self.client.releaseInBackground(self.hold)
    }

    /// The lock.
    public var name: LockName { self.hold.claim.name }

    /// Hand this to the protected resource with every write.
    public var token: FencingToken { self.hold.token }

    /// Where the token can be compared.
    public var tokenDomain: TokenDomain { self.hold.tokenDomain }

    /// After this instant the holder must assume nothing. It grows with every renewal.
    public var validUntil: ContinuousClock.Instant { self.hold.validUntil.continuous }

    /// The validity deadline now and after every renewal; a slow reader sees the latest only. Ends with the grant.
    public var validityUpdates: AsyncStream<ContinuousClock.Instant> { self.hold.validityUpdates() }

    /// Whether the grant is valid at this instant, by the clock. False after a release.
    public var isValid: Bool { self.hold.isValid }

    /// Checks that the grant is valid at this instant, by the clock.
    ///
    /// - Throws: ``LockError`` with ``LockError/Code-swift.struct/lost``, or ``LockError/Code-swift.struct/notHeld`` after
    ///   a release.
    public func checkValid() throws(LockError) {
        try self.hold.checkValid()
    }

    /// Waits for the end of the grant.
    ///
    /// - Returns: why it was lost; `nil` if it was released.
    /// - Throws: `CancellationError` if the calling task was cancelled before the grant ended.
    public func lost() async throws(CancellationError) -> LockError.LossReason? {
        try await self.hold.awaitLoss()
    }

    /// Releases the lock. Only the first call does anything.
    ///
    /// A release whose reply does not come is repeated in the background until it is confirmed or the lease has passed.
    /// The call is not cut short by cancellation.
    ///
    /// - Throws: ``LockError`` with ``LockError/Code-swift.struct/lost`` if the grant had been lost by the time of the call.
    public func release() async throws(LockError) {
        if let reason = await self.client.release(self.hold) {
            throw .lost(reason, name: self.name, token: self.token)
        }
    }
}
