import DistributedLocks
import LockKernel
import TestKit
import Testing

@testable import ZooKeeperLocks

/// A conversation with a ``ZooKeeperMachine``: what it is told, and what it wants done, in words.
///
/// A lock "a" has the folder `a`; the node `a/c1.2-` is the second one that was made for the first attempt. Requests that have been
/// asked and not answered are kept, to be answered by their words.
struct MachineTalk {
    typealias Machine = ZooKeeperMachine

    static let ensemble = "0123456789abcdef0123456789abcdef"
    static let session = ZooKeeperSession(id: 7, password: [], timeout: .seconds(8))

    private var machine: ZooKeeperMachine
    private(set) var now = BootInstant.now
    private var out: [(words: String, question: Machine.Question)] = []
    private var lastZxid: Int64 = 100
    private let maker: ContenderNode.Maker
    private let silence = ZooKeeperError(.notSent, "not connected yet")
    private let owner: LockOwner

    init(chroot: String = "", requestTimeout: Duration = .seconds(5)) {
        var generator = SeededGenerator(seed: 1)
        self.maker = ContenderNode.Maker(using: &generator)
        self.owner = LockOwner(
            secret: LockOwner.Secret(using: &generator), metadata: OwnerMetadata(host: "here", pid: 1, label: nil))
        var configuration = ZooKeeperLockConfiguration(servers: [.init(host: "z", port: 1)])
        configuration.chroot = chroot
        configuration.requestTimeout = requestTimeout
        self.machine = ZooKeeperMachine(configuration, maker: self.maker, now: self.now)
    }

    /// One whose session is open.
    static func open() -> MachineTalk {
        var talk = MachineTalk()
        _ = talk.attached()
        _ = talk.answer("getData dlock.ensemble", .data(Array(Self.ensemble.utf8), NodeStat()))
        _ = talk.answer("create ephemeral dlock.sessions/0x7", .created(path: "", stat: NodeStat()))
        talk.beat()
        return talk
    }

    // MARK: What is told

    mutating func tell(_ event: Machine.Event) -> [String] {
        self.machine.handle(event, now: self.now)
        var words: [String] = []
        while let effect = self.machine.next() {
            let said = self.words(effect)
            if case .ask(_, let question) = effect { self.out.append((said, question)) }
            if !said.isEmpty { words.append(said) }
        }
        return words
    }

    mutating func request(
        _ attempt: UInt64, _ lock: String = "a", joinsQueue: Bool = true, lease: Duration = .seconds(30)
    ) -> [String] {
        guard let name = try? LockName(lock) else { return [] }
        let claim = LockClaim(
            attempt: AttemptID(rawValue: attempt), name: name, owner: self.owner, lease: lease)
        return self.tell(
            .requested(
                AcquireRequest(claim: claim, joinsQueue: joinsQueue, deadline: nil), CallID(rawValue: attempt)))
    }

    mutating func cancel(_ attempt: UInt64) -> [String] {
        self.tell(.cancelled(AttemptID(rawValue: attempt), silence: self.silence))
    }

    /// - Parameter call: who waits for the answer.
    mutating func withdraw(_ attempt: UInt64, call: UInt64? = nil) -> [String] {
        self.tell(.withdrawn(AttemptID(rawValue: attempt), call: call.map { CallID(rawValue: $0) }))
    }

    mutating func inquire(_ inquiry: Inquiry, call: UInt64 = 1_000) -> [String] {
        self.tell(.inquired(inquiry, CallID(rawValue: call), silence: self.silence))
    }

    mutating func attached(isNew: Bool = true, session: ZooKeeperSession = MachineTalk.session) -> [String] {
        self.tell(.attached(session, isNew: isNew, sentAt: self.now, name: Self.ensemble))
    }

    mutating func turnEnds(_ turn: Machine.Turn = .writes) -> [String] { self.tell(.turnEnded(turn)) }

    /// The connection ends, and with it what is out.
    mutating func suspended(_ code: ZooKeeperError.Code = .outcomeUnknown) -> [String] {
        let error = ZooKeeperError(code, "the connection has ended")
        var words = self.tell(.suspended(error))
        let lost = self.out
        self.out = []
        for (_, question) in lost {
            words += self.tell(.answered(question, .failure(ZooKeeperError(.outcomeUnknown, "it has ended"))))
        }
        return words
    }

