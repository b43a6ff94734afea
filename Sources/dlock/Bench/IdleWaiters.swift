import DistributedLocks

/// What many waiters cost while nothing happens.
struct IdleRound: Codable, Equatable, Sendable {
    var waiters: Int
    /// For how long was looked.
    var seconds: Double
    /// Of this process, in that time.
    var cpuSeconds: Double
    var contextSwitches: Int
    /// Resident memory; `nil` where the system does not tell.
    var bytesPerWaiter: Double?
    /// From the release by the holder until the last one had been served.
    var servingSeconds: Double
    var outOfOrder: Int
    var lastToken: String?
}

/// Lets many wait for one lock, in this process, which does nothing else.
enum IdleWaiters {
    @concurrent
    static func measure(_ order: WorkerOrder) async throws -> IdleRound {
        let name = try LockName(order.name)
        let settings = order.settings
        // What hold and wait are two clients, as they would be two services.
        return try await withBenchClients(settings, count: 2) { clients in
            try await Self.measure(holder: clients[0], waiter: clients[1], name: name, order: order)
        }
    }

    @concurrent
    private static func measure(
        holder: LockClient,
        waiter: LockClient,
        name: LockName,
        order: WorkerOrder
    ) async throws -> IdleRound {
        let settings = order.settings
        let exclusion = Exclusion()
        let handle = try await holder.acquire(name, waitingAtMost: settings.patience)
        let before = ProcessUsage.now()
        return try await withThrowingTaskGroup(of: LoggedCycle.self) { group in
            for _ in 0..<order.workers {
                group.addTask { @concurrent in
                    try await CycleWorkers.loggedCycle(
                        waiter, name: name, asked: BenchClock.now(), patience: settings.patience, exclusion: exclusion)
                }
            }
            do {
                try await QueueWatch(client: waiter, name: name).waitForWaiters(order.workers, atMost: .seconds(10))
                let queued = ProcessUsage.now()
                let start = BenchClock.now()
                try await Task.sleep(for: .seconds(settings.seconds))
                let end = BenchClock.now()
                let after = ProcessUsage.now()
                try await handle.release()
                let cycles = try await group.reduce(into: []) { $0.append($1) }
                let log = try CycleLog(cycles, name: name.rawValue)
                var bytesPerWaiter: Double?
                if let all = queued.residentBytes, let none = before.residentBytes {
                    bytesPerWaiter = Double(max(0, all - none)) / Double(order.workers)
                }
                return IdleRound(
                    waiters: order.workers,
                    seconds: BenchClock.seconds(from: start, to: end),
                    cpuSeconds: after.cpuSeconds - queued.cpuSeconds,
                    contextSwitches: after.contextSwitches - queued.contextSwitches,
                    bytesPerWaiter: bytesPerWaiter,
                    servingSeconds: BenchClock.seconds(from: end, to: cycles.map(\.done).max() ?? end),
                    outOfOrder: log.outOfOrder,
                    lastToken: log.cycles.last.map { String($0.token) }
                )
            } catch {
                try? await handle.release()
                throw error
            }
        }
    }
}

/// Waits until others are seen to wait.
struct QueueWatch {
    let client: LockClient
    let name: LockName

    /// A backend that cannot show all of its waiters is given the whole time.
    func waitForWaiters(_ count: Int, atMost limit: Duration) async throws {
        let end = ContinuousClock.now + limit
        while ContinuousClock.now < end {
            try await Task.sleep(for: .milliseconds(20))
            if try await self.client.status(of: self.name).waiterCount >= count { break }
        }
        // The last one is in the queue, and may still be busy with that.
        try await Task.sleep(for: .milliseconds(50))
    }
}
