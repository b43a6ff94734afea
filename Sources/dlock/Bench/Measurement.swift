import DistributedLocks

/// What one round of one workload on one backend gave.
struct RoundResult: Codable, Equatable, Sendable {
    var cycles = 0
    var cyclesPerSecond: Double?
    /// From asking to the end of the call.
    var cycleMicroseconds: Percentiles?
    /// From asking to being granted.
    var waitMicroseconds: Percentiles?
    /// From the last step of one holder to the first step of the next, where that one was waiting already.
    var handOverMicroseconds: Percentiles?
    /// From the death of a holder to the next grant, once for each death.
    var takeoverMicroseconds: [Double]?
    /// Grants that went past a waiter that had asked earlier.
    var outOfOrder: Int?
    var imbalance: Double?
    var lastToken: String?
    var idle: IdleRound?
}

/// One round of one workload on one backend.
struct Measurement: Sendable {
    let workload: Workload
    /// The names of the locks begin with this.
    let names: String
    /// Over how many processes the workers are spread; `nil`: they are tasks of this one.
    let processes: Int?
    let settings: BenchSettings

    @concurrent
    func run() async throws -> RoundResult {
        switch self.workload.kind {
        case .seq, .wide: try await self.independent()
        case .hot: try await self.hot()
        case .crash: try await self.crash()
        case .idle: try await self.idle()
        }
    }

    private func order(_ task: WorkerOrder.Task, workers: Int) -> WorkerOrder {
        WorkerOrder(
            task: task, name: "\(self.names)/\(self.workload.name)", workers: workers, settings: self.settings)
    }

    @concurrent
    private func independent() async throws -> RoundResult {
        let names = try (0..<self.workload.workers).map { try LockName("\(self.names)/\(self.workload.name)/\($0)") }
        let done = try await withBenchClients(self.settings, count: 1) { clients in
            try await CycleWorkers.independent(clients[0], names: names, settings: self.settings)
        }
        var result = RoundResult()
        result.cycles = done.cycles.reduce(0, +)
        result.cyclesPerSecond = done.seconds > 0 ? Double(result.cycles) / done.seconds : nil
        result.cycleMicroseconds = Percentiles(done.times)
        result.imbalance = Statistics.imbalance(done.cycles)
        result.lastToken = done.lastToken?.description
        return result
    }

    @concurrent
    private func hot() async throws -> RoundResult {
        let name = "\(self.names)/\(self.workload.name)"
        let start: UInt64
        let cycles: [[LoggedCycle]]
        if let processes = self.processes {
            let shares = Self.shares(of: self.workload.workers, among: processes)
            (start, cycles) = try await Self.hotProcesses(shares.map { self.order(.contend, workers: $0) })
        } else {
            let lock = try LockName(name)
            (start, cycles) = try await withBenchClients(self.settings, count: self.workload.workers) { clients in
                let start = BenchClock.now()
                return (
                    start,
                    try await CycleWorkers.contending(clients, name: lock, from: start, settings: self.settings)
                )
            }
        }
        let log = try CycleLog(cycles.flatMap { $0 }, name: name)
        let seconds = BenchClock.seconds(from: start, to: log.cycles.map(\.done).max() ?? start)
        var result = RoundResult()
        result.cycles = log.cycles.count
        result.cyclesPerSecond = seconds > 0 ? Double(log.cycles.count) / seconds : nil
        result.cycleMicroseconds = Percentiles(log.cycleTimes)
        result.waitMicroseconds = Percentiles(log.waits)
        result.handOverMicroseconds = Percentiles(log.handOvers)
        result.outOfOrder = log.outOfOrder
        result.imbalance = Statistics.imbalance(cycles.map(\.count))
        result.lastToken = log.cycles.last.map { String($0.token) }
        return result
    }

    static func shares(of workers: Int, among processes: Int) -> [Int] {
        (0..<processes).map { workers / processes + ($0 < workers % processes ? 1 : 0) }
    }

