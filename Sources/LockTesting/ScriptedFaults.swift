public import DistributedLocks

/// The kinds of exchange between a client and an ``InMemoryLockStore``.
public enum LockExchange: Hashable, Sendable, CaseIterable {
    /// Asking for a lock.
    case acquire
    /// Taking a claim back that nobody waits for any more.
    case withdraw
    /// Renewing leases.
    case renew
    /// Giving a lock back.
    case release
    /// Asking what is held.
    case status
    /// Breaking a lock.
    case breakLock
}

/// Makes exchanges fail, as networks and servers do, exactly when a test says so.
///
/// ``InMemoryLockStore/faults`` concerns all clients, ``InMemoryLockBackend/faults`` one. What is scripted for one client
/// comes first. Each fault is used once, in the order in which the faults were scripted for that kind of exchange.
///
/// ```swift
/// @Test func `a lost reply costs nothing but time`() async throws {
///     try await withInMemoryLocks { locks, store in
///         store.faults.loseReply(to: .acquire)
///         let token = try await locks.withLock("inventory/42") { $0.token }
///         #expect(token.rawValue == 1)  // the retry was answered with the grant that was there already
///     }
/// }
///
/// @Test func `a caller that is cancelled exactly while it is being granted leaves nothing behind`() async throws {
///     try await withInMemoryLocks { locks, store in
///         let gate = store.faults.holdReply(to: .acquire)
///         let task = Task { try await locks.withLock("inventory/42") { _ in } }
///         try await gate.arrived()  // the store has granted the lock, and the reply is on its way
///         task.cancel()
///         gate.open()
///         await #expect(throws: CancellationError.self) { try await task.value }
///         try await store.waitUntilEmpty()
///     }
/// }
/// ```
public struct ScriptedFaults: Sendable {
    let store: InMemoryLockStore
    let scope: InMemoryLockStore.FaultScope

    /// The next requests of this kind do not arrive: nothing happens on the store, and the client learns that the outcome
    /// is unknown.
    public func loseRequest(to exchange: LockExchange, times: Int = 1) {
        self.store.script(.requestLost, for: exchange, times: times, in: self.scope)
    }

    /// The next requests of this kind are carried out, but the replies do not arrive: the client learns that the outcome
    /// is unknown.
    public func loseReply(to exchange: LockExchange, times: Int = 1) {
        self.store.script(.replyLost, for: exchange, times: times, in: self.scope)
    }

    /// The next requests of this kind are answered with an error, and not carried out.
    public func refuse(_ exchange: LockExchange, with error: LockError, times: Int = 1) {
        self.store.script(.refused(error), for: exchange, times: times, in: self.scope)
    }

    /// Holds the next request of this kind up before it arrives: it is carried out when the gate is opened.
    public func holdRequest(to exchange: LockExchange) -> ExchangeGate {
        let gate = ExchangeGate()
        self.store.script(.requestHeld(gate), for: exchange, times: 1, in: self.scope)
        return gate
    }

    /// Carries the next request of this kind out, and holds its reply up until the gate is opened.
    public func holdReply(to exchange: LockExchange) -> ExchangeGate {
        let gate = ExchangeGate()
        self.store.script(.replyHeld(gate), for: exchange, times: 1, in: self.scope)
        return gate
    }

    /// The next waiters that are granted a lock are not told. They find out by asking for themselves, after a third of the
    /// lease or 2 s.
    public func loseGrantPush(times: Int = 1) {
        self.store.loseGrantPushes(times, in: self.scope)
    }

    /// Cuts the connection: from now on nothing arrives, in either direction.
    ///
    /// A request for a lock waits for the connection to come back until its deadline; everything else fails at once with
    /// `unreachable`. When the connection is back, the client asks what became of its places in queues.
    ///
    /// - Parameter instant: When the connection comes back by itself. `nil`: only with ``reconnect()``.
    public func cutOff(until instant: ContinuousClock.Instant? = nil) {
        self.store.cutOff(until: instant, in: self.scope)
    }

    /// The connection is there again.
    public func reconnect() {
        self.store.reconnect(in: self.scope)
    }
}