    mutating func fire(_ timer: Machine.Timer) -> [String] {
        self.tell(.timerFired(timer, silence: self.silence))
    }

    /// The timer of an attempt's claim that has begun for the n-th time among all claims.
    mutating func fire(claim attempt: UInt64, beginning: UInt32) -> [String] {
        self.fire(.claim(ClaimID(attempt: AttemptID(rawValue: attempt), beginning: beginning)))
    }

    mutating func wait(_ duration: Duration) { self.now = self.now + duration }

    /// Writes of the chain are answered, so that the session can be relied on.
    mutating func beat() {
        for _ in 0..<5 {
            _ = self.answer("setData dlock.sessions/0x7", .stat(NodeStat()))
            self.wait(.seconds(1))
            _ = self.tell(.alarmFired(.beat))
        }
        _ = self.answer("setData dlock.sessions/0x7", .stat(NodeStat()))
    }

    // MARK: What is answered

    /// The first request of these words that is out is answered.
    mutating func answer(_ request: String, _ answer: ZooKeeperAnswer, zxid: Int64? = nil) -> [String] {
        self.lastZxid += 1
        let reply = ZooKeeperReply(answer: answer, zxid: zxid ?? self.lastZxid, sentAt: self.now)
        return self.answer(request, .success(reply))
    }

    mutating func refuse(_ request: String, _ code: ZooKeeperCode) -> [String] {
        self.answer(request, .failure(ZooKeeperError(.refused(code), "\(code)")))
    }

    /// It could not be sent, or has no answer.
    mutating func fail(_ request: String, _ code: ZooKeeperError.Code) -> [String] {
        self.answer(request, .failure(ZooKeeperError(code, "\(code)")))
    }

    private mutating func answer(
        _ request: String, _ result: Result<ZooKeeperReply, ZooKeeperError>
    ) -> [String] {
        guard let index = self.out.firstIndex(where: { $0.words == request }) else {
            Issue.record("\(request) is not out: \(self.out.map(\.words))")
            return []
        }
        let (_, question) = self.out.remove(at: index)
        return self.tell(.answered(question, result))
    }

    var isOut: [String] { self.out.map(\.words) }

    // MARK: Nodes

    /// The name of the node that was made for an attempt, with the number that the server gave.
    func node(_ attempt: UInt64, made count: UInt16, number: Int) -> String {
        let uuid = self.maker.uuid(of: AttemptID(rawValue: attempt), count: count)
        let digits = String(number)
        return ContenderNode.stem(uuid: uuid) + String(repeating: "0", count: 10 - digits.count) + digits
    }

    /// A node of another client.
    static func other(_ number: Int) -> String {
        let digits = String(number)
        return "c-" + String(repeating: "f", count: 32) + "-" + String(repeating: "0", count: 10 - digits.count)
            + digits
    }

    func made(_ node: String, in lock: String = "a", czxid: Int64) -> ZooKeeperAnswer {
        .created(path: "/dlock/\(lock)/\(node)", stat: NodeStat(czxid: czxid, ephemeralOwner: Self.session.id))
    }

    /// The node of an attempt, which is the count-th that was made, is there and was listed behind others.
    mutating func isMade(
        _ attempt: UInt64, made count: UInt16 = 1, number: Int = 5, behind others: [String] = [], czxid: Int64 = 50
    ) -> [String] {
        let node = self.node(attempt, made: count, number: number)
        _ = self.answer("create a/c\(attempt).\(count)-", self.made(node, czxid: czxid), zxid: czxid)
        return self.answer("getChildren a", .children(others + [node], NodeStat(pzxid: czxid)))
    }

    /// The first attempt holds lock "a".
    mutating func hold() {
        _ = self.request(1)
        _ = self.turnEnds()
        #expect(self.isMade(1).contains("answer 1: granted with 50"))
    }

