public import DistributedLocks
import LockKernel

/// One client's connection to an ``InMemoryLockStore``.
///
/// Made by ``InMemoryLockStore/connect()``; give each client one of its own.
public final class InMemoryLockBackend: LockBackend {
    /// What it is connected to.
    public let store: InMemoryLockStore
    private let id: InMemoryLockStore.Machine.ConnectionID

    init(store: InMemoryLockStore, id: InMemoryLockStore.Machine.ConnectionID) {
        self.store = store
        self.id = id
    }

    /// Makes exchanges of this client fail.
    public var faults: ScriptedFaults { ScriptedFaults(store: self.store, scope: .connection(self.id)) }

    /// The client dies, as if its process had been killed: nothing of it arrives any more, in either direction. It loses
    /// its places in queues at once; what it holds stays until the leases end. There is no way back.
    public func crash() { self.store.crash(self.id) }

    /// The store's identity.
    public var identity: String { self.store.identity }

    /// A lease for each grant, waiters in the order of asking.
    public var capabilities: LockCapabilities {
        LockCapabilities(
            kind: "memory",
            leaseRange: self.store.leaseRange,
            leaseScope: .grant,
            fairness: .firstInFirstOut
        )
    }

    /// Sets where events go.
    public func start(delivering sink: any LockEventSink) {
        self.store.update { state, _ in state.connections[self.id]?.sink = sink }
    }

    /// Ends leases when they are over, until the task is cancelled.
    public func run() async throws {
        let alarm = Alarm(clock: self.store.clock)
        while !Task.isCancelled {
            let next = self.store.update { state, now in
                state.timePassed(now: now)
                let next = state.nextEvent
                state.connections[self.id]?.alarm = alarm
                state.connections[self.id]?.alarmSetFor = next
                return next
            }
            await alarm.sleep(until: BootInstant(next))
        }
        self.store.update { state, _ in
            state.connections[self.id]?.alarm = nil
            state.connections[self.id]?.alarmSetFor = nil
        }
    }

    /// Asks for a lock, once.
    public func request(_ request: AcquireRequest) async throws(LockError) -> AcquireReply {
        let range = self.store.leaseRange
        guard range.contains(request.claim.lease) else {
            throw LockError(
                .invalidConfiguration,
                "a lease lasts from \(range.lowerBound) to \(range.upperBound), not \(request.claim.lease)"
            )
        }
        guard !Task.isCancelled else { throw LockError(.cancelled, "cancelled before the request was sent") }
        try await self.waitUntilConnected(until: request.deadline ?? self.store.clock.now() + self.store.patience)
        let sentAt = self.store.clock.now()
        let reply = try await self.exchange(.acquire, deadline: request.deadline) { state, now in
            let (reply, deliveries) = state.machine.requested(request, from: self.id, at: now)
            state.send(deliveries, now: now)
            return reply
        }
        switch reply {
        case .granted(let token):
            let validUntil = LockValidity.deadline(lease: request.claim.lease, sentAt: sentAt)
            return .granted(LockGrant(token: token, tokenDomain: self.store.tokenDomain, validUntil: validUntil))
        case .queued(let place):
            return .queued(place)
        case .busy(let holder):
            return .busy(holders: holder.map { [$0] } ?? [])
        case .queueFull:
            throw LockError(.serverRefused, "too many wait for '\(request.claim.name)'")
        }
    }

    /// Takes a claim back whatever became of it.
    public func withdraw(_ claim: LockClaim) async throws(LockError) {
        try self.requireConnection()
        try await self.exchange(.withdraw, deadline: nil) { state, now in
            state.send(state.machine.withdrawn(claim, from: self.id, at: now), now: now)
        }
    }

