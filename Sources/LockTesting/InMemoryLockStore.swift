public import DistributedLocks
import Synchronization

/// Locks in memory: what several clients share in a test, as if it were a server.
///
/// It does all that a backend must: a queue in the order of asking, leases, tokens that rise with every grant, hand-over at
/// release and at the end of a dead holder's lease, breaking by hand. Each client connects with ``connect()``.
///
/// ```swift
/// let clock = ManualClock()
/// let store = InMemoryLockStore(clock: clock)
/// var configuration = LockClient.Configuration()
/// configuration.clock = clock
/// let locks = LockClient(backend: store.connect(), configuration: configuration)
/// ```
///
/// Leases of dead holders end while the `run()` of any client of this store is under way.
public final class InMemoryLockStore: Sendable {
    typealias Machine = InMemoryLockStoreStateMachine

    enum FaultScope: Hashable, Sendable {
        case all
        case connection(Machine.ConnectionID)
    }

    struct Connection {
        var sink: (any LockEventSink)?
        /// Set while the connection's `run()` is under way.
        var alarm: Alarm?
        /// For when the alarm is set; `nil` while it is not, or if it is without end.
        var alarmSetFor: ContinuousClock.Instant?
    }

    struct Observer {
        let isSatisfied: @Sendable (Machine, ContinuousClock.Instant) -> Bool
        let continuation: CheckedContinuation<Void, any Error>
    }

    struct State {
        var machine: Machine
        var nextKey: UInt64 = 1
        var connections: [Machine.ConnectionID: Connection] = [:]
        var scripts: [FaultScope: FaultScript] = [:]
        var outbox: [(sink: any LockEventSink, event: LockEvent)] = []
        var isDelivering = false
        var observers: [UInt64: Observer] = [:]

        mutating func makeKey() -> UInt64 {
            defer { self.nextKey += 1 }
            return self.nextKey
        }
    }

    /// Where the store's time comes from.
    public let clock: any LockClock
    /// Names the store: all its backends have this identity.
    public let identity: String
    /// The leases that can be asked for.
    public let leaseRange: ClosedRange<Duration>
    /// Where the store's tokens can be compared.
    public let tokenDomain: TokenDomain
    /// How long a request waits for a connection that is cut, if it has no deadline of its own.
    public let patience: Duration
    let state: Mutex<State>

    private static let count = Atomic<UInt64>(0)

    /// Makes an empty store.
    ///
    /// - Parameters:
    ///   - clock: Where its time comes from: a ``ManualClock``, or the machine's own clock.
    ///   - leaseRange: The leases that can be asked for.
    ///   - maximumWaitersPerLock: How many may wait for one lock; more are refused with `serverRefused`.
    ///   - tokenDomain: The domain of the tokens, which count up from 1.
    ///   - patience: How long a request waits for a connection that is cut, if it has no deadline of its own.
    public init(
        clock: any LockClock = SystemLockClock(),
        leaseRange: ClosedRange<Duration> = .milliseconds(10)...Duration.seconds(86_400),
        maximumWaitersPerLock: Int = 10_000,
        tokenDomain: TokenDomain = TokenDomain(rawValue: "memory"),
        patience: Duration = .seconds(5)
    ) {
        self.clock = clock
        self.identity = "memory:\(Self.count.add(1, ordering: .relaxed).newValue)"
        self.leaseRange = leaseRange
        self.tokenDomain = tokenDomain
        self.patience = patience
        let machine = Machine(tokenDomain: tokenDomain, maximumWaitersPerLock: maximumWaitersPerLock)
        self.state = Mutex(State(machine: machine))
    }

    /// Connects one more client.
    public func connect() -> InMemoryLockBackend {
        let id = self.state.withLock { state in
            let id = Machine.ConnectionID(rawValue: state.makeKey())
            state.connections[id] = Connection()
            return id
        }
        return InMemoryLockBackend(store: self, id: id)
    }

    /// Makes exchanges of all clients fail.
    public var faults: ScriptedFaults { ScriptedFaults(store: self, scope: .all) }

