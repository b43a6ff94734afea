import DistributedLocks
import LockTransport
import RedisLocks

/// A master with two replicas, and three Sentinels.
final class SentinelStage: Stage {
    private let data: [SimulatedRedis]
    private let sentinels: [SimulatedSentinel]
    private let servers: ServerFaults
    private let network: SimulatedNetwork

    init(_ world: World, _ network: SimulatedNetwork) throws {
        self.network = network
        let data = try (1...3).map { number in
            let host = world.makeHost("redis\(number)")
            host.wallClockError = world.duration(-4_000_000_000...4_000_000_000)
            return try SimulatedRedis(
                host, network: network, at: .tcp(host: host.name, port: 6379), persistence: .always)
        }
        for replica in data.dropFirst() { replica.follow(data[0]) }
        self.data = data
        self.sentinels = (1...3).map { number in
            let host = world.makeHost("sentinel\(number)")
            return SimulatedSentinel(
                host, network: network, at: .tcp(host: host.name, port: 26379), servers: data, master: 0)
        }
        for sentinel in self.sentinels { sentinel.peers = self.sentinels.filter { $0 !== sentinel } }
        self.servers = ServerFaults(servers: self.data, network: network)
    }

    private var world: World { self.network.world }

    /// Replication is asynchronous, and a master that is cut off goes on granting: see docs/sentinel.md.
    var promises: Promises { .distinctTokens }

    var faults: [Fault] {
        self.servers.all + [
            Fault("ordered failover") { _ in
                // Without a vote: two at once could have one epoch, which is why only idle ones are asked.
                guard self.sentinels.allSatisfy(\.isIdle), !self.isAnyCutOff else { return nil }
                self.world.generator.pick(self.sentinels).orderFailover()
                return nil
            },
            Fault("cut off server") { _ in
                // From the other servers, and not from clients.
                let server = self.world.generator.pick(self.data)
                let others = self.others(than: server.host)
                for other in others { self.network.block(server.host, other) }
                return { for other in others { self.network.unblock(server.host, other) } }
            },
            Fault("stopped Sentinel", parts: 2) { _ in
                let host = self.world.generator.pick(self.sentinels).host
                host.stop()
                return { host.resume() }
            },
            Fault("cut off Sentinel") { _ in
                let host = self.world.generator.pick(self.sentinels).host
                let others = self.others(than: host)
                for other in others { self.network.block(host, other) }
                return { for other in others { self.network.unblock(host, other) } }
            },
        ]
    }

    private var hosts: [Host] { self.data.map(\.host) + self.sentinels.map(\.host) }

    private func others(than host: Host) -> [Host] { self.hosts.filter { $0 !== host } }

    private var isAnyCutOff: Bool {
        let hosts = self.sentinels.map(\.host)
        return hosts.contains { one in hosts.contains { $0 !== one && self.network.isBlocked(one, $0) } }
    }

    func heal(_ clients: [SimulatedClient]) {
        for host in self.hosts {
            host.resume()
            for other in self.others(than: host) { self.network.unblock(host, other) }
            for client in clients { self.network.unblock(client.host, host) }
        }
        self.servers.heal(clients)
    }

    func makeBackend(on host: Host) throws -> any LockBackend {
        try RedisLockBackend(
            configuration: RedisLockConfiguration(
                address: .sentinels(
                    self.sentinels.map { RedisLockConfiguration.Sentinel(host: $0.host.name) }, master: "mymaster")),
            eventLoopGroup: SimulatedEventLoop(host), logger: silent, environment: self.network.environment(of: host))
    }

    func prepare(_ backend: any LockBackend) async throws {}

    func leftovers() -> [String] {
        guard let master = self.data.first(where: { $0.role == .master }) else { return ["no master"] }
        return master.keys().filter { !$0.hasPrefix("dlock.fence:") && $0 != "dlock.epoch" }
            + (self.data.filter { $0.role == .master }.count > 1 ? ["two masters"] : [])
    }

    func dump() {
        self.servers.dump()
        for sentinel in self.sentinels {
            self.world.note(
                sentinel.host, "master \(sentinel.record.master + 1), epoch \(sentinel.record.epoch), \(sentinel.flags)"
            )
        }
    }
}
