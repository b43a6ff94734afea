import NIOCore
import ZooKeeperLocks

@testable import LockSimulator

/// The model of a ZooKeeper that is alone, without a world: what is asked is done at once.
final class LoneZooKeeper {
    private static let tick: Int64 = 1_000_000_000

    private var service: ZooKeeperService!
    private var preparation: ZooKeeperPreparation
    private var sessions: ZooKeeperSessions
    private var now: Int64 = 0
    private var life: UInt64 = 0
    /// What it has sent and nobody has taken, by visitor.
    private var sent: [Int: [ByteBuffer]] = [:]
    private var gone: Set<Int> = []
    private var lastVisitor = 0
    /// The number that the next session gets.
    var nextSession: Int64 = 0

    init() {
        let data = ZooKeeperData()
        self.preparation = ZooKeeperPreparation(data)
        self.sessions = ZooKeeperSessions(tick: Self.tick, timeouts: [:], now: 0)
        self.start(data)
    }

    private func start(_ data: ZooKeeperData) {
        self.life += 1
        self.preparation = ZooKeeperPreparation(data)
        self.sessions = ZooKeeperSessions(tick: Self.tick, timeouts: data.sessions, now: self.now)
        self.service = ZooKeeperService(
            data, timeouts: 2_000...20_000, firstNumber: self.life << 32,
            ZooKeeperService.Surroundings(
                send: { [unowned self] in self.sent[$0, default: []].append($1) },
                close: { [unowned self] in self.gone.insert($0) },
                submit: { [unowned self] in self.carryOut($0, $1) },
                touch: { [unowned self] in self.sessions.touched($0, timeout: $1, now: self.now) },
                objection: { [unowned self] in self.sessions.objection(to: $0, from: 0) },
                revalidate: { [unowned self] session, timeout, visitor in
                    let isAlive = self.sessions.attached(session, timeout: timeout, owner: 0, now: self.now)
                    self.service.revalidated(session, of: visitor, isAlive: isAlive)
                },
                newSession: { [unowned self] in self.nextSession }, shuffle: { $0 }, tell: { _, _ in }))
    }

    /// As by SIGKILL; then it starts again.
    func restart() {
        for visitor in 1...max(self.lastVisitor, 1) { self.gone.insert(visitor) }
        self.start(self.service.data)
    }

    private func carryOut(_ submission: ZooKeeperSubmission, _ request: UInt64?) {
        var objection: ZooKeeperCode?
        switch submission.request {
        case .of(.sync):
            if let request { self.service.synced(request) }
            return
        case .createSession(let timeout):
            self.sessions.made(submission.session, timeout: timeout, owner: 0, now: self.now)
        case .of(.closeSession): self.sessions.closing(submission.session)
        case .of: objection = self.sessions.objection(to: submission.session, from: 0)
        case .deleteContainer: break
        }
        let transaction = self.preparation.prepare(submission, objection: objection, origin: nil, time: 0)
        self.service.applied(transaction, as: request)
    }

    /// All sessions have been silent for so long that they end, but those.
    func end(allBut living: [Int64]) {
        self.now += 100 * Self.tick
        for session in living { _ = self.sessions.touched(session, timeout: 20_000, now: self.now) }
        for session in self.sessions.passed(now: self.now) {
            self.carryOut(ZooKeeperSubmission(session: session, users: [], request: .of(.closeSession)), nil)
        }
    }

    // MARK: Visitors

    func connect() -> Int {
        self.lastVisitor += 1
        self.service.came(self.lastVisitor)
        return self.lastVisitor
    }

    func leave(_ visitor: Int) { self.service.left(visitor) }

    func send(_ bytes: ByteBuffer, as visitor: Int) { self.service.received(bytes, from: visitor) }

    func isGone(_ visitor: Int) -> Bool { self.gone.contains(visitor) }

    /// What stands behind the length of the next frame.
    func frame(_ visitor: Int) -> ByteBuffer? {
        guard self.sent[visitor]?.isEmpty == false, var frame = self.sent[visitor]?.removeFirst() else { return nil }
        frame.moveReaderIndex(forwardBy: 4)
        return frame
    }
}