    /// Renews grants, all in one exchange.
    public func renew(_ renewals: [LockRenewal]) async -> [LockRenewalReply] {
        do throws(LockError) {
            try self.requireConnection()
            let sentAt = self.store.clock.now()
            let replies = try await self.exchange(.renew, deadline: renewals.map(\.deadline).max()) { state, now in
                renewals.map { renewal in
                    let (reply, deliveries) = state.machine.renewed(renewal.claim, at: now)
                    state.send(deliveries, now: now)
                    return reply
                }
            }
            return zip(renewals, replies).map { renewal, reply in
                switch reply {
                case .extended: .extended(until: LockValidity.deadline(lease: renewal.claim.lease, sentAt: sentAt))
                case .lost(let reason): .lost(reason)
                }
            }
        } catch {
            return renewals.map { _ in .failed(error) }
        }
    }

    /// Releases a grant, and hands the lock over to the next waiter.
    public func release(_ claim: LockClaim) async throws(LockError) -> ReleaseReply {
        try self.requireConnection()
        return try await self.exchange(.release, deadline: nil) { state, now in
            let (reply, deliveries) = state.machine.released(claim, at: now)
            state.send(deliveries, now: now)
            return reply
        }
    }

    /// Tells what is known of one lock, or of all locks that are held or waited for.
    public func status(of name: LockName?) async throws(LockError) -> [LockStatus] {
        try self.requireConnection()
        return try await self.exchange(.status, deadline: nil) { state, now in
            state.timePassed(now: now)
            return name.map { [state.machine.status(of: $0, at: now)] } ?? state.machine.statusOfAll(at: now)
        }
    }

    /// Breaks a lock by hand.
    public func breakLock(_ name: LockName, immediately: Bool) async throws(LockError) -> BreakReply {
        try self.requireConnection()
        return try await self.exchange(.breakLock, deadline: nil) { state, now in
            let (reply, deliveries) = state.machine.broken(name, immediately: immediately, at: now)
            state.send(deliveries, now: now)
            return reply
        }
    }

    /// One exchange with the store: the request travels, is carried out at one instant, and the reply travels back.
    private func exchange<Reply: Sendable>(
        _ exchange: LockExchange,
        deadline: ContinuousClock.Instant?,
        _ carryOut: (inout InMemoryLockStore.State, ContinuousClock.Instant) -> Reply
    ) async throws(LockError) -> Reply {
        switch self.store.nextFault(for: exchange, on: self.id) {
        case nil:
            return self.store.update(carryOut)
        case .refused(let error):
            throw error
        case .requestLost:
            throw self.outcomeUnknown("the connection was cut before the request arrived")
        case .replyLost:
            _ = self.store.update(carryOut)
            throw self.outcomeUnknown("the connection was cut before the reply arrived")
        case .requestHeld(let gate):
            try await self.pass(gate, until: deadline)
            return self.store.update(carryOut)
        case .replyHeld(let gate):
            let reply = self.store.update(carryOut)
            try await self.pass(gate, until: deadline)
            return reply
        }
    }

    private func pass(_ gate: ExchangeGate, until deadline: ContinuousClock.Instant?) async throws(LockError) {
        switch await gate.pass(until: deadline, clock: self.store.clock) {
        case .opened: return
        case .cut: throw self.outcomeUnknown("the connection was cut")
        case .timedOut: throw self.outcomeUnknown("no reply came in time")
        case .cancelled: throw self.outcomeUnknown("cancelled while the request was under way")
        }
    }

    private func outcomeUnknown(_ message: String) -> LockError { LockError(.outcomeUnknown, message) }

    private func requireConnection() throws(LockError) {
        if self.store.cut(of: self.id) != nil { throw self.unreachable() }
    }

    private func unreachable() -> LockError { LockError(.unreachable, "'\(self.identity)' cannot be reached") }

    /// It cannot be reached while it is cut off.
    public func trouble() async -> LockError? {
        self.store.cut(of: self.id) != nil ? self.unreachable() : nil
    }

    private func waitUntilConnected(until deadline: ContinuousClock.Instant) async throws(LockError) {
        while let cut = self.store.cut(of: self.id) {
            let clock = self.store.clock
            switch await cut.reconnected.pass(until: min(deadline, cut.until ?? deadline), clock: clock) {
            case .opened: continue
            case .cancelled: throw LockError(.cancelled, "cancelled before the request was sent")
            case .cut, .timedOut: if clock.now() >= deadline { throw self.unreachable() }
            }
        }
    }
}
