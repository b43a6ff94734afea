import DistributedLocks
import LockKernel
import LockTransport

/// Carries out a scenario.
final class Run: @unchecked Sendable {
    private static let second: Int64 = 1_000_000_000

    let scenario: Scenario
    let world: World
    let network: SimulatedNetwork
    let history: History
    private let stage: any Stage
    private var clients: [SimulatedClient] = []
    private let controls: World.Source
    let names = ["a", "b"]
    private let plan: [PlannedFault]
    private var faults: [String: Int] = [:]

    init(_ scenario: Scenario, _ world: World) throws {
        self.scenario = scenario
        self.world = world
        self.network = SimulatedNetwork(world)
        self.controls = world.makeSource(world.controller, "controller")
        self.stage = try scenario.store.makeStage(world, self.network)
        self.history = History(world, self.stage.promises)
        self.plan = PlannedFault.plan(seed: scenario.seed, length: scenario.length)
        let drawn = 1 + Int(world.generator.next(upTo: 4))
        for number in 1...(scenario.clientCount ?? drawn) {
            self.clients.append(try self.makeClient("client \(number)"))
        }
    }

    private func makeClient(_ name: String) throws -> SimulatedClient {
        let host = self.world.makeHost(name)
        let environment = host.makeEnvironment()
        var configuration = LockClient.Configuration()
        configuration.lease = .seconds(self.world.generator.pick(self.stage.leases))
        configuration.metadata = OwnerMetadata(host: name, pid: 1)
        let backend = try self.stage.makeBackend(on: host)
        return SimulatedClient(
            host: host, locks: LockClient(backend: backend, configuration: configuration, environment: environment),
            run: self)
    }

    private func start(_ client: SimulatedClient) {
        client.running = Task {
            try? await client.locks.run()
            client.hasEnded = true
        }
    }

    /// It and its workers run from now on.
    private func begin(_ client: SimulatedClient) {
        self.world.on(client.host) {
            self.start(client)
            for number in 1...(1 + self.world.generator.next(upTo: 3)) {
                let worker = self.makeWorker("worker \(number)", client)
                client.workers.append(Task { await worker.work() })
            }
        }
    }

    private func makeWorker(_ name: String, _ client: SimulatedClient) -> Worker {
        Worker(name: name, client: client, run: self, generator: SimulationGenerator(seed: self.world.generator.next()))
    }

    func carryOut() throws -> Scenario.Outcome {
        try self.prepare()
        for client in self.clients { self.begin(client) }
        for (index, planned) in self.plan.enumerated() where !self.scenario.omittedFaults.contains(index) {
            self.at(planned.time) { self.begin(planned, number: index) }
        }
        let end = self.scenario.length
        _ = self.world.run(until: { self.world.time >= end }, atMost: end)
        self.heal()
        // Whoever waits is served within the leases of the others, or has waited long enough.
        self.watchWaiters()
        let isQuiet = self.world.run(until: { self.openCalls == 0 }, atMost: end + 60 * Self.second)
        if !isQuiet {
            self.history.violated(.liveness, "\(self.openCalls) calls do not end although nothing is in their way")
        }
        // An instance of a Redlock that has restarted opens after the longest lease, and a failover may be under way.
        let excuses: Set<LockError.Code> =
            switch self.stage.promises {
            case .exclusion: [.noQuorum, .unreachable]
            case .distinctTokens: [.unreachable, .lost]
            }
        try self.takeEach("next client", excuses: excuses)
        self.wait(15 * Self.second)
        try self.takeEach("last client", excuses: [])
        for client in self.clients { self.world.on(client.host) { client.running?.cancel() } }
        let isOver = self.world.run(
            until: { self.clients.allSatisfy(\.hasEnded) }, atMost: self.world.time + 60 * Self.second)
        if !isOver { self.history.violated(.liveness, "a client does not end") }
        // What has a lease is gone when that is over, whatever has become of its release.
        self.wait(15 * Self.second)
        self.lookForLeftovers()
        return Scenario.Outcome(
            seed: self.scenario.seed, violations: self.history.violations, grants: self.history.grants,
            refusedWrites: self.history.refusedWrites, steps: self.world.steps,
            seconds: Double(self.world.time) / Double(Self.second), faults: self.faults, planned: self.plan.count,
            trace: self.world.trace.lines,
            traceHash: self.world.trace.hash, traceCount: self.world.trace.count)
    }

    var limits: [Int64] { self.stage.limits }

