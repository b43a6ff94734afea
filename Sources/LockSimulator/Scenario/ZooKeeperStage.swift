import DistributedLocks
import LockKernel
import LockTransport
import ZooKeeperLocks

/// One server, or three that agree. Nothing that was agreed on is forgotten.
final class ZooKeeperStage: Stage {
    private let ensemble: ZooKeeperEnsemble
    private let servers: ServerFaults
    private let hasUser: Bool
    private let timers: World.Source
    private var isHealed = false

    private var world: World { self.servers.network.world }

    init(_ world: World, _ network: SimulatedNetwork) {
        let settings = ZooKeeperSettings(
            tick: world.generator.pick([250, 500, 1_000]) * 1_000_000, syncLimit: world.generator.pick([2, 5]))
        let count = world.generator.chance(1, of: 4) ? 1 : 3
        self.ensemble = ZooKeeperEnsemble(count, network: network, settings: settings)
        self.servers = ServerFaults(servers: self.ensemble.servers, network: network)
        self.hasUser = world.generator.chance(1, of: 2)
        self.timers = world.makeSource(world.controller, "stage")
        world.note(
            world.controller,
            "ZooKeeper: \(count), a tick of \(settings.tick / 1_000_000) ms, silent for \(settings.syncLimit) at most")
    }

    /// The lease is the session's timeout, which is not above it.
    let leases: [Int64] = [10]
    /// The longest are for those who are forgotten: a waiter looks by itself once a minute.
    let limits: [Int64] = [0, 1, 5, 20, 50]
    let patience: Int64? = 2_000_000_000

    var promises: Promises { .exclusion }

    var faults: [Fault] {
        self.servers.all + (self.ensemble.servers.count > 1 ? [self.cutOff, self.cutOffAfterAPause] : [])
    }

    private func cutOff(_ server: SimulatedZooKeeper, from others: [SimulatedZooKeeper]) -> () -> Void {
        for other in others { self.servers.network.block(server.host, other.host) }
        return { for other in others { self.servers.network.unblock(server.host, other.host) } }
    }

    /// Clients still reach it.
    private var cutOff: Fault {
        Fault("cut off server") { _ in
            let server = self.world.generator.pick(self.ensemble.servers)
            let others = self.ensemble.servers.filter { $0 !== server }
            let lost = self.world.generator.chance(1, of: 4) ? [self.world.generator.pick(others)] : others
            return self.cutOff(server, from: lost)
        }
    }

    /// The worst that can happen to who has just proved that it lives, after a time in which it did not.
    private var cutOffAfterAPause: Fault {
        Fault("cut off server after a pause") { client in
            client.host.stop()
            return {
                client.host.resume()
                let connections = self.servers.network.connections
                guard let host = connections.first(where: { $0.client === client.host })?.server,
                    let server = self.ensemble.servers.first(where: { $0.host === host })
                else { return }
                let others = self.ensemble.servers.filter { $0 !== server }
                self.after(0...40_000_000) {
                    let end = self.cutOff(server, from: others)
                    self.after(1_000_000_000...8_000_000_000, end)
                }
            }
        }
    }

    private func after(_ time: ClosedRange<Int64>, _ body: @escaping () -> Void) {
        self.world.enqueue(self.timers, at: self.world.time + self.world.duration(time)) {
            if !self.isHealed { body() }
        }
    }

    func heal(_ clients: [SimulatedClient]) {
        self.isHealed = true
        for server in self.ensemble.servers {
            for other in self.ensemble.servers where other !== server {
                self.servers.network.unblock(server.host, other.host)
            }
        }
        self.servers.heal(clients)
    }

    func makeBackend(on host: Host) throws -> any LockBackend {
        var configuration = ZooKeeperLockConfiguration(
            servers: self.ensemble.servers.map { ZooKeeperLockConfiguration.Server(host: $0.host.name) })
        configuration.chroot = "/team"
        configuration.sessionTimeout = .seconds(self.world.generator.pick([1, 2, 4, 10]))
        if self.hasUser {
            configuration.username = "user"
            configuration.password = "password"
        }
        return try ZooKeeperLockBackend(
            configuration: configuration, eventLoopGroup: SimulatedEventLoop(host),
            logger: silent,
            environment: self.servers.network.environment(of: host))
    }

    func prepare(_ backend: any LockBackend) async throws {}

    /// What belongs to a session. Folders may stay for some minutes.
    func leftovers() -> [String] { self.ensemble.leader?.service.data.tree.allEphemerals() ?? ["no leader"] }

    func dump() { self.servers.dump() }
}
