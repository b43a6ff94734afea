import DequeModule
import ZooKeeperLocks

/// What a server does that leads: it gives transactions their numbers, has them written by a majority, counts the sessions' time, and
/// ends when it has heard of no majority for too long (`Leader`, `LearnerHandler`, `LeaderZooKeeperServer`).
final class ZooKeeperLeader {
    private final class Learner {
        let follower: ZooKeeperFollower
        /// It has all that was agreed on before.
        var hasCaughtUp = false
        /// The tick until which it counts as heard of.
        var deadline: Int
        var heardAt: Int64

        init(_ follower: ZooKeeperFollower, deadline: Int, now: Int64) {
            self.follower = follower
            self.deadline = deadline
            self.heardAt = now
        }

        var link: ZooKeeperLink { self.follower.link }
    }

    private struct Proposal {
        let transaction: ZooKeeperTransaction
        /// Who has written it, by number.
        var written: Set<Int> = []
    }

    unowned let server: SimulatedZooKeeper
    let epoch: Int64
    private(set) var isActive = false
    private var isOver = false
    private var learners: [Learner] = []
    private var preparation: ZooKeeperPreparation
    private var sessions: ZooKeeperSessions
    private var proposals: Deque<Proposal> = []
    /// Who is told when this transaction is done: nothing was asked before that he may miss.
    private var syncs: [(zxid: Int64, tell: () -> Void)] = []
    private var tick = 0
    private var isHalfTick = false

    private var settings: ZooKeeperSettings { self.server.settings }
    private var majority: Int { self.server.ensemble.majority }

    init(_ server: SimulatedZooKeeper, epoch: Int64) {
        self.server = server
        self.epoch = epoch
        self.preparation = ZooKeeperPreparation(server.service.data)
        self.sessions = ZooKeeperSessions(tick: server.settings.tick, timeouts: [:], now: 0)
    }

    // MARK: Beginning and end

    func begin() {
        // A server that is alone counts on.
        if self.server.ensemble.servers.count > 1 { self.server.service.began(self.epoch << 32) }
        if self.majority == 1 { return self.activate() }
        self.server.after(self.settings.initTime) {
            if !self.isActive, !self.isOver { self.server.look("nobody follows") }
        }
    }

    /// A majority has what this one has: it serves. All sessions have their whole time before them.
    private func activate() {
        self.isActive = true
        self.server.network.world.note(self.server.host, "has a majority")
        let data = self.server.service.data
        self.preparation = ZooKeeperPreparation(data)
        self.sessions = ZooKeeperSessions(tick: self.settings.tick, timeouts: data.sessions, now: self.server.now)
        for learner in self.learners where learner.hasCaughtUp { self.serve(learner) }
        self.halfTick()
        self.awaitExpiry()
        self.awaitContainers()
    }

    /// What it has written, and nobody has agreed to.
    func end() -> [ZooKeeperTransaction] {
        self.isOver = true
        for learner in self.learners {
            let follower = learner.follower
            learner.link.endedByLeader { follower.lost() }
        }
        self.learners = []
        return self.proposals.map(\.transaction)
    }

    // MARK: Followers

    func joined(_ follower: ZooKeeperFollower) {
        guard case .leading(let leader) = self.server.role, leader === self, !self.isOver else {
            return follower.link.endedByLeader { follower.lost() }
        }
        let learner = Learner(follower, deadline: self.tick + self.settings.syncLimit, now: self.server.now)
        self.learners.append(learner)
        let data = self.server.service.data
        let proposed = self.proposals.map(\.transaction)
        learner.link.toFollower { follower.caughtUp(data, proposed) }
    }

    private func heard(_ follower: ZooKeeperFollower) -> Learner? {
        guard let learner = self.learners.first(where: { $0.follower === follower }) else { return nil }
        learner.deadline = self.tick + self.settings.syncLimit
        learner.heardAt = self.server.now
        return learner
    }

    func hasCaughtUp(_ follower: ZooKeeperFollower) {
        guard let learner = self.heard(follower) else { return }
        learner.hasCaughtUp = true
        if self.isActive { return self.serve(learner) }
        if self.learners.count(where: \.hasCaughtUp) + 1 >= self.majority { self.activate() }
    }

    private func serve(_ learner: Learner) {
        let follower = learner.follower
        learner.link.toFollower { follower.mayServe() }
    }

    func lost(_ follower: ZooKeeperFollower) { self.learners.removeAll { $0.follower === follower } }

    // MARK: Transactions

    /// - Parameter follower: whose client asks; `nil`: one of this server's.
    func requested(
        _ submission: ZooKeeperSubmission, from follower: ZooKeeperFollower?, _ origin: ZooKeeperTransaction.Origin
    ) {
        if let follower { guard self.heard(follower) != nil else { return } }
        let owner = follower?.link.number ?? 0
        if case .of(.sync) = submission.request { return self.sync(submission, follower, owner, origin.request) }
        var objection: ZooKeeperCode?
        switch submission.request {
        case .createSession(let timeout):
            self.sessions.made(submission.session, timeout: timeout, owner: owner, now: self.server.now)
        case .of(.closeSession): self.sessions.closing(submission.session)
        case .of: objection = self.sessions.objection(to: submission.session, from: owner)
        case .deleteContainer: break
        }
        self.propose(submission, objection: objection, origin)
    }