    /// Once sessions and leases of the dead are over.
    private func watchWaiters() {
        guard let patience = self.stage.patience else { return }
        self.at(15 * Self.second) { self.lookAtWaiters(patience, freeSince: [:]) }
    }

    private func lookAtWaiters(_ patience: Int64, freeSince: [String: Int64]) {
        var free: [String: Int64] = [:]
        for lock in self.names where !self.history.isHeld(lock) {
            guard let client = self.clients.first(where: { $0.waiting.values.contains(lock) }) else { continue }
            let since = freeSince[lock] ?? self.world.time
            free[lock] = since
            if self.world.time - since > patience {
                self.dump()
                self.history.violated(.liveness, "\(client.host.name) waits for \(lock), which nobody holds")
                return
            }
        }
        if self.openCalls > 0 { self.at(patience / 20) { self.lookAtWaiters(patience, freeSince: free) } }
    }

    private func wait(_ nanoseconds: Int64) {
        let end = self.world.time + nanoseconds
        _ = self.world.run(until: { self.world.time >= end }, atMost: end)
    }

    /// What an operator does before the first lock is taken.
    private func prepare() throws {
        let host = self.world.makeHost("operator")
        let backend = try self.stage.makeBackend(on: host)
        let end = Ending()
        self.world.on(host) {
            Task {
                do { try await self.stage.prepare(backend) } catch { end.error = error }
                end.hasCome = true
            }
        }
        let isDone = self.world.run(until: { end.hasCome }, atMost: 10 * Self.second)
        precondition(isDone && end.error == nil, "the servers are not set up: \(end.error as Any)")
    }

    private final class Ending: @unchecked Sendable {
        var hasCome = false
        var error: (any Error)?
    }

    /// Somebody who comes last gets every lock.
    private func takeEach(_ name: String, excuses: Set<LockError.Code>) throws {
        let client = try self.makeClient(name)
        let worker = self.makeWorker("worker", client)
        let end = Ending()
        self.world.on(client.host) {
            self.start(client)
            Task {
                await worker.takeEach(excuses: excuses)
                end.hasCome = true
            }
        }
        self.clients.append(client)
        if !self.world.run(until: { end.hasCome }, atMost: self.world.time + 100 * Self.second) {
            self.history.violated(.liveness, "the calls of the \(name) do not end")
        }
    }

    private func lookForLeftovers() {
        let left = self.stage.leftovers()
        if !left.isEmpty { self.history.violated(.leftovers, "this is left: \(left.joined(separator: " "))") }
    }

    func dump() { self.stage.dump() }

    // MARK: Calls

    var isOver: Bool { self.world.time >= self.scenario.length }

    var hasKilled: Bool { self.clients.contains { $0.host.state == .isDead } }

    private var openCalls: Int { self.clients.reduce(0) { $0 + $1.openCalls } }

    // MARK: Faults

    private func begin(_ planned: PlannedFault, number: Int) {
        let living = self.living
        guard !living.isEmpty else { return }
        let fault = planned.pick(self.allFaults)
        guard self.scenario.faultNames?.contains(fault.name) ?? true else { return }
        let client = self.world.generator.pick(living)
        self.faults[fault.name, default: 0] += 1
        self.world.note(self.world.controller, "fault \(number): \(fault.name)")
        guard let end = fault.begin(client) else { return }
        self.at(planned.length / fault.parts, end)
    }

    var allFaults: [Fault] { self.clientFaults + self.stage.faults }

    private var clientFaults: [Fault] {
        [
            Fault("stopped client") { client in
                client.host.stop()
                return { client.host.resume() }
            },
            Fault("killed client") { client in
                self.kill(client)
                return { self.startAnother() }
            },
        ]
    }

    func kill(_ client: SimulatedClient) {
        client.kill()
        self.history.died(client.host)
    }

    var living: [SimulatedClient] { self.clients.filter { $0.host.state != .isDead } }

    /// A client for one that was killed.
    func startAnother() {
        guard !self.isOver, let next = try? self.makeClient("client \(self.clients.count + 1)") else { return }
        self.clients.append(next)
        self.begin(next)
    }

    /// - Parameter delay: from now on.
    func at(_ delay: Int64, _ body: @escaping () -> Void) {
        self.world.enqueue(self.controls, at: self.world.time + delay, body)
    }

    private func heal() {
        self.world.note(self.world.controller, "all is well from now on")
        self.stage.heal(self.clients)
        for client in self.clients { client.host.resume() }
    }
}
