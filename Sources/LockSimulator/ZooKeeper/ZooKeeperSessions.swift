import ZooKeeperLocks

/// The leader's table of sessions (`SessionTrackerImpl`, `ExpiryQueue`): a session ends when the bucket passes in which it is, and every
/// sign of life moves it to a later one. Buckets are a tick long.
struct ZooKeeperSessions {
    private struct Session {
        /// The end of its bucket.
        var end: Int64
        /// By way of whom it is attached: requests that come another way are refused. `nil`: nobody has asked yet.
        var owner: Int?
        var isClosing = false
    }

    private let tick: Int64
    private var sessions: [Int64: Session] = [:]

    /// A leader begins: all sessions have their whole timeouts before them.
    ///
    /// - Parameters:
    ///   - tick: nanoseconds.
    ///   - timeouts: milliseconds.
    init(tick: Int64, timeouts: [Int64: Int32], now: Int64) {
        self.tick = tick
        for (id, timeout) in timeouts {
            self.sessions[id] = Session(end: Self.end(now, timeout, tick: tick), owner: nil)
        }
    }

    private static func end(_ now: Int64, _ timeout: Int32, tick: Int64) -> Int64 {
        ((now + Int64(timeout) * 1_000_000) / tick + 1) * tick
    }

    mutating func made(_ id: Int64, timeout: Int32, owner: Int, now: Int64) {
        self.sessions[id] = Session(end: Self.end(now, timeout, tick: self.tick), owner: owner)
    }

    /// A sign of life. False: it is over.
    mutating func touched(_ id: Int64, timeout: Int32, now: Int64) -> Bool {
        guard let session = self.sessions[id], !session.isClosing else { return false }
        self.sessions[id]?.end = max(session.end, Self.end(now, timeout, tick: self.tick))
        return true
    }

    /// It is attached another way from now on. False: it is over.
    mutating func attached(_ id: Int64, timeout: Int32, owner: Int, now: Int64) -> Bool {
        guard self.touched(id, timeout: timeout, now: now) else { return false }
        self.sessions[id]?.owner = owner
        return true
    }

    /// Why nothing is done for it that comes this way.
    mutating func objection(to id: Int64, from owner: Int) -> ZooKeeperCode? {
        guard let session = self.sessions[id], !session.isClosing else { return .sessionExpired }
        if session.owner == nil { self.sessions[id]?.owner = owner }
        return session.owner.map { $0 == owner } ?? true ? nil : .sessionMoved
    }

    mutating func closing(_ id: Int64) { self.sessions[id]?.isClosing = true }

    mutating func closed(_ id: Int64) { self.sessions[id] = nil }

    /// Whose bucket has passed. They are to be closed.
    mutating func passed(now: Int64) -> [Int64] {
        let passed = self.sessions.filter { !$0.value.isClosing && $0.value.end <= now }.keys.sorted()
        for id in passed { self.closing(id) }
        return passed
    }
}