    private func propose(
        _ submission: ZooKeeperSubmission, objection: ZooKeeperCode?, _ origin: ZooKeeperTransaction.Origin?
    ) {
        let transaction = self.preparation.prepare(
            submission, objection: objection, origin: origin, time: self.server.host.wallClock / 1_000)
        self.proposals.append(Proposal(transaction: transaction))
        for learner in self.learners {
            let follower = learner.follower
            learner.link.toFollower { follower.proposed(transaction) }
        }
        self.server.write { if !self.isOver { self.written(transaction.zxid, by: self.server.number) } }
    }

    func written(_ zxid: Int64, by follower: ZooKeeperFollower) {
        if self.heard(follower) != nil { self.written(zxid, by: follower.server.number) }
    }

    private func written(_ zxid: Int64, by number: Int) {
        guard let index = self.proposals.firstIndex(where: { $0.transaction.zxid == zxid }) else { return }
        self.proposals[index].written.insert(number)
        while let first = self.proposals.first, first.written.count >= self.majority, !self.isOver {
            self.proposals.removeFirst()
            self.commit(first.transaction)
        }
    }

    private func commit(_ transaction: ZooKeeperTransaction) {
        for learner in self.learners {
            let follower = learner.follower
            learner.link.toFollower { follower.committed(transaction.zxid) }
        }
        if case .closeSession = transaction.change { self.sessions.closed(transaction.session) }
        let isOwn = transaction.origin?.server == self.server.number
        self.server.service.applied(transaction, as: isOwn ? transaction.origin?.request : nil)
        while let first = self.syncs.first, first.zxid <= transaction.zxid {
            self.syncs.removeFirst()
            first.tell()
        }
    }

    /// Answered behind what was proposed before, and without asking anybody.
    private func sync(
        _ submission: ZooKeeperSubmission, _ follower: ZooKeeperFollower?, _ owner: Int, _ request: UInt64
    ) {
        let objection = self.sessions.objection(to: submission.session, from: owner)
        let service = follower?.server.service ?? self.server.service
        let tell = {
            let told: () -> Void = {
                if let objection { service?.refused(request, objection) } else { service?.synced(request) }
            }
            if let follower { follower.link.toFollower(told) } else { told() }
        }
        guard let last = self.proposals.last else { return tell() }
        self.syncs.append((last.transaction.zxid, tell))
    }

    // MARK: Sessions

    func objection(to session: Int64) -> ZooKeeperCode? { self.sessions.objection(to: session, from: 0) }

    func touched(_ sessions: [(id: Int64, timeout: Int32)]) -> Bool {
        var isAlive = true
        for (id, timeout) in sessions {
            isAlive = self.sessions.touched(id, timeout: timeout, now: self.server.now) && isAlive
        }
        return isAlive
    }

    func attached(_ session: Int64, _ timeout: Int32, to follower: ZooKeeperFollower?) -> Bool {
        let owner = follower?.link.number ?? 0
        return self.sessions.attached(session, timeout: timeout, owner: owner, now: self.server.now)
    }

    func answeredPing(_ follower: ZooKeeperFollower, _ touched: [(id: Int64, timeout: Int32)]) {
        if self.heard(follower) != nil, self.isActive { _ = self.touched(touched) }
    }

    func revalidate(_ session: Int64, _ timeout: Int32, _ visitor: Int, for follower: ZooKeeperFollower) {
        guard self.heard(follower) != nil else { return }
        let isAlive = self.attached(session, timeout, to: follower)
        follower.link.toFollower { follower.server.service.revalidated(session, of: visitor, isAlive: isAlive) }
    }

    // MARK: Time

    private func halfTick() {
        guard !self.isOver else { return }
        if self.isHalfTick {
            self.tick += 1
            let synced = self.learners.count { $0.hasCaughtUp && $0.deadline >= self.tick }
            guard synced + 1 >= self.majority else { return self.server.look("its followers are silent") }
        }
        self.isHalfTick.toggle()
        for learner in self.learners {
            let follower = learner.follower
            let silence = self.server.now - learner.heardAt
            if silence > (learner.hasCaughtUp ? self.settings.syncTime : self.settings.initTime) {
                learner.link.endedByLeader { follower.lost() }
                self.lost(follower)
            } else if learner.hasCaughtUp {
                learner.link.toFollower { follower.pinged() }
            }
        }
        self.server.after(self.settings.tick / 2) { self.halfTick() }
    }

    /// Buckets end at whole ticks of this server's clock.
    private func awaitExpiry() {
        guard !self.isOver else { return }
        for session in self.sessions.passed(now: self.server.now) {
            self.server.network.world.note(
                self.server.host, "ends session 0x\(String(UInt64(bitPattern: session), radix: 16))")
            let submission = ZooKeeperSubmission(session: session, users: [], request: .of(.closeSession))
            self.propose(submission, objection: nil, nil)
        }
        self.server.after(self.settings.tick - self.server.now % self.settings.tick) { self.awaitExpiry() }
    }

    /// Once a minute, as `ContainerManager` does.
    private func awaitContainers() {
        self.server.after(60_000_000_000) {
            guard !self.isOver else { return }
            for path in self.server.service.data.tree.emptyContainers() {
                let submission = ZooKeeperSubmission(session: 0, users: [], request: .deleteContainer(path: path))
                self.propose(submission, objection: nil, nil)
            }
            self.awaitContainers()
        }
    }
}
