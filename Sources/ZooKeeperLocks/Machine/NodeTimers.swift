import DistributedLocks

/// When one claim's node asks again: its timer, and the pause it makes when connections end over what it asks. Pure.
struct NodeTimers {
    typealias Pause = ZooKeeperMachine.Pause

    /// What is due when the timer fires.
    enum Due {
        /// What the server has refused, or could not be sent, is asked again.
        case retry
        /// It has been held for a while.
        case ownWatch
        case backstop
        /// Whoever has lost the lock and does not let go is not waited for any longer.
        case letGo
    }

    private var due: Due?
    private var resumption = ResumptionStateMachine()
    /// It asks later what it should have asked when the session was attached.
    private(set) var isPostponed = false

    /// Takes the place of what was due before.
    mutating func arm(_ due: Due, _ pause: Pause, of id: ClaimID, _ outbox: inout Outbox) {
        self.due = due
        outbox.add(.start(.claim(id), pause))
    }

    mutating func stop(_ id: ClaimID, _ outbox: inout Outbox) {
        if self.due != nil { outbox.add(.cancel(.claim(id))) }
        self.due = nil
    }

    mutating func fired() -> Due? {
        defer { self.due = nil }
        return self.due
    }

    /// What failed because its connection ended is asked again on the next one; anything else, soon on this one.
    mutating func retry(_ name: ClaimIdentity, after error: ZooKeeperError, isOpen: Bool, _ outbox: inout Outbox) {
        guard isOpen else { return }
        switch error.code {
        case .outcomeUnknown, .unusableServer, .stopped: return
        case .notSent, .refused: break
        }
        outbox.add(.note(.refusedAndAskedAgain(lock: name.claim.name.rawValue, error: error.message)))
        self.arm(.retry, .milliseconds(200...1_000), of: name.id, &outbox)
    }

    // MARK: Pauses

    /// The session is attached. False: it asks at once; true: when ``postponementEnded(isOpen:)`` says so.
    mutating func postponed(
        _ name: ClaimIdentity, in state: ContenderStateMachine.State, _ outbox: inout Outbox
    ) -> Bool {
        guard let pause = self.resumption.attached(in: state) else { return false }
        self.isPostponed = true
        outbox.add(.start(.postponed(name.id), pause))
        outbox.add(.note(.postponed(lock: name.claim.name.rawValue, by: pause)))
        return true
    }

    mutating func resumed(_ id: ClaimID, _ outbox: inout Outbox) {
        if self.isPostponed { outbox.add(.cancel(.postponed(id))) }
        self.isPostponed = false
    }

    mutating func hadNothingToAsk() { self.resumption.hadNothingToAsk() }

    /// The pause is over. Whether it is to ask now.
    mutating func pauseEnded(in state: ContenderStateMachine.State, isOpen: Bool) -> Bool {
        // If there is no connection just now, the next one brings it up again.
        guard self.isPostponed, isOpen else { return false }
        // Its caller may have asked again meanwhile.
        if case .creating = state {
            self.isPostponed = false
            return false
        }
        return true
    }
}
