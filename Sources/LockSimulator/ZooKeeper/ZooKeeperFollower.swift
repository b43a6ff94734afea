import DequeModule
import ZooKeeperLocks

/// What a server does that follows: it writes what the leader proposes, does what the leader says was agreed on, and tells it at each of
/// its pings which sessions it has heard of. It notices that it is cut off only when it has heard nothing for too long; until then it
/// goes on serving (`Follower`, `Learner`).
final class ZooKeeperFollower {
    unowned let server: SimulatedZooKeeper
    let leader: ZooKeeperLeader
    let link: ZooKeeperLink
    private(set) var isServing = false
    private var isOver = false
    /// Written, and not agreed on yet.
    private var proposals: Deque<ZooKeeperTransaction> = []
    private var heardAt: Int64
    private var isSuspicious = false
    private var touched: [Int64: Int32] = [:]

    init(_ server: SimulatedZooKeeper, _ leader: ZooKeeperLeader) {
        self.server = server
        self.leader = leader
        self.link = server.ensemble.makeLink(from: server, to: leader.server)
        self.heardAt = server.now
    }

    func begin() {
        self.link.toLeader { self.leader.joined(self) }
        self.watchSilence()
    }

    /// What it has written, and does not know to be agreed on.
    func end() -> [ZooKeeperTransaction] {
        self.isOver = true
        self.link.endedByFollower { self.leader.lost(self) }
        return Array(self.proposals)
    }

    /// The leader has ended it.
    func lost() { if !self.isOver { self.server.look("its leader has left it") } }

    private func watchSilence() {
        self.server.after(self.server.settings.tick / 4) {
            guard !self.isOver else { return }
            let settings = self.server.settings
            let isSilent = self.server.now - self.heardAt > (self.isServing ? settings.syncTime : settings.initTime)
            // What has come while it stood still is read first.
            if isSilent, self.isSuspicious { return self.server.look("its leader is silent") }
            self.isSuspicious = isSilent
            self.watchSilence()
        }
    }

    // MARK: What the leader says

    /// Simplified: all of its data, where a real one may send what is missing.
    func caughtUp(_ data: ZooKeeperData, _ proposed: [ZooKeeperTransaction]) {
        self.heardAt = self.server.now
        self.server.service.replace(data)
        self.server.write { [self] in
            guard !self.isOver else { return }
            self.link.toLeader { self.leader.hasCaughtUp(self) }
        }
        for transaction in proposed { self.proposed(transaction) }
    }

    func mayServe() {
        self.heardAt = self.server.now
        self.isServing = true
        self.server.network.world.note(self.server.host, "serves")
    }

    func proposed(_ transaction: ZooKeeperTransaction) {
        self.heardAt = self.server.now
        self.proposals.append(transaction)
        self.server.write { [self] in
            guard !self.isOver else { return }
            self.link.toLeader { self.leader.written(transaction.zxid, by: self) }
        }
    }

    func committed(_ zxid: Int64) {
        self.heardAt = self.server.now
        guard let transaction = self.proposals.popFirst(), transaction.zxid == zxid else {
            preconditionFailure("\(self.server.host.name) is told to do what was not proposed to it")
        }
        let isOwn = transaction.origin?.server == self.server.number
        self.server.service.applied(transaction, as: isOwn ? transaction.origin?.request : nil)
    }

    func pinged() {
        self.heardAt = self.server.now
        let touched = self.touched.sorted { $0.key < $1.key }.map { (id: $0.key, timeout: $0.value) }
        self.touched = [:]
        self.link.toLeader { self.leader.answeredPing(self, touched) }
    }

    // MARK: What its clients want

    func request(_ submission: ZooKeeperSubmission, _ origin: ZooKeeperTransaction.Origin) {
        self.link.toLeader { self.leader.requested(submission, from: self, origin) }
    }

    func touch(_ session: Int64, _ timeout: Int32) { self.touched[session] = timeout }

    func revalidate(_ session: Int64, _ timeout: Int32, _ visitor: Int) {
        self.link.toLeader { self.leader.revalidate(session, timeout, visitor, for: self) }
    }
}
