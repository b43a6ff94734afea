public import DistributedLocks
import LockKernel
package import LockTransport
public import Logging
public import NIOCore
import NIOPosix
import Synchronization

/// Locks on a Redlock: several independent Redis masters, most of which have to agree.
///
/// - A lock is granted when a majority of the instances grants it; any minority of them may be down.
/// - The client proposes the fencing token, and an instance grants it only if it is above every token that it has granted
///   before. Tokens are of the domain `clock`.
/// - A free lock costs one parallel round, a release another. Who wants a lock that others want waits in the queue of one
///   instance and is told when it is its turn; nobody polls.
/// - An instance that has restarted grants nothing until the longest lease is over, so that what it has forgotten does no
///   harm.
///
/// The algorithm is that of https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/, with a token; `docs/redlock.md`
/// says what it guarantees and what not. It needs Redis 7.0 or newer (or Valkey).
public final class RedlockBackend: OrderedRelease, CallerExecutor {
    /// Names the instances and the database, without credentials.
    public let identity: String
    let configuration: RedlockConfiguration
    private let clients: [RedisClient]
    let store: EventLoopStore<RedlockCore>
    private let eventLoopExecutor: EventLoopTaskExecutor

    /// Uses a set of instances. Nothing is connected before ``run()``.
    ///
    /// - Parameters:
    ///   - configuration: Where the instances are, and how they are used.
    ///   - eventLoopGroup: Whose event loops do the input and output; one of them is used. `nil`: the process's own
    ///     group (`MultiThreadedEventLoopGroup.singleton`).
    ///   - logger: Where lost connections are told, and what could not be released.
    /// - Throws: `LockError` `invalidConfiguration`.
    public convenience init(
        configuration: RedlockConfiguration,
        eventLoopGroup: (any EventLoopGroup)? = nil,
        logger: Logger = Logger(label: "dlock.redlock") { _ in SwiftLogNoOpLogHandler() }
    ) throws(LockError) {
        try self.init(
            configuration: configuration, eventLoopGroup: eventLoopGroup, logger: logger, environment: .system)
    }

    package init(
        configuration: RedlockConfiguration,
        eventLoopGroup: (any EventLoopGroup)?,
        logger: Logger,
        environment: NetworkEnvironment
    ) throws(LockError) {
        try configuration.check()
        self.configuration = configuration
        self.identity =
            configuration.description + (configuration.keyPrefix == "dlock:" ? "" : "#" + configuration.keyPrefix)
        let eventLoop = (eventLoopGroup ?? MultiThreadedEventLoopGroup.singleton).any()
        self.eventLoopExecutor = EventLoopTaskExecutor(eventLoop)
        var generator = environment.machine.generator
        let name = OwnerText.randomClient(using: &generator)
        let store = EventLoopStore(
            RedlockCore(
                configuration: configuration, eventLoop: eventLoop, environment: environment.machine, clientName: name,
                logger: logger),
            on: eventLoop
        )
        self.store = store
        self.clients = configuration.sortedServers.enumerated().map { index, address in
            var client = configuration.server(address).client(locator: nil, refusesReplicas: true)
            client.setup = [RedisCommand("SUBSCRIBE", "dlock.push:" + name)]
            return RedisClient(
                configuration: client,
                eventLoop: eventLoop,
                delegate: InstanceDelegate(core: store.core, index: index),
                logger: logger,
                environment: environment
            )
        }
        let names = configuration.sortedServers.map(RedlockConfiguration.text)
        let clients = self.clients
        store.execute { core in
            core.instances = zip(names, clients).enumerated().map { index, instance in
                RedlockCore.Instance(index: index, name: instance.0, client: instance.1)
            }
        }
    }

    /// Leases from 50 ms to the longest one that the instances are set up with; in no order.
    public var capabilities: LockCapabilities {
        LockCapabilities(
            kind: "redlock",
            leaseRange: .milliseconds(50)...self.configuration.longestLease,
            leaseScope: .grant,
            fairness: .none
        )
    }

    /// The event loop of the connections.
    public var taskExecutor: any TaskExecutor { self.eventLoopExecutor }

    /// Why no quorum can be asked.
    public func trouble() async -> LockError? {
        await self.store.ask { core, answer in
            answer.resume(returning: core.refusal ?? (core.hasQuorum(now: core.now) ? nil : core.noQuorum()))
        }
    }

    /// Sets where events go.
    public func start(delivering sink: any LockEventSink) {
        self.store.execute { $0.sink = sink }
    }

