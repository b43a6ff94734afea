import DistributedLocks
import LockKernel
import LockTransport
import Logging
import RedisLocks

/// What a store promises while its servers fail.
enum Promises {
    /// One holds at a time, and tokens rise in the order in which bodies begin.
    case exclusion
    /// No token is given twice; a resource with a fence is safe. Two may hold at once: replicas do not know of all grants.
    case distinctTokens
}

/// What the clients of a run keep their locks on, and the shipped backend for it.
protocol Stage {
    /// What it promises of M and F1: see docs.
    var promises: Promises { get }
    /// Of which a client draws its own, in seconds.
    var leases: [Int64] { get }
    /// Of which a call draws how long it waits at most, in seconds.
    var limits: [Int64] { get }
    /// When all has been well for a while: whoever waits for a lock that nobody holds has it after so long, in nanoseconds. `nil`: that
    /// depends.
    var patience: Int64? { get }
    /// Beside those that meet a client.
    var faults: [Fault] { get }
    /// Ends all of them.
    func heal(_ clients: [SimulatedClient])
    /// The backend of a process on this host.
    func makeBackend(on host: Host) throws -> any LockBackend
    /// What an operator does before anybody takes a lock.
    func prepare(_ backend: any LockBackend) async throws
    /// What is there although nobody holds or wants a lock.
    func leftovers() -> [String]
    /// For people who look for what went wrong.
    func dump()
}

extension Stage {
    var leases: [Int64] { [2, 5, 10] }
    var limits: [Int64] { [0, 1, 5, 20] }
    var patience: Int64? { nil }
}

extension Scenario.Store {
    func makeStage(_ world: World, _ network: SimulatedNetwork) throws -> any Stage {
        switch self {
        case .redis: try RedisStage(world, network)
        case .sentinel: try SentinelStage(world, network)
        case .redlock: try RedlockStage(world, network)
        #if Embedded
        case .embedded: EmbeddedStage(world)
        #endif
        case .zookeeper: ZooKeeperStage(world, network)
        }
    }
}

let silent = Logger(label: "simulated") { _ in SwiftLogNoOpLogHandler() }

/// One master that forgets nothing: one that does can grant a held lock again, as docs/redis.md says.
private final class RedisStage: Stage {
    private let server: SimulatedRedis
    private let servers: ServerFaults

    init(_ world: World, _ network: SimulatedNetwork) throws {
        self.server = try SimulatedRedis(
            world.makeHost("redis"), network: network, at: .tcp(host: "redis", port: 6379), persistence: .always)
        self.servers = ServerFaults(servers: [self.server], network: network)
    }

    var promises: Promises { .exclusion }

    var faults: [Fault] { self.servers.all }

    func heal(_ clients: [SimulatedClient]) { self.servers.heal(clients) }

    func makeBackend(on host: Host) throws -> any LockBackend {
        try RedisLockBackend(
            configuration: RedisLockConfiguration(host: "redis", port: 6379), eventLoopGroup: SimulatedEventLoop(host),
            logger: silent, environment: self.servers.network.environment(of: host))
    }

    func prepare(_ backend: any LockBackend) async throws {}

    func leftovers() -> [String] { self.server.keys().filter { !$0.hasPrefix("dlock.fence:") } }

    func dump() { self.servers.dump() }
}

/// Three or five masters, which may forget everything when they restart.
private final class RedlockStage: Stage {
    private let instances: [SimulatedRedis]
    private let servers: ServerFaults
    private let configuration: RedlockConfiguration

    init(_ world: World, _ network: SimulatedNetwork) throws {
        let count = world.generator.chance(1, of: 2) ? 3 : 5
        let persistence = world.generator.pick(SimulatedRedis.Persistence.allCases)
        self.instances = try (1...count).map { number in
            let host = world.makeHost("redis\(number)")
            // Clocks may differ by 10 s.
            host.wallClockError = world.duration(-4_000_000_000...4_000_000_000)
            world.note(host, "its clock is \(host.wallClockError / 1_000_000) ms ahead")
            return try SimulatedRedis(
                host, network: network, at: .tcp(host: host.name, port: 6379), persistence: persistence)
        }
        var configuration = RedlockConfiguration(
            servers: self.instances.map { .tcp(host: $0.host.name, port: 6379) })
        configuration.longestLease = .seconds(10)
        self.configuration = configuration
        self.servers = ServerFaults(servers: self.instances, network: network)
    }

    var promises: Promises { .exclusion }

    var faults: [Fault] { self.servers.all }

    func heal(_ clients: [SimulatedClient]) { self.servers.heal(clients) }

    func makeBackend(on host: Host) throws -> any LockBackend {
        try RedlockBackend(
            configuration: self.configuration, eventLoopGroup: SimulatedEventLoop(host), logger: silent,
            environment: self.servers.network.environment(of: host))
    }

    func prepare(_ backend: any LockBackend) async throws { try await (backend as? RedlockBackend)?.initialize() }

    /// A place in a queue that could not be left in time is not counted any more. It goes with the next one who comes, or after a day.
    private static let stays: Set<Substring> = ["dlock.fence", "dlock.node", "dlock.queue", "dlock.waiters"]

    func leftovers() -> [String] {
        self.instances.flatMap { server in
            (server.keys().filter { !Self.stays.contains($0.prefix { $0 != ":" }) } + server.waiters()).map {
                "\(server.host.name)/\($0)"
            }
        }
    }
    func dump() { self.servers.dump() }
}
