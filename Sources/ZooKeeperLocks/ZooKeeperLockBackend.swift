public import DistributedLocks
import LockKernel
package import LockTransport
public import Logging
public import NIOCore
import NIOPosix
import Synchronization

/// Locks on a ZooKeeper ensemble.
///
/// - A lock is granted by a quorum; it survives the loss of any minority of the servers.
/// - Waiters are served in the order in which they asked. Each watches the one before it, and nobody else is woken.
/// - Fencing tokens are the ensemble's transaction numbers, of the domain `zxid:<ensemble>`.
/// - All locks of a client share its session: the lease is the session's timeout.
///
/// It needs ZooKeeper 3.5 or newer; it is tested with 3.8.
public final class ZooKeeperLockBackend: OrderedRelease {
    /// Names the ensemble and the chroot, without credentials.
    public let identity: String
    let configuration: ZooKeeperLockConfiguration
    let facts = SessionFacts()
    let store: EventLoopStore<ZooKeeperShell>

    /// Uses an ensemble. Nothing is connected before ``run()``.
    ///
    /// - Parameters:
    ///   - configuration: Where the ensemble is, and how it is used.
    ///   - eventLoopGroup: Whose event loops do the input and output; one of them is used. `nil`: the process's own
    ///     group (`MultiThreadedEventLoopGroup.singleton`).
    ///   - logger: Where lost connections and sessions are told.
    /// - Throws: `LockError` `invalidConfiguration`.
    public convenience init(
        configuration: ZooKeeperLockConfiguration,
        eventLoopGroup: (any EventLoopGroup)? = nil,
        logger: Logger = Logger(label: "dlock.zookeeper") { _ in SwiftLogNoOpLogHandler() }
    ) throws(LockError) {
        try self.init(
            configuration: configuration, eventLoopGroup: eventLoopGroup, logger: logger, environment: .system)
    }

    package init(
        configuration: ZooKeeperLockConfiguration,
        eventLoopGroup: (any EventLoopGroup)?,
        logger: Logger,
        environment: NetworkEnvironment
    ) throws(LockError) {
        try configuration.check()
        self.configuration = configuration
        self.identity = configuration.description
        let eventLoop = (eventLoopGroup ?? MultiThreadedEventLoopGroup.singleton).any()
        self.store = EventLoopStore(
            ZooKeeperShell(
                configuration: configuration,
                eventLoop: eventLoop,
                environment: environment,
                facts: self.facts,
                logger: logger
            ),
            on: eventLoop
        )
    }

    /// The lease is the timeout of the session, settled when it is made; first in, first out.
    public var capabilities: LockCapabilities {
        LockCapabilities(
            kind: "zookeeper",
            leaseRange: (self.facts.timeout ?? .seconds(1))...(.seconds(86_400)),
            leaseScope: .session,
            fairness: .firstInFirstOut
        )
    }

    /// Why the session cannot be used.
    public func trouble() async -> LockError? {
        let answer = await self.store.ask { $0.inquire(.trouble, $1) }
        guard case .trouble(let trouble) = answer else {
            preconditionFailure("who asks what is wrong was answered with \(answer)")
        }
        return trouble.map { LockError($0) }
    }

    /// Sets where events go.
    public func start(delivering sink: any LockEventSink) {
        self.store.execute { $0.start(delivering: sink) }
    }

    /// Connects, keeps the session alive, and attaches it to another server whenever a connection is lost, until it is
    /// cancelled. Then the session is ended, so that nothing of it is left.
    public func run() async throws {
        await self.store.ask {
            $0.run($1)
        } cancelled: {
            $0.end()
        }
    }

    /// Asks for a lock: one round trip for a free one.
    public func request(_ request: AcquireRequest) async throws(LockError) -> AcquireReply {
        if Task.isCancelled { throw LockError(.cancelled, "cancelled before it was sent") }
        let attempt = request.claim.attempt
        return try await self.store.ask {
            $0.request(request, $1)
        } cancelled: {
            $0.cancel(attempt)
        }.get()
    }

    /// Leaves the queue, or releases what was granted meanwhile.
    public func withdraw(_ claim: LockClaim) async throws(LockError) {
        _ = try await self.leave(claim)
    }

    /// Releases a lock: its node is deleted, which wakes the next one.
    public func release(_ claim: LockClaim) async throws(LockError) -> ReleaseReply {
        try await self.leave(claim) ? .released : .notHeld
    }

    /// The session's requests are carried out in their order, and a delete is repeated until it is confirmed or the session
    /// is over. So what follows in the same client need not wait for the quorum, and both are written to disk together.
    public func releaseInOrder(
        _ claim: LockClaim,
        heldFor: Duration,
        ended: @escaping @Sendable (Result<ReleaseReply, LockError>) -> Void
    ) -> Bool {
        let attempt = claim.attempt
        self.store.execute { $0.withdraw(attempt) }
        ended(.success(.released))
        return true
    }

    private func leave(_ claim: LockClaim) async throws(LockError) -> Bool {
        try await self.store.ask { $0.withdraw(claim.attempt, $1) }.get()
    }

    /// Never called: the session keeps all locks.
    public func renew(_ renewals: [LockRenewal]) async -> [LockRenewalReply] {
        renewals.map { _ in .failed(LockError(.invalidConfiguration, "leases belong to the session here")) }
    }

    /// Tells who holds and who waits, in their order.
    public func status(of name: LockName?) async throws(LockError) -> [LockStatus] {
        if let name { return [try await self.status(name)] }
        var all: [LockStatus] = []
        for name in try await self.names() {
            let status = try await self.status(name)
            if status.holder != nil || !status.obstacles.isEmpty { all.append(status) }
        }
        return all
    }

    /// Breaks a lock by hand. A node of another kind, or of another program, cannot be told; it stays as it is, unless
    /// `immediately` is set.
    public func breakLock(_ name: LockName, immediately: Bool) async throws(LockError) -> BreakReply {
        switch try await self.ask(.breakLock(lock: self.paths.lock(name), immediately: immediately)) {
        case .broken(let holder): return .broken(holder)
        case .cannotBeTold: return .cannotBeTold(remainingLease: nil)
        case .notHeld: return .notHeld
        case let answer: preconditionFailure("who breaks a lock was answered with \(answer)")
        }
    }

    // MARK: What people ask

    private func status(_ name: LockName) async throws(LockError) -> LockStatus {
        let answer = try await self.ask(.status(lock: self.paths.lock(name)))
        guard case .status(let standing) = answer else {
            preconditionFailure("who asks for a status was answered with \(answer)")
        }
        return LockStatus(name, standing)
    }

    /// All names that have contenders.
    private func names() async throws(LockError) -> [LockName] {
        let answer = try await self.ask(.names)
        guard case .names(let nodes) = answer else {
            preconditionFailure("who asks for names was answered with \(answer)")
        }
        return nodes.compactMap { NodeName.lockName(of: $0) }
    }

    /// One question that is not asked again, within the configured time.
    private func ask(_ inquiry: Inquiry) async throws(LockError) -> ZooKeeperMachine.Answer {
        let answer = await self.store.ask { $0.inquire(inquiry, $1) }
        if case .failed(let failure) = answer { throw LockError(failure) }
        return answer
    }

    private var paths: NodePaths { NodePaths(chroot: self.configuration.chroot) }
}

/// What other threads see of the session.
final class SessionFacts: Sendable {
    private let values = Mutex<Duration?>(nil)

    /// The timeout that was negotiated last.
    var timeout: Duration? {
        get { self.values.withLock { $0 } }
        set { self.values.withLock { $0 = newValue } }
    }
}
