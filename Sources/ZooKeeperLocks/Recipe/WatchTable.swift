import DistributedLocks

/// Whom the watches concern that this session has set, or is about to set. Pure.
struct WatchTable {
    private var attempts: [String: [AttemptID]] = [:]
    private var paths: [AttemptID: Set<String>] = [:]

    /// How many nodes are watched. For tests of what is left behind.
    var count: Int { self.attempts.count }

    mutating func watched(_ path: String, by attempt: AttemptID) {
        guard self.paths[attempt, default: []].insert(path).inserted else { return }
        self.attempts[path, default: []].append(attempt)
    }

    /// It does not matter to this claim any more what happens to the nodes that it has watched. Returns those that nobody watches
    /// now.
    mutating func stopped(_ attempt: AttemptID) -> [String] {
        guard let paths = self.paths.removeValue(forKey: attempt) else { return [] }
        var unwatched: [String] = []
        for path in paths {
            self.attempts[path]?.removeAll { $0 == attempt }
            guard self.attempts[path]?.isEmpty == true else { continue }
            self.attempts[path] = nil
            unwatched.append(path)
        }
        return unwatched
    }

    /// A watch fires once. Returns whom it concerns, in the order in which they set it.
    mutating func fired(_ path: String) -> [AttemptID] {
        guard let attempts = self.attempts.removeValue(forKey: path) else { return [] }
        for attempt in attempts {
            self.paths[attempt]?.remove(path)
            if self.paths[attempt]?.isEmpty == true { self.paths[attempt] = nil }
        }
        return attempts
    }
}