    /// Connects to all instances, and connects again whenever a connection is lost, until it is cancelled.
    ///
    /// Then it releases what this client may still have on the instances, also on those that cannot be reached at that moment. That
    /// may take two seconds; what is left after that ends with its lease, and is logged at `warning`.
    public func run() async throws {
        self.store.execute { $0.started() }
        let clients = self.clients
        let running = Task {
            await withDiscardingTaskGroup { group in
                for client in clients { group.addTask { await client.run() } }
            }
        }
        await withTaskCancellationHandler {
            await running.value
        } onCancel: {
            // What this client may have on the instances is released first.
            self.store.execute { $0.whenReleased { running.cancel() } }
        }
        await self.store.ask { (core, done: WaitContinuation<Void>) in
            core.stopped()
            done.resume()
        }
    }

    /// Asks for a lock: one parallel round for a free one.
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

    /// Releases a lock on all instances: one parallel round, complete when a quorum has confirmed it.
    public func release(_ claim: LockClaim) async throws(LockError) -> ReleaseReply {
        try await self.leave(claim) ? .released : .notHeld
    }

    /// The requests of a connection are carried out in their order, and a release is repeated until its instance has answered it
    /// or the lease is over. Its answer would say nothing that matters: an instance that has forgotten the lock grants it to
    /// nobody before the lease is over.
    public func releaseInOrder(
        _ claim: LockClaim,
        heldFor: Duration,
        ended: @escaping @Sendable (Result<ReleaseReply, LockError>) -> Void
    ) -> Bool {
        self.store.execute { $0.withdraw(claim.attempt) }
        ended(.success(.released))
        return true
    }

    private func leave(_ claim: LockClaim) async throws(LockError) -> Bool {
        try await self.store.ask { $0.withdraw(claim.attempt, $1) }.get()
    }

    /// Renews grants: one command for each on each instance, all in one go; a quorum has to renew.
    public func renew(_ renewals: [LockRenewal]) async -> [LockRenewalReply] {
        guard let shortest = renewals.map(\.claim.lease).min() else { return [] }
        // Nobody hears of its renewal before all are decided: one instance that hangs must not use up a short lease.
        let timeout = self.configuration.timeout(lease: shortest)
        return await self.store.ask { (core, answer: WaitContinuation<[LockRenewalReply]>) in
            var replies: [LockRenewalReply?] = Array(repeating: nil, count: renewals.count)
            var missing = renewals.count
            for (index, renewal) in renewals.enumerated() {
                core.renew(renewal.claim, deadline: renewal.latest, timeout: timeout) { reply in
                    replies[index] = reply
                    missing -= 1
                    if missing == 0 { answer.resume(returning: replies.compactMap { $0 }) }
                }
            }
        }
    }

    /// Tells who holds and who waits, by what most instances say; and what each of them says.
    public func status(of name: LockName?) async throws(LockError) -> [LockStatus] {
        if let name { return [try await self.ask { $0.status(of: name, then: $1) }] }
        let names = try await self.ask { $0.names(then: $1) }
        var all: [LockStatus] = []
        var refusal: LockError?
        var answered = 0
        for name in names {
            do throws(LockError) {
                let status = try await self.ask { $0.status(of: name, then: $1) }
                answered += 1
                if status.holder != nil || !status.waiters.isEmpty || !status.obstacles.isEmpty { all.append(status) }
            } catch  where error.code == .serverRefused {
                refusal = error
                let key = self.configuration.keyPrefix + name.rawValue
                all.append(LockStatus(name: name, unreadable: error, at: key))
            }
        }
        if let refusal, answered == 0 { throw refusal }
        return all
    }

    /// Breaks a lock by hand, on all instances. A holder that uses another library cannot be told; its lock stays as it is, unless
    /// `immediately` is set.
    public func breakLock(_ name: LockName, immediately: Bool) async throws(LockError) -> BreakReply {
        try await self.ask { $0.breakLock(name, immediately: immediately, then: $1) }
    }

    // MARK: The event loop

    func ask<Answer: Sendable>(
        _ question: @escaping @Sendable (RedlockCore, @escaping (Result<Answer, LockError>) -> Void) -> Void
    ) async throws(LockError) -> Answer {
        try await self.store.ask { (core, answer: WaitContinuation<Result<Answer, LockError>>) in
            core.whenSettled { question(core) { answer.resume(returning: $0) } }
        }.get()
    }
}

/// Takes what the connection to one instance tells, on the event loop.
private final class InstanceDelegate: RedisClientDelegate {
    /// The core has the client, and the client this.
    private weak let core: NIOLoopBoundBox<RedlockCore>?
    private let index: Int

    init(core: NIOLoopBoundBox<RedlockCore>, index: Int) {
        self.core = core
        self.index = index
    }

    func connected(_ id: RedisConnectionID, greeting: RedisGreeting) { self.core?.value.connected(self.index) }

    func disconnected(_ id: RedisConnectionID, _ error: RedisError) {
        self.core?.value.disconnected(self.index, error)
    }

    func notConnected(_ error: RedisError) {
        self.core?.value.disconnected(self.index, error)
    }

    func pushed(_ elements: [RESPValue], on id: RedisConnectionID) {
        self.core?.value.pushed(elements, from: self.index)
    }
}
