import DistributedLocks
import Histogram
import Synchronization

/// Workers that take and release locks until a measurement is over.
enum CycleWorkers {
    /// What workers on locks of their own have done.
    struct Independent: Sendable {
        /// For each worker.
        var cycles: [Int]
        var times: TimeHistogram
        var seconds: Double
        var lastToken: FencingToken?
    }

    /// Each worker takes a lock of its own, all through one client.
    @concurrent
    static func independent(
        _ client: LockClient,
        names: [LockName],
        settings: BenchSettings
    ) async throws -> Independent {
        let recorder = TimeRecorder(workers: names.count)
        let start = BenchClock.now()
        let end = start + settings.nanoseconds
        let workers = try await withThrowingTaskGroup(of: (cycles: Int, token: FencingToken?).self) { group in
            for (index, name) in names.enumerated() {
                group.addTask(executorPreference: settings.executor(of: client)) { @concurrent in
                    try await Self.work(
                        client, name: name, until: end, settings: settings, shard: recorder.shard(of: index))
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        return Independent(
            cycles: workers.map(\.cycles),
            times: recorder.merged(),
            seconds: BenchClock.seconds(from: start, to: BenchClock.now()),
            lastToken: workers.compactMap(\.token).max()
        )
    }

    @concurrent
    private static func work(
        _ client: LockClient,
        name: LockName,
        until end: UInt64,
        settings: BenchSettings,
        shard: TimeRecorder.Shard
    ) async throws -> (cycles: Int, token: FencingToken?) {
        var cycles = 0
        var tokens = TokenCheck(name: name.rawValue)
        var asked = BenchClock.now()
        let patience = settings.patience
        while asked < end, cycles < settings.cyclesPerWorker {
            let token = try await client.withLock(name, waitingAtMost: patience) { held in held.token }
            let done = BenchClock.now()
            try tokens.granted(token)
            shard.record(done &- asked)
            cycles += 1
            asked = done
        }
        return (cycles, tokens.last)
    }

    /// All workers take one lock, each through a client of its own.
    ///
    /// - Returns: the cycles of each worker.
    @concurrent
    static func contending(
        _ clients: [LockClient],
        name: LockName,
        from start: UInt64,
        settings: BenchSettings
    ) async throws -> [[LoggedCycle]] {
        let exclusion = Exclusion()
        let end = start + settings.nanoseconds
        return try await withThrowingTaskGroup(of: [LoggedCycle].self) { group in
            for client in clients {
                group.addTask(executorPreference: settings.executor(of: client)) { @concurrent in
                    try await Self.contend(
                        client, name: name, until: end, patience: settings.patience, exclusion: exclusion)
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
    }

    @concurrent
    private static func contend(
        _ client: LockClient,
        name: LockName,
        until end: UInt64,
        patience: Duration,
        exclusion: Exclusion
    ) async throws -> [LoggedCycle] {
        var cycles: [LoggedCycle] = []
        while true {
            let asked = BenchClock.now()
            guard asked < end else { return cycles }
            cycles.append(
                try await Self.loggedCycle(
                    client, name: name, asked: asked, patience: patience, exclusion: exclusion))
        }
    }

    @concurrent
    static func loggedCycle(
        _ client: LockClient,
        name: LockName,
        asked: UInt64,
        patience: Duration,
        exclusion: Exclusion
    ) async throws -> LoggedCycle {
        var cycle = try await client.withLock(name, waitingAtMost: patience) { held in
            let entered = BenchClock.now()
            let isAlone = exclusion.enter()
            exclusion.leave()
            guard isAlone else {
                throw Violation(description: "two held '\(name)' at the same time, one with the token \(held.token)")
            }
            return LoggedCycle(
                token: held.token.rawValue, asked: asked, entered: entered, left: BenchClock.now(), done: 0)
        }
        cycle.done = BenchClock.now()
        return cycle
    }
}

/// Sees when two workers of this process are inside one lock.
final class Exclusion: Sendable {
    private let inside = Atomic(0)

    /// False if somebody else is inside.
    func enter() -> Bool {
        self.inside.add(1, ordering: .acquiringAndReleasing).newValue == 1
    }

    func leave() {
        self.inside.subtract(1, ordering: .acquiringAndReleasing)
    }
}

/// Checks that the tokens which one worker is given rise.
struct TokenCheck {
    let name: String
    private(set) var last: FencingToken?

    init(name: String) {
        self.name = name
    }

    mutating func granted(_ token: FencingToken) throws(Violation) {
        if let last, token <= last {
            throw Violation(description: "a later grant of '\(self.name)' has the token \(token), not above \(last)")
        }
        self.last = token
    }
}

/// Records the times of many workers in a few histograms: one for each of 10,000 would be a lot of memory, and one for
/// all would make them wait for each other.
struct TimeRecorder: Sendable {
    final class Shard: Sendable {
        private let histogram = Mutex(TimeHistogram.ofTimes())

        func record(_ nanoseconds: UInt64) {
            self.histogram.withLock { _ = $0.record(nanoseconds) }
        }

        var recorded: TimeHistogram { self.histogram.withLock { $0 } }
    }

    private let shards: [Shard]

    init(workers: Int) {
        self.shards = (0..<max(1, min(workers, 16))).map { _ in Shard() }
    }

    func shard(of worker: Int) -> Shard { self.shards[worker % self.shards.count] }

    func merged() -> TimeHistogram {
        var all = TimeHistogram.ofTimes()
        for shard in self.shards { all.add(shard.recorded) }
        return all
    }
}