    /// Starts all processes, lets them begin together, and collects what they did.
    @concurrent
    private static func hotProcesses(
        _ orders: [WorkerOrder]
    ) async throws -> (start: UInt64, cycles: [[LoggedCycle]]) {
        let ready = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingOldest(orders.count))
        let starts = orders.map { _ in AsyncStream<UInt64>.makeStream(bufferingPolicy: .bufferingOldest(1)) }
        return try await withThrowingTaskGroup(of: [[LoggedCycle]].self) { group in
            for (order, start) in zip(orders, starts) {
                group.addTask { @concurrent in
                    try await BenchChild.run(order) { child in
                        _ = try await child.answer("ready")
                        ready.continuation.yield()
                        for await instant in start.stream {
                            try await child.write("go \(instant)\n")
                            return try await child.report().cycles
                        }
                        throw CancellationError()
                    }
                }
            }
            group.addTask { @concurrent in
                // A process that fails ends the group, and with it this wait.
                var missing = orders.count
                for await _ in ready.stream {
                    missing -= 1
                    if missing == 0 { break }
                }
                // Time for the word to reach all of them.
                let instant = BenchClock.now() + 20_000_000
                for start in starts {
                    start.continuation.yield(instant)
                    start.continuation.finish()
                }
                return []
            }
            let cycles = try await group.reduce(into: []) { $0 += $1 }
            let first = cycles.joined().map(\.asked).min() ?? 0
            return (first, cycles)
        }
    }

    /// Kills the holder, over and over for as long as a round lasts, once at least.
    @concurrent
    private func crash() async throws -> RoundResult {
        let order = self.order(.hold, workers: 1)
        let name = try LockName(order.name)
        let settings = self.settings
        return try await withBenchClients(settings, count: 1) { clients in
            var tokens = TokenCheck(name: order.name)
            var times: [Double] = []
            let end = BenchClock.now() + settings.nanoseconds
            repeat {
                let death = try await Self.death(order, name: name, client: clients[0])
                try tokens.granted(death.before)
                try tokens.granted(death.after)
                times.append(Double(death.nanoseconds) / 1_000)
            } while BenchClock.now() < end
            var result = RoundResult()
            result.cycles = times.count
            result.takeoverMicroseconds = times
            result.lastToken = tokens.last?.description
            return result
        }
    }

    private struct Death: Sendable {
        var before: FencingToken
        var after: FencingToken
        var nanoseconds: UInt64
    }

    @concurrent
    private static func death(_ order: WorkerOrder, name: LockName, client: LockClient) async throws -> Death {
        try await BenchChild.run(order) { child in
            guard let before = FencingToken(try await child.answer("held")) else {
                throw Failure(status: ExitStatus.violation, message: "the holder has no token")
            }
            async let grant = Self.grant(of: name, client: client, patience: order.settings.patience)
            try await QueueWatch(client: client, name: name).waitForWaiters(1, atMost: .seconds(2))
            let killed = BenchClock.now()
            try child.kill()
            let (after, granted) = try await grant
            guard granted > killed else {
                throw Violation(description: "'\(name)' was granted while a living process held it")
            }
            return Death(before: before, after: after, nanoseconds: granted - killed)
        }
    }

    @concurrent
    private static func grant(
        of name: LockName,
        client: LockClient,
        patience: Duration
    ) async throws -> (FencingToken, UInt64) {
        try await client.withLock(name, waitingAtMost: patience) { held in (held.token, BenchClock.now()) }
    }

    @concurrent
    private func idle() async throws -> RoundResult {
        let idle = try await BenchChild.run(self.order(.wait, workers: self.workload.workers)) { child in
            try await child.report().report.idle
        }
        var result = RoundResult()
        result.cycles = self.workload.workers
        result.lastToken = idle?.lastToken
        result.idle = idle
        return result
    }
}
