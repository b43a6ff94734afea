import LockKernel

/// A lock that is held while a body runs: what `withLock` lends to it.
///
/// It cannot be copied, stored or captured, so that nothing can go on believing in it after the body has ended. What a body
/// starts beside itself (a `Task`, a child of a group, an `async let`) is given a copy of ``validity-swift.property`` instead,
/// which ends with the body:
///
/// ```swift
/// try await locks.withLock("import") { held in
///     let validity = held.validity
///     try await withThrowingTaskGroup(of: Void.self) { group in
///         for part in parts {
///             group.addTask {
///                 try validity.checkValid()
///                 try await importer.run(part, fencingToken: validity.token)
///             }
///         }
///         try await group.waitForAll()
///     }
/// }
/// ```
///
/// > Warning: Capturing `held` itself in such code is an error that Swift 6.3.1 does not report: the compiler crashes (signal 11
/// > in `MoveOnlyChecker`). Write `{ (held: borrowing HeldLock) in … }` to be told where.
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
    public var validUntil: ContinuousClock.Instant { self.hold.validUntil.continuous }

    /// Whether the grant is valid at this instant, by the clock: the truth on the first step after the process was paused.
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

    /// What can be copied and sent to other tasks: it ends with the body.
    public var validity: Validity { Validity(hold: self.hold) }

    /// A view of a held lock for tasks that its body starts.
    ///
    /// It may outlive the body, and then says so. Under a re-entrant call it ends with the outermost body that holds the lock.
    public struct Validity: Sendable {
        let hold: Hold

        /// The lock.
        public var name: LockName { self.hold.claim.name }

        /// Hand this to the protected resource with every write.
        public var token: FencingToken { self.hold.token }

        /// Where the token can be compared.
        public var tokenDomain: TokenDomain { self.hold.tokenDomain }

        /// After this instant the holder must assume nothing. It grows with every renewal while the body runs.
        public var validUntil: ContinuousClock.Instant { self.hold.validUntil.continuous }

        /// Whether the grant is valid at this instant, by the clock. False when the body has ended.
        public var isValid: Bool { self.hold.isValidForBody }

        /// Checks that the grant is valid at this instant, by the clock, and that the body has not ended.
        ///
        /// - Throws: ``LockError`` with ``LockError/Code-swift.struct/lost``, or ``LockError/Code-swift.struct/notHeld`` when
        ///   the body has ended.
        public func checkValid() throws(LockError) {
            try self.hold.checkValidForBody()
        }
    }
}
