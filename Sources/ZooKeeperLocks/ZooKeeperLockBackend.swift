public import DistributedLocks
import LockKernel
package import LockTransport
public import Logging
public import NIOCore
import NIOPosix

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
    let store: EventLoopStore<ZooKeeperLockCore>

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
            ZooKeeperLockCore(
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
        await self.store.ask { core, answer in
            answer.resume(returning: core.client.isOpen ? nil : LockError(core.refusal ?? core.client.notConnected))
        }
    }

    /// Sets where events go.
    public func start(delivering sink: any LockEventSink) {
        self.store.execute { $0.sink = sink }
    }

    /// Connects, keeps the session alive, and attaches it to another server whenever a connection is lost, until it is
    /// cancelled. Then the session is ended, so that nothing of it is left.
    public func run() async throws {
        await self.store.ask { (core, gone: WaitContinuation<Void>) in
            core.client.start {
                core.stopped()
                gone.resume()
            }
        } cancelled: {
            $0.stop()
        }
    }

    /// Asks for a lock: one round trip for a free one.
    public func request(_ request: AcquireRequest) async throws(LockError) -> AcquireReply {
        if Task.isCancelled { throw LockError(.cancelled, "cancelled before it was sent") }
        let attempt = request.claim.attempt
        return try await self.store.ask {
            $0.request(request, $1)
        } cancelled: {
            $0.requestCancelled(attempt)
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
        self.store.execute { $0.withdraw(claim) }
        ended(.success(.released))
        return true
    }

    private func leave(_ claim: LockClaim) async throws(LockError) -> Bool {
        try await self.store.ask { $0.withdraw(claim, $1) }.get()
    }

    /// Never called: the session keeps all locks.
    public func renew(_ renewals: [LockRenewal]) async -> [LockRenewalReply] {
        renewals.map { _ in .failed(LockError(.invalidConfiguration, "leases belong to the session here")) }
    }

    /// Tells who holds and who waits, in their order.
    public func status(of name: LockName?) async throws(LockError) -> [LockStatus] {
        if let name { return [try await self.ask { $0.status(of: name, then: $1) }] }
        let names = try await self.ask { $0.names(then: $1) }
        var all: [LockStatus] = []
        for name in names {
            let status = try await self.ask { $0.status(of: name, then: $1) }
            if status.holder != nil || !status.obstacles.isEmpty { all.append(status) }
        }
        return all
    }

    /// Breaks a lock by hand. A node of another kind, or of another program, cannot be told; it stays as it is, unless
    /// `immediately` is set.
    public func breakLock(_ name: LockName, immediately: Bool) async throws(LockError) -> BreakReply {
        try await self.ask { $0.breakLock(name, immediately: immediately, then: $1) }
    }

    // MARK: The event loop

    /// One question that is not asked again, within the configured time.
    private func ask<Answer: Sendable>(
        _ question:
            @escaping @Sendable (
                ZooKeeperLockCore, @escaping (Result<Answer, ZooKeeperError>) -> Void
            ) -> Void
    ) async throws(LockError) -> Answer {
        let patience = self.configuration.requestTimeout
        return try await self.store.ask { (core, continuation: WaitContinuation<Result<Answer, LockError>>) in
            let once = NIOLoopBound(Once(continuation), eventLoop: core.eventLoop)
            let deadline = core.now + patience
            core.whenOpen(within: patience) { error in
                if let error { return once.value.resume(.failure(error)) }
                let left = max(.zero, core.now.duration(to: deadline))
                let timer = core.eventLoop.scheduleTask(in: TimeAmount(left)) {
                    once.value.resume(
                        .failure(LockError(.unreachable, "the ensemble did not answer within \(patience.brief)"))
                    )
                }
                question(core) { answer in
                    timer.cancel()
                    once.value.resume(answer.mapError { LockError($0) })
                }
            }
        }.get()
    }
}

/// Resumes a continuation with whatever comes first. Used on one event loop only.
private final class Once<Value: Sendable> {
    private var continuation: WaitContinuation<Result<Value, LockError>>?

    init(_ continuation: WaitContinuation<Result<Value, LockError>>) {
        self.continuation = continuation
    }

    func resume(_ result: Result<Value, LockError>) {
        self.continuation?.resume(returning: result)
        self.continuation = nil
    }
}
