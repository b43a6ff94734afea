import DistributedLocks

/// What is to go wrong on one connection, or on all: a queue of faults for each kind of exchange, each of them used once.
struct FaultScript: Sendable {
    enum Fault: Sendable {
        case requestLost
        case replyLost
        case refused(LockError)
        case requestHeld(ExchangeGate)
        case replyHeld(ExchangeGate)
    }

    /// The connection is cut.
    struct Cut: Sendable {
        /// Opened when the connection is there again.
        let reconnected = ExchangeGate()
        /// When it comes back by itself; `nil` if it does not.
        let until: ContinuousClock.Instant?
    }

    private var faults: [LockExchange: [Fault]] = [:]
    private var grantPushesToLose = 0
    private(set) var cut: Cut?
    private(set) var hasCrashed = false

    mutating func add(_ fault: Fault, to exchange: LockExchange, times: Int) {
        self.faults[exchange, default: []] += Array(repeating: fault, count: times)
    }

    mutating func next(for exchange: LockExchange) -> Fault? {
        guard self.faults[exchange]?.isEmpty == false else { return nil }
        return self.faults[exchange]?.removeFirst()
    }

    mutating func loseGrantPushes(_ times: Int) { self.grantPushesToLose += times }

    /// Whether this push of a grant is to be lost.
    mutating func losesGrantPush() -> Bool {
        guard self.grantPushesToLose > 0 else { return false }
        self.grantPushesToLose -= 1
        return true
    }

    /// The connection is cut. Returns the cut that this one takes the place of.
    mutating func cutOff(until: ContinuousClock.Instant?) -> Cut? {
        let before = self.cut
        self.cut = Cut(until: until)
        return before
    }

    /// The connection is there again. Returns the cut that is over.
    mutating func reconnected() -> Cut? {
        guard !self.hasCrashed else { return nil }
        defer { self.cut = nil }
        return self.cut
    }

    mutating func crashed() -> Cut? {
        self.hasCrashed = true
        return self.cutOff(until: nil)
    }
}