    /// Changes something, and carries out what follows from it after the mutex has been left.
    func update<Result: Sendable>(
        _ change: (inout State, ContinuousClock.Instant) -> Result
    ) -> Result {
        let (result, alarms, observers, delivers) = self.state.withLock {
            state -> (Result, [Alarm], [Observer], Bool) in
            let now = self.clock.now()
            let result = change(&state, now)
            let delivers = !state.isDelivering && !state.outbox.isEmpty
            if delivers { state.isDelivering = true }
            return (result, state.lateAlarms(), state.takeSatisfiedObservers(now: now), delivers)
        }
        for alarm in alarms { alarm.poke() }
        for observer in observers { observer.continuation.resume() }
        if delivers { self.deliver() }
        return result
    }

    /// Delivers in the order in which things happened: one thread at a time, for all.
    private func deliver() {
        while true {
            let events = self.state.withLock { $0.takeOutgoing() }
            if events.isEmpty { return }
            for (sink, event) in events { sink.receive(event) }
        }
    }
}

extension InMemoryLockStore.State {
    typealias ConnectionID = InMemoryLockStoreStateMachine.ConnectionID

    /// When something happens by itself, at the earliest.
    var nextEvent: ContinuousClock.Instant? {
        self.scripts.values.compactMap { $0.cut?.until }.min().map { cut in
            self.machine.nextEvent.map { min($0, cut) } ?? cut
        } ?? self.machine.nextEvent
    }

    /// Time has passed: leases may have ended, connections may be back.
    mutating func timePassed(now: ContinuousClock.Instant) {
        for (scope, script) in self.scripts {
            if let until = script.cut?.until, until <= now { self.reconnect(scope, now: now) }
        }
        self.send(self.machine.timePassed(to: now), now: now)
    }

    /// The cut that keeps a connection from its store.
    func cut(of connection: ConnectionID) -> FaultScript.Cut? {
        self.scripts[.connection(connection)]?.cut ?? self.scripts[.all]?.cut
    }

    mutating func reconnect(_ scope: InMemoryLockStore.FaultScope, now: ContinuousClock.Instant) {
        guard let cut = self.scripts[scope]?.reconnected() else { return }
        cut.reconnected.open()
        for connection in self.connections.keys.sorted() where self.cut(of: connection) == nil {
            if scope == .all || scope == .connection(connection) {
                self.send(self.machine.touched(connection), now: now)
            }
        }
    }

    /// Puts events into the outbox, except those that do not reach their client.
    mutating func send(_ deliveries: [InMemoryLockStoreStateMachine.Delivery], now: ContinuousClock.Instant) {
        for delivery in deliveries {
            guard self.cut(of: delivery.connection) == nil,
                let sink = self.connections[delivery.connection]?.sink
            else { continue }
            if case .granted = delivery.event, self.losesGrantPush(to: delivery.connection) {
                let lease = self.machine.locks[delivery.name]?.holder.lease ?? .zero
                self.machine.pushLost(to: delivery.connection, lease: lease, at: now)
                continue
            }
            self.machine.delivered(delivery.event, to: delivery.connection)
            self.outbox.append((sink, delivery.event))
        }
    }

    private mutating func losesGrantPush(to connection: ConnectionID) -> Bool {
        self.scripts[.connection(connection)]?.losesGrantPush() == true || self.scripts[.all]?.losesGrantPush() == true
    }

    fileprivate mutating func takeOutgoing() -> [(sink: any LockEventSink, event: LockEvent)] {
        if self.outbox.isEmpty { self.isDelivering = false }
        defer { self.outbox = [] }
        return self.outbox
    }

    /// The alarms that are set for later than they should be.
    fileprivate func lateAlarms() -> [Alarm] {
        guard let next = self.nextEvent else { return [] }
        return self.connections.values.compactMap { connection in
            if let instant = connection.alarmSetFor, instant <= next { return nil }
            return connection.alarm
        }
    }

    fileprivate mutating func takeSatisfiedObservers(now: ContinuousClock.Instant) -> [InMemoryLockStore.Observer] {
        guard !self.observers.isEmpty else { return [] }
        let satisfied = self.observers.filter { $0.value.isSatisfied(self.machine, now) }
        for key in satisfied.keys { self.observers[key] = nil }
        return Array(satisfied.values)
    }
}
