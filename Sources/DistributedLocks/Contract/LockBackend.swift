/// What stores locks: a file, a Redis master, a set of Redis masters, a ZooKeeper ensemble.
///
/// A backend does single exchanges with its store and tells what it hears. It keeps no promise to a caller: waiting,
/// deadlines, retries, renewal and cleaning up are the client's, written once for all backends (``LockClient``). The
/// page `docs/backend-contract.md` shows how each backend serves this contract. What only some stores can do is in the
/// refinements ``OrderedRelease``, ``CallerExecutor`` and ``ProcessLiveness``.
///
/// While this package is 0.1, its enumerations of replies and events may grow. A backend makes them and need not care; code that
/// switches over them has a `default`.
///
/// ## Threads
///
/// ``renew(_:)``, and whatever extends a session, must not need the global pool of threads: somebody's busy code would lose
/// everybody's locks. The client calls ``renew(_:)`` in a task that prefers an executor of its own. What this backend continues
/// in tasks has to be in the same task or in children of it; a `Task { }` runs on the pool.
///
/// ## Owners and retries
///
/// Every ``LockClaim`` has an owner of its own. All exchanges are decided by the owner, atomically on the store, and can
/// be repeated: a repeated ``request(_:)`` is answered with the grant or the place in the queue that the owner already
/// has (its lease set anew), a repeated release or withdrawal finds nothing to do.
///
/// ## Cancellation
///
/// ``request(_:)`` returns promptly when its task is cancelled: with ``LockError/Code-swift.struct/cancelled`` if the
/// store cannot have seen the request, otherwise with ``LockError/Code-swift.struct/outcomeUnknown``. The client then
/// withdraws the claim in the background.
public protocol LockBackend: Sendable {
    /// Names the store, without credentials: two backends with the same identity see the same locks.
    var identity: String { get }

    /// What the store can do. Asked after the first successful exchange at the latest; until then the widest guess.
    var capabilities: LockCapabilities { get }

    /// Sets where events go. Called once, before ``run()`` and before any exchange.
    func start(delivering sink: any LockEventSink)

    /// Does the background work until the task is cancelled: connections, watches, wake-ups.
    ///
    /// - Throws: when the backend cannot go on at all. A lost connection is no such thing.
    func run() async throws

    /// Asks for a lock, once.
    ///
    /// The reply ``AcquireReply/queued(_:)`` is a promise: sooner or later ``LockEvent/granted(_:_:)``,
    /// ``LockEvent/gone(_:)`` or ``LockEvent/failed(_:_:)`` follows, unless the claim is
    /// withdrawn. Each may be delivered before this call returns.
    ///
    /// - Throws: ``LockError``: `unreachable` by the request's deadline at the latest (or earlier, if the backend gives
    ///   up earlier), `outcomeUnknown`, `cancelled`, `serverRefused`, `noQuorum`, `policyMismatch`,
    ///   `invalidConfiguration` if the lease is outside the store's range.
    func request(_ request: AcquireRequest) async throws(LockError) -> AcquireReply

    /// Takes a claim back whatever became of it: leaves the queue, or, if the lock was granted meanwhile, releases it.
    ///
    /// - Throws: ``LockError`` if it is not known whether that was done; it is then tried again.
    func withdraw(_ claim: LockClaim) async throws(LockError)

    /// Renews grants: one exchange for as many as possible. Never called where leases belong to a session.
    ///
    /// - Returns: as many replies as there were renewals, in their order.
    func renew(_ renewals: [LockRenewal]) async -> [LockRenewalReply]

    /// Releases a grant, and hands the lock over to the next waiter.
    ///
    /// - Throws: ``LockError`` if it is not known whether that was done; it is then tried again.
    func release(_ claim: LockClaim) async throws(LockError) -> ReleaseReply

    /// Why those who wait cannot be served now, as far as this backend knows or finds out in a moment: its store cannot be
    /// reached, or refuses. `nil` if nothing is known to be wrong.
    ///
    /// Asked when somebody has waited in a queue for as long as allowed: whether the lock was busy all the time is not known
    /// then.
    func trouble() async -> LockError?

    /// Tells what is known of one lock, or of all locks that are held or waited for.
    func status(of name: LockName?) async throws(LockError) -> [LockStatus]