    /// The first attempt waits for lock "a", which another client holds.
    mutating func queue() {
        _ = self.request(1)
        _ = self.turnEnds()
        #expect(
            self.isMade(1, behind: [Self.other(4)]) == [
                "getData a/other-0000000004", "cancel request 1", "answer 1: queued behind 0 waiters",
            ])
    }

    // MARK: Words

    private func words(_ effect: Machine.Effect) -> String {
        switch effect {
        case .connect: "connect"
        case .ask(let request, _): self.words(request)
        case .answer(let call, let answer): "answer \(call.rawValue): \(self.words(answer))"
        case .tell(let news): self.words(news)
        case .start(let timer, let pause):
            pause.shortest == pause.longest
                ? "start \(self.words(timer)) \(pause.longest)"
                : "start \(self.words(timer)) \(pause.shortest) to \(pause.longest)"
        case .cancel(let timer): "cancel \(self.words(timer))"
        case .wake(let alarm, let instant): "wake \(alarm) in \(self.now.duration(to: instant))"
        case .silence(let alarm): "silence \(alarm)"
        case .awaitEnd: "await the turn's end"
        case .forgetWatch(let path): "forget the watch on \(self.short(path))"
        case .finishSetUp: "finish set-up"
        case .leaveServer(let reason, let isRefusal): "leave the server\(isRefusal ? ", refused" : ""): \(reason)"
        case .publish(let timeout): "publish \(timeout)"
        // Not what is decided.
        case .note: ""
        case .endSession: "end the session"
        case .finish: "finish"
        }
    }

    private func words(_ request: ZooKeeperRequest) -> String {
        guard case .multi(let parts) = request else {
            return self.short(request.description.replacing("ephemeralSequential ", with: ""))
        }
        return "together: " + parts.map { self.words($0) }.joined(separator: ", ")
    }

    private func words(_ answer: Machine.Answer) -> String {
        switch answer {
        case .granted(let grant): "granted with \(grant.token)"
        case .queued(let ahead): "queued" + (ahead.map { " behind \($0) waiters" } ?? "")
        case .busy(let holder): "busy" + (holder.map { ", held by \($0.host)" } ?? "")
        case .left(let wasHeld): wasHeld ? "left, was held" : "left, was not held"
        case .status(let standing): "status: \(standing.entries.map { "\($0.count) stand there" } ?? "may not be read")"
        case .names(let names): "names \(names)"
        case .broken(let holder): "broken, held by \(holder?.host ?? "nobody known")"
        case .cannotBeTold: "cannot be told"
        case .notHeld: "not held"
        case .trouble(let failure): "trouble: \(failure?.message ?? "none")"
        case .failed(let failure): "\(failure.code): \(failure.message)"
        }
    }

    private func words(_ news: Machine.News) -> String {
        switch news {
        case .granted(let attempt, let grant): "tell \(attempt) is granted with \(grant.token)"
        case .gone(let attempt): "tell \(attempt) is gone"
        case .held(let attempt, let holder): "tell \(attempt) waits for \(holder.host)"
        case .lost(let attempt, let reason): "tell \(attempt) is lost, \(reason)"
        case .sessionExtended: "tell the session is extended"
        case .sessionLost: "tell the session is lost"
        }
    }

    private func words(_ timer: Machine.Timer) -> String {
        switch timer {
        case .request(let attempt): "request \(attempt)"
        case .leave(let attempt): "leave \(attempt)"
        case .inquiry(let call): "inquiry \(call.rawValue)"
        case .claim(let id): "claim \(id.attempt)"
        case .postponed(let id): "postponed \(id.attempt)"
        case .writes: "writes"
        }
    }

    private func short(_ text: String) -> String {
        text.replacing("/dlock/", with: "").replacing("/dlock.", with: "dlock.")
            .replacing(/c-[0-9a-f]{16}(?<attempt>[0-9a-f]{12})(?<count>[0-9a-f]{4})-/) { match in
                let attempt = UInt64(match.output.attempt, radix: 16) ?? 0
                return attempt >> 40 == 0xFF
                    ? "other-" : "c\(attempt).\(UInt16(match.output.count, radix: 16) ?? 0)-"
            }
    }
}
