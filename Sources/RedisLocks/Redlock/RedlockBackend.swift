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
    let store: EventLoopStore<RedlockShell>
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
        let delegates = configuration.sortedServers.indices.map { InstanceDelegate(index: $0) }
        self.clients = zip(configuration.sortedServers, delegates).map { address, delegate in
            var client = configuration.server(address).client(locator: nil, refusesReplicas: true)
            client.setup = [RedisCommand("SUBSCRIBE", "dlock.push:" + name)]
            return RedisClient(
                configuration: client,
                eventLoop: eventLoop,
                delegate: delegate,
                logger: logger,
                environment: environment
            )
        }
        let shell = RedlockShell(
            configuration: configuration, clients: self.clients, eventLoop: eventLoop,
            environment: environment.machine, name: name, logger: logger)
        for delegate in delegates { delegate.shell = shell }
        self.store = EventLoopStore(shell, on: eventLoop)
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
        await self.store.ask { $1.resume(returning: $0.trouble) }
    }

    /// Sets where events go.
    public func start(delivering sink: any LockEventSink) {
        self.store.execute { $0.start(delivering: sink) }
    }

    /// Connects to all instances, and connects again whenever a connection is lost, until it is cancelled.
    ///
    /// Then it releases what this client may still have on the instances, also on those that cannot be reached at that moment. That
    /// may take two seconds; what is left after that ends with its lease, and is logged at `warning`.
    public func run() async throws { await self.run(onlyLooks: false) }

    /// - Parameter onlyLooks: it changes nothing on the instances but what it is told to.
    func run(onlyLooks: Bool) async {
        self.store.execute { $0.started(onlyLooks: onlyLooks) }
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
            self.store.execute { $0.end { running.cancel() } }
        }
        await self.store.ask { (shell, done: WaitContinuation<Void>) in
            shell.stopped()
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
            $0.cancel(attempt)
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
        await self.store.ask { $0.renew(renewals, $1) }
    }

    /// Tells who holds and who waits, by what most instances say; and what each of them says.
    public func status(of name: LockName?) async throws(LockError) -> [LockStatus] {
        let inquiries = self.inquiries
        if let name { return [try await self.ask { inquiries($0).status(of: name, then: $1) }] }
        let names = try await self.ask { inquiries($0).names(then: $1) }
        var all: [LockStatus] = []
        var refusal: LockError?
        var answered = 0
        for name in names {
            do throws(LockError) {
                let status = try await self.ask { inquiries($0).status(of: name, then: $1) }
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
        let inquiries = self.inquiries
        return try await self.ask { inquiries($0).breakLock(name, immediately: immediately, then: $1) }
    }

    // MARK: The event loop

    /// Asks the instances something by hand, when they have been reached or have turned out not to be.
    func ask<Answer: Sendable>(
        _ question: @escaping @Sendable (any RedlockInstances, @escaping (Result<Answer, LockError>) -> Void) -> Void
    ) async throws(LockError) -> Answer {
        try await self.store.ask { (shell, answer: WaitContinuation<Result<Answer, LockError>>) in
            shell.whenSettled { question(shell) { answer.resume(returning: $0) } }
        }.get()
    }

    /// What people ask.
    var inquiries: @Sendable (any RedlockInstances) -> RedlockInquiries {
        let configuration = self.configuration
        return { RedlockInquiries(instances: $0, configuration: configuration) }
    }
}

/// Takes what the connection to one instance tells. Made before anything is connected, and called on the event loop.
private final class InstanceDelegate: RedisClientDelegate, @unchecked Sendable {
    /// The shell has the client, and the client this.
    weak var shell: RedlockShell?
    private let index: Int

    init(index: Int) {
        self.index = index
    }

    func connected(_ id: RedisConnectionID, greeting: RedisGreeting) { self.shell?.connected(self.index) }

    func disconnected(_ id: RedisConnectionID, _ error: RedisError) { self.shell?.disconnected(self.index, error) }

    func notConnected(_ error: RedisError) { self.shell?.disconnected(self.index, error) }

    func pushed(_ elements: [RESPValue], on id: RedisConnectionID) { self.shell?.pushed(elements, from: self.index) }
}
