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
    private var openCalls = 0
    private var faults: [String: Int] = [:]

    init(_ scenario: Scenario, _ world: World) throws {
        self.scenario = scenario
        self.world = world
        self.network = SimulatedNetwork(world)
        self.history = History(world)
        self.controls = world.makeSource(world.controller, "controller")
        self.stage = try scenario.store.makeStage(world, self.network)
        for number in 1...(1 + world.generator.next(upTo: 4)) {
            self.clients.append(try self.makeClient("client \(number)"))
        }
    }

    private func makeClient(_ name: String) throws -> SimulatedClient {
        let host = self.world.makeHost(name)
        let environment = host.makeEnvironment()
        var configuration = LockClient.Configuration()
        configuration.lease = .seconds([2, 5, 10][Int(self.world.generator.next(upTo: 3))])
        configuration.metadata = OwnerMetadata(host: name, pid: 1)
        let backend = try self.stage.makeBackend(
            on: host, NetworkEnvironment(environment, connector: self.network.connector(of: host)))
        return SimulatedClient(
            host: host, locks: LockClient(backend: backend, configuration: configuration, environment: environment))
    }

    private func start(_ client: SimulatedClient) {
        client.running = Task {
            try? await client.locks.run()
            client.hasEnded = true
        }
    }

    private func makeWorker(_ name: String, _ client: SimulatedClient) -> Worker {
        Worker(name: name, client: client, run: self, generator: SimulationGenerator(seed: self.world.generator.next()))
    }

    func carryOut() throws -> Scenario.Outcome {
        try self.prepare()
        for client in self.clients {
            self.world.on(client.host) {
                self.start(client)
                for number in 1...(1 + self.world.generator.next(upTo: 3)) {
                    let worker = self.makeWorker("worker \(number)", client)
                    client.workers.append(Task { await worker.work() })
                }
            }
        }
        self.nextFault()
        let end = self.scenario.length
        _ = self.world.run(until: { self.world.time >= end }, atMost: end)
        self.heal()
        // Whoever waits is served within the leases of the others, or has waited long enough.
        let isQuiet = self.world.run(until: { self.openCalls == 0 }, atMost: end + 60 * Self.second)
        if !isQuiet {
            self.history.violated(.liveness, "\(self.openCalls) calls do not end although nothing is in their way")
        }
        // An instance of a Redlock that has restarted opens after the longest lease.
        try self.takeEach("next client", excuses: [.noQuorum, .unreachable])
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
            seconds: Double(self.world.time) / Double(Self.second), faults: self.faults, trace: self.world.trace.lines,
            traceHash: self.world.trace.hash, traceCount: self.world.trace.count)
    }

    private func wait(_ nanoseconds: Int64) {
        let end = self.world.time + nanoseconds
        _ = self.world.run(until: { self.world.time >= end }, atMost: end)
    }

    /// What an operator does before the first lock is taken.
    private func prepare() throws {
        let host = self.world.makeHost("operator")
        let backend = try self.stage.makeBackend(
            on: host, NetworkEnvironment(host.makeEnvironment(), connector: self.network.connector(of: host)))
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
        if !left.isEmpty { self.history.violated(.leftovers, "keys are left: \(left.joined(separator: " "))") }
    }

    func dump() {
        for server in self.stage.servers { self.world.note(server.host, server.dump()) }
    }

    // MARK: Calls

    var isOver: Bool { self.world.time >= self.scenario.length }

    func callBegan() { self.openCalls += 1 }
    func callEnded() { self.openCalls -= 1 }

    // MARK: Faults

    private func at(_ delay: Int64, _ body: @escaping () -> Void) {
        self.world.enqueue(self.controls, at: self.world.time + delay, body)
    }

    private func nextFault() {
        self.at(self.world.duration(100_000_000...4 * Self.second)) {
            guard !self.isOver else { return }
            self.fault()
            self.nextFault()
        }
    }

    private func fault() {
        let client = self.world.generator.pick(self.clients)
        let redis = self.world.generator.pick(self.stage.servers)
        let server = redis.host
        let length = self.world.duration(50_000_000...(self.world.generator.chance(1, of: 4) ? 15 : 2) * Self.second)
        switch self.world.generator.next(upTo: 6) {
        case 0:
            self.met("stopped client")
            client.host.stop()
            self.at(length) { client.host.resume() }
        case 1:
            self.met("cut connection")
            self.world.note(client.host, "its connections are cut")
            self.network.cut(client.host, server)
        case 2:
            self.met("partition")
            self.network.block(client.host, server)
            self.at(length) { self.network.unblock(client.host, server) }
        case 3:
            self.met("stopped server")
            server.stop()
            self.at(length / 4) { server.resume() }
        case 4:
            self.met("restarted server")
            redis.crash()
            self.at(length / 4) { if !redis.isRunning { redis.start() } }
        case _:
            self.met("refusing server")
            self.world.note(server, "refuses to write")
            redis.refusal = "MISCONF Errors writing to the AOF file"
            self.at(length / 4) { redis.refusal = nil }
        }
    }

    private func met(_ fault: String) { self.faults[fault, default: 0] += 1 }

    private func heal() {
        self.world.note(self.world.controller, "all is well from now on")
        for server in self.stage.servers {
            server.refusal = nil
            server.host.resume()
            if !server.isRunning { server.start() }
            for client in self.clients { self.network.unblock(client.host, server.host) }
        }
        for client in self.clients { client.host.resume() }
    }
}
