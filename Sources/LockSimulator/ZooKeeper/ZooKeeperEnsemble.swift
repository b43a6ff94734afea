/// How the servers of an ensemble are set up.
struct ZooKeeperSettings {
    /// In nanoseconds.
    var tick: Int64
    /// So many ticks a leader and a follower may be silent to each other.
    var syncLimit: Int
    /// So many ticks may pass until a majority follows.
    var initLimit = 10

    var syncTime: Int64 { self.tick * Int64(self.syncLimit) }
    var initTime: Int64 { self.tick * Int64(self.initLimit) }
    /// Those that clients may have, in milliseconds.
    var sessionTimeouts: ClosedRange<Int32> {
        let tick = Int32(self.tick / 1_000_000)
        return 2 * tick...20 * tick
    }
}

/// Servers that agree with each other; or one that is alone.
///
/// The election is simplified: it takes no messages. A majority that look for a leader and reach each other elect, after a while, the
/// one of them that has written most; the epoch is above all that any of them has heard of. Whoever looks alone joins a leader that a
/// majority follows.
final class ZooKeeperEnsemble {
    let network: SimulatedNetwork
    let settings: ZooKeeperSettings
    private(set) var servers: [SimulatedZooKeeper] = []
    private let elections: World.Source
    /// From when on those who look are counted.
    private var lookingSince: [Int: Int64] = [:]
    private var isScheduled = false
    private var linkCount = 0

    init(_ count: Int, network: SimulatedNetwork, settings: ZooKeeperSettings) {
        let world = network.world
        self.network = network
        self.settings = settings
        self.elections = world.makeSource(world.controller, "elections")
        for number in 1...count {
            self.servers.append(SimulatedZooKeeper(number, world.makeHost("zookeeper\(number)"), self))
        }
        for server in self.servers { server.start() }
    }

    var majority: Int { self.servers.count / 2 + 1 }

    func makeLink(from follower: SimulatedZooKeeper, to leader: SimulatedZooKeeper) -> ZooKeeperLink {
        self.linkCount += 1
        return ZooKeeperLink(
            self.linkCount, network: self.network, follower: follower.peers, leader: leader.peers)
    }

    /// Whose data counts.
    var leader: SimulatedZooKeeper? {
        self.servers.filter { if case .leading(let leader) = $0.role { leader.isActive } else { false } }
            .max { $0.lastZxid < $1.lastZxid }
    }

    // MARK: Elections

    func isLooking(_ server: SimulatedZooKeeper) {
        let world = self.network.world
        let pause: ClosedRange<Int64> = 200_000_000...800_000_000
        self.lookingSince[server.number] = world.time + world.duration(pause)
        self.schedule()
    }

    private func schedule() {
        guard !self.isScheduled else { return }
        self.isScheduled = true
        self.network.world.enqueue(self.elections, at: self.network.world.time + 50_000_000) {
            self.isScheduled = false
            self.consider()
        }
    }

    private func consider() {
        let looking = self.servers.filter { if case .looking = $0.role { true } else { false } }
        if !looking.isEmpty { self.schedule() }
        let ready = looking.filter {
            $0.host.state == .runs && self.lookingSince[$0.number, default: 0] <= self.network.world.time
        }
        for server in ready {
            if let leader = self.leader(for: server) { return self.follow(leader, [server]) }
            let group = self.group(around: server, of: ready)
            if group.count >= self.majority { return self.elect(group) }
        }
    }

    private func reach(_ one: SimulatedZooKeeper, _ other: SimulatedZooKeeper) -> Bool {
        one === other || !self.network.isBlocked(one.host, other.host)
    }

    /// A leader that a majority follows, or one that was just elected.
    private func leader(for server: SimulatedZooKeeper) -> ZooKeeperLeader? {
        for other in self.servers where other.host.state == .runs && self.reach(server, other) {
            guard case .leading(let leader) = other.role, leader.epoch >= server.acceptedEpoch else { continue }
            let followers = self.servers.count {
                if case .following(let follower) = $0.role { follower.leader === leader } else { false }
            }
            if !leader.isActive || followers + 1 >= self.majority { return leader }
        }
        return nil
    }

    /// Those who all reach each other.
    private func group(around server: SimulatedZooKeeper, of ready: [SimulatedZooKeeper]) -> [SimulatedZooKeeper] {
        var group = [server]
        for other in ready where other !== server && group.allSatisfy({ self.reach($0, other) }) { group.append(other) }
        return group
    }

    private func elect(_ group: [SimulatedZooKeeper]) {
        guard
            let server = group.max(by: { ($0.lastZxid, $0.number) < ($1.lastZxid, $1.number) }),
            let epoch = group.map({ max($0.acceptedEpoch, $0.lastZxid >> 32) }).max()
        else { return }
        for member in group { member.acceptedEpoch = epoch + 1 }
        let leader = ZooKeeperLeader(server, epoch: epoch + 1)
        self.network.world.enqueue(server.peers) { server.lead(leader) }
        self.follow(leader, group.filter { $0 !== server })
    }

    private func follow(_ leader: ZooKeeperLeader, _ followers: [SimulatedZooKeeper]) {
        for server in followers {
            server.acceptedEpoch = leader.epoch
            self.network.world.enqueue(server.peers) { server.follow(leader) }
        }
    }
}
