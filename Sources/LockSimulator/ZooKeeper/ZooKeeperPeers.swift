/// A connection between two servers of an ensemble. Each way keeps its order. What is sent while the way is blocked comes when it is open
/// again, unless the connection has ended by then.
final class ZooKeeperLink: SimulatedNetwork.Held {
    private final class End {
        let source: World.Source
        /// What waits until the way is open.
        var held: [() -> Void] = []
        var arrival: Int64 = 0
        /// It has not heard yet that the other one has ended it.
        var isOpen = true

        init(_ source: World.Source) { self.source = source }
    }

    /// Two of them differ, also between the same servers.
    let number: Int
    private unowned let network: SimulatedNetwork
    private let follower: End
    private let leader: End
    private var isOpen = true

    init(_ number: Int, network: SimulatedNetwork, follower: World.Source, leader: World.Source) {
        self.number = number
        self.network = network
        self.follower = End(follower)
        self.leader = End(leader)
        network.holds(self)
    }

    private var isBlocked: Bool { self.network.isBlocked(self.follower.source.host, self.leader.source.host) }

    func toLeader(_ body: @escaping () -> Void) { self.send(to: self.leader, body) }

    func toFollower(_ body: @escaping () -> Void) { self.send(to: self.follower, body) }

    private func send(to end: End, isLast: Bool = false, _ body: @escaping () -> Void) {
        guard self.isOpen || isLast else { return }
        let deliver = { [self] in
            let world = self.network.world
            end.arrival = max(end.arrival + 1, world.time + world.duration(self.network.latency))
            world.enqueue(end.source, at: end.arrival) {
                guard end.isOpen else { return }
                if isLast { end.isOpen = false }
                body()
            }
        }
        if self.isBlocked { end.held.append(deliver) } else { deliver() }
    }

    /// The other end hears of it, when the way is open.
    func endedByLeader(_ told: @escaping () -> Void) { self.end(self.leader, self.follower, told) }

    func endedByFollower(_ told: @escaping () -> Void) { self.end(self.follower, self.leader, told) }

    private func end(_ ending: End, _ other: End, _ told: @escaping () -> Void) {
        guard ending.isOpen else { return }
        ending.isOpen = false
        if self.isOpen { self.send(to: other, isLast: true, told) }
        self.isOpen = false
        if ending.held.isEmpty, other.held.isEmpty { self.network.holdsNoLonger(self) }
    }

    func unblocked() {
        guard !self.isBlocked else { return }
        for end in [self.follower, self.leader] {
            let held = end.held
            end.held = []
            for deliver in held { deliver() }
        }
        if !self.isOpen { self.network.holdsNoLonger(self) }
    }
}