    /// Breaks a lock by hand.
    ///
    /// The holder is told at once. The next one is granted the lock when the holder has confirmed by releasing it or when
    /// its lease has passed, or, if `immediately` is set, now: then two may believe to hold it for that long.
    /// The fence is never set back. A holder that cannot be told, because it is another program, is left alone and
    /// ``BreakReply/cannotBeTold(remainingLease:)`` answered, unless `immediately` is set.
    func breakLock(_ name: LockName, immediately: Bool) async throws(LockError) -> BreakReply
}

extension LockBackend {
    /// Nothing is known.
    public func trouble() async -> LockError? { nil }
}

/// What a store can do.
public struct LockCapabilities: Sendable {
    /// To what a lease belongs. There may be more cases later: have a `default`.
    public enum LeaseScope: Sendable {
        /// Each grant has a lease of its own, which the client renews.
        case grant
        /// All grants share the lease of the session, which the backend keeps alive.
        case session
    }

    /// In which order waiters are served.
    public struct Fairness: Hashable, Sendable, RawRepresentable {
        /// The name.
        public let rawValue: String

        /// Names an order.
        public init(rawValue: String) { self.rawValue = rawValue }

        /// In the order in which they asked.
        public static let firstInFirstOut = Fairness(rawValue: "firstInFirstOut")
        /// In no order.
        public static let none = Fairness(rawValue: "none")
    }

    /// The short name of the backend, for logs and metrics: `embedded`, `redis`, `redlock`, `zookeeper`, `memory`.
    public var kind: String
    /// The leases that can be asked for.
    public var leaseRange: ClosedRange<Duration>
    /// To what a lease belongs.
    public var leaseScope: LeaseScope
    /// In which order waiters are served.
    public var fairness: Fairness
    /// The kinds of claims that the store understands. The client sends it no others.
    public var kinds: Set<LockClaim.Kind>

    /// What every store understands.
    private static let exclusiveOnly: Set<LockClaim.Kind> = [.exclusive]

    /// Describes a store that understands exclusive claims.
    public init(kind: String, leaseRange: ClosedRange<Duration>, leaseScope: LeaseScope, fairness: Fairness) {
        self.init(
            kind: kind,
            leaseRange: leaseRange,
            leaseScope: leaseScope,
            fairness: fairness,
            kinds: Self.exclusiveOnly
        )
    }

    /// Describes a store.
    public init(
        kind: String,
        leaseRange: ClosedRange<Duration>,
        leaseScope: LeaseScope,
        fairness: Fairness,
        kinds: Set<LockClaim.Kind>
    ) {
        self.kind = kind
        self.leaseRange = leaseRange
        self.leaseScope = leaseScope
        self.fairness = fairness
        self.kinds = kinds
    }
}

/// Receives what a backend hears. Calls may come from any thread; they return at once and take no backend lock.
///
/// A client's sink does not keep the client. It runs none of the users' code but their log and metrics handlers.
public protocol LockEventSink: Sendable {
    /// Takes an event.
    func receive(_ event: LockEvent)
}

/// What a backend tells without being asked. There may be more cases later: a sink of one's own has a `default` and ignores
/// them.
public enum LockEvent: Sendable {
    /// A queued claim was granted.
    case granted(AttemptID, LockGrant)
    /// A claim lost its place in the queue: it has to be made anew, with a new owner.
    case gone(AttemptID)
    /// A queued claim cannot be granted. The caller is told so, and the claim is withdrawn.
    case failed(AttemptID, LockError)
    /// Who holds the lock that a queued claim waits for, heard with what is asked or told anyway. No store is asked for it, so that it
    /// may be late, and a backend that hears nothing while a claim waits tells nothing.
    case held(AttemptID, by: [OwnerMetadata])
    /// A grant's validity was extended, by the backend itself.
    case extended(AttemptID, until: ContinuousClock.Instant)
    /// The validity of all grants of the session was extended.
    case sessionExtended(until: ContinuousClock.Instant)
    /// A grant was lost.
    case lost(AttemptID, LockError.LossReason)
    /// The session ended, and all its grants with it.
    case sessionLost
    /// The store was reached anew, and may have forgotten what is held: it is asked at once, and not only when the next renewals
    /// are due.
    case reconnected
}
