import DistributedLocks
import LockKernel
import LockTransport
import Logging
import RedisLocks

/// The servers of a run, and the shipped backend for them.
protocol Stage {
    var servers: [SimulatedRedis] { get }
    func makeBackend(on host: Host, _ environment: NetworkEnvironment) throws -> any LockBackend
    /// What an operator does before anybody takes a lock.
    func prepare(_ backend: any LockBackend) async throws
    /// What is there although nobody holds or wants a lock.
    func leftovers() -> [String]
}

extension Scenario.Store {
    func makeStage(_ world: World, _ network: SimulatedNetwork) throws -> any Stage {
        switch self {
        case .redis: try RedisStage(world, network)
        case .redlock: try RedlockStage(world, network)
        }
    }
}

private let silent = Logger(label: "simulated") { _ in SwiftLogNoOpLogHandler() }

/// One master that forgets nothing: one that does can grant a held lock again, as docs/redis.md says.
private final class RedisStage: Stage {
    let servers: [SimulatedRedis]

    init(_ world: World, _ network: SimulatedNetwork) throws {
        self.servers = [
            try SimulatedRedis(
                world.makeHost("redis"), network: network, at: .tcp(host: "redis", port: 6379), persistence: .always)
        ]
    }

    func makeBackend(on host: Host, _ environment: NetworkEnvironment) throws -> any LockBackend {
        try RedisLockBackend(
            configuration: RedisLockConfiguration(host: "redis", port: 6379), eventLoopGroup: SimulatedEventLoop(host),
            logger: silent, environment: environment)
    }

    func prepare(_ backend: any LockBackend) async throws {}

    func leftovers() -> [String] { self.servers[0].keys().filter { !$0.hasPrefix("dlock.fence:") } }
}

/// Three or five masters, which may forget everything when they restart.
private final class RedlockStage: Stage {
    let servers: [SimulatedRedis]
    private let configuration: RedlockConfiguration
    init(_ world: World, _ network: SimulatedNetwork) throws {
        let count = world.generator.chance(1, of: 2) ? 3 : 5
        let persistence = world.generator.pick(SimulatedRedis.Persistence.allCases)
        self.servers = try (1...count).map { number in
            let host = world.makeHost("redis\(number)")
            // Clocks may differ by 10 s.
            host.wallClockError = world.duration(-4_000_000_000...4_000_000_000)
            world.note(host, "its clock is \(host.wallClockError / 1_000_000) ms ahead")
            return try SimulatedRedis(
                host, network: network, at: .tcp(host: host.name, port: 6379), persistence: persistence)
        }
        var configuration = RedlockConfiguration(
            servers: self.servers.map { .tcp(host: $0.host.name, port: 6379) })
        configuration.longestLease = .seconds(10)
        self.configuration = configuration
    }

    func makeBackend(on host: Host, _ environment: NetworkEnvironment) throws -> any LockBackend {
        try RedlockBackend(
            configuration: self.configuration, eventLoopGroup: SimulatedEventLoop(host), logger: silent,
            environment: environment)
    }

    func prepare(_ backend: any LockBackend) async throws { try await (backend as? RedlockBackend)?.initialize() }

    /// A place in a queue that could not be left in time is not counted any more. It goes with the next one who comes, or after a day.
    private static let stays: Set<Substring> = ["dlock.fence", "dlock.node", "dlock.queue", "dlock.waiters"]

    func leftovers() -> [String] {
        self.servers.flatMap { server in
            (server.keys().filter { !Self.stays.contains($0.prefix { $0 != ":" }) } + server.waiters()).map {
                "\(server.host.name)/\($0)"
            }
        }
    }
}
