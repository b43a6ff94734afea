public import DistributedLocks

extension InMemoryLockStore {
    /// Ends the lease of a lock now, as if the store's clock had run ahead: the next waiter holds the lock, and the holder
    /// is not told.
    public func expire(_ name: some LockNameConvertible) throws(LockError) {
        let name = try name.lockName()
        self.update { state, now in state.send(state.machine.leaseEnded(name, at: now), now: now) }
    }

    /// Gives a lock to a stranger, past its holder, who is not told, and past its waiters.
    ///
    /// - Parameters:
    ///   - name: The lock.
    ///   - lease: For how long the stranger holds it.
    /// - Returns: The stranger's token.
    @discardableResult
    public func steal(
        _ name: some LockNameConvertible,
        lease: Duration = .seconds(30)
    ) throws(LockError) -> FencingToken {
        let name = try name.lockName()
        return self.update { state, now in state.machine.stolen(name, lease: lease, at: now) }
    }

    /// Forgets all about a lock, as a server does that is flushed or restarted without its data: the holder is not told,
    /// waiters find that they have lost their places.
    public func erase(_ name: some LockNameConvertible) throws(LockError) {
        let name = try name.lockName()
        self.update { state, now in state.send(state.machine.erased(name), now: now) }
    }

    /// Forgets who waits for a lock. The waiters are told.
    public func forgetWaiters(of name: some LockNameConvertible) throws(LockError) {
        let name = try name.lockName()
        self.update { state, now in state.send(state.machine.waitersForgotten(name), now: now) }
    }

    /// Sets the token of the next grant, of whatever name. A store whose tokens go back is broken: clients refuse its
    /// grants.
    public func setNextToken(_ token: FencingToken) {
        self.update { state, _ in state.machine.tokensSetBack(to: token.rawValue) }
    }

    func script(_ fault: FaultScript.Fault, for exchange: LockExchange, times: Int, in scope: FaultScope) {
        self.update { state, _ in state.scripts[scope, default: FaultScript()].add(fault, to: exchange, times: times) }
    }

    func loseGrantPushes(_ times: Int, in scope: FaultScope) {
        self.update { state, _ in state.scripts[scope, default: FaultScript()].loseGrantPushes(times) }
    }

    func cutOff(until instant: ContinuousClock.Instant?, in scope: FaultScope) {
        let before = self.update { state, _ in state.scripts[scope, default: FaultScript()].cutOff(until: instant) }
        // Whoever waits for the end of the cut before finds the new one.
        before?.reconnected.open()
    }

    func reconnect(in scope: FaultScope) {
        self.update { state, now in state.reconnect(scope, now: now) }
    }

    func crash(_ connection: Machine.ConnectionID) {
        let before = self.update { state, _ in
            state.machine.crashed(connection)
            return state.scripts[.connection(connection), default: FaultScript()].crashed()
        }
        before?.reconnected.open()
    }

    /// What goes wrong with the next exchange of this kind.
    func nextFault(for exchange: LockExchange, on connection: Machine.ConnectionID) -> FaultScript.Fault? {
        self.update { state, _ in
            state.scripts[.connection(connection)]?.next(for: exchange) ?? state.scripts[.all]?.next(for: exchange)
        }
    }

    /// What keeps a connection from its store now.
    func cut(of connection: Machine.ConnectionID) -> FaultScript.Cut? {
        self.update { state, now in
            state.timePassed(now: now)
            return state.cut(of: connection)
        }
    }
}
