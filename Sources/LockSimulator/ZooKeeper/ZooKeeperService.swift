import NIOCore
import ZooKeeperLocks

/// What one server does for its clients: it answers reads from its own data, has the leader do the rest, and tells who watches. The
/// requests of a client are answered in their order. Knows no time, no network and no other server.
final class ZooKeeperService {
    /// What it needs of what is around it.
    struct Surroundings {
        var send: (_ visitor: Int, ByteBuffer) -> Void
        var close: (_ visitor: Int) -> Void
        /// Has the leader do something; ``ZooKeeperService/applied(_:as:)`` or ``ZooKeeperService/synced(_:)`` follows.
        var submit: (ZooKeeperSubmission, _ request: UInt64) -> Void
        /// A sign of life of a session. False: it is over, as far as is known here.
        var touch: (_ session: Int64, _ timeout: Int32) -> Bool
        /// Why a session is not served here; only the leader knows.
        var objection: (_ session: Int64) -> ZooKeeperCode?
        /// Asks the leader whether a session lives; ``ZooKeeperService/revalidated(_:of:isAlive:)`` follows.
        var revalidate: (_ session: Int64, _ timeout: Int32, _ visitor: Int) -> Void
        var newSession: () -> Int64
        /// Children are told in no order.
        var shuffle: ([String]) -> [String]
        /// For whoever wants to see all that is said.
        var tell: (_ visitor: Int, _ text: () -> String) -> Void
    }

    private final class Entry {
        let xid: Int32
        let request: ZooKeeperRequest
        var outcome: ZooKeeperOutcome?
        /// It is answered by the leader, with this number.
        var number: UInt64?

        init(_ xid: Int32, _ request: ZooKeeperRequest) {
            self.xid = xid
            self.request = request
        }
    }

    private enum Standing {
        case new
        /// Its session is being made, or looked for.
        case attaching(session: Int64, timeout: Int32)
        case attached(session: Int64, timeout: Int32)
    }

    private struct Visitor {
        var standing = Standing.new
        var incoming = ByteBuffer()
        var users: [String] = []
        var queue: [Entry] = []
    }

    private(set) var data: ZooKeeperData
    private let timeouts: ClosedRange<Int32>
    private let surroundings: Surroundings
    private var visitors: [Int: Visitor] = [:]
    private var watches = ZooKeeperWatches()
    /// Who waits for what the leader does.
    private var waiting: [UInt64: Int] = [:]
    private var lastNumber: UInt64
    /// It has more to do than it can, and answers so (`zookeeper.throttledOpWaitTime`).
    var isThrottling = false

    /// - Parameters:
    ///   - timeouts: of sessions, in milliseconds.
    ///   - firstNumber: of what is asked of the leader; two lives of a server use no number twice.
    init(_ data: ZooKeeperData, timeouts: ClosedRange<Int32>, firstNumber: UInt64, _ surroundings: Surroundings) {
        self.data = data
        self.timeouts = timeouts
        self.lastNumber = firstNumber
        self.surroundings = surroundings
    }

    /// All servers find it from the session's number.
    static func password(of session: Int64) -> [UInt8] {
        var generator = SimulationGenerator(seed: UInt64(bitPattern: session) ^ 0xB3415C00)
        return (0..<2).flatMap { _ in withUnsafeBytes(of: generator.next().bigEndian) { Array($0) } }
    }

    // MARK: Visitors

    func came(_ visitor: Int) { self.visitors[visitor] = Visitor() }

    func left(_ visitor: Int) {
        self.visitors[visitor] = nil
        self.watches.forget(visitor)
    }

    private func turnAway(_ visitor: Int) {
        self.left(visitor)
        self.surroundings.close(visitor)
    }

    /// All of them, because it serves nobody any more.
    func turnAllAway() {
        for visitor in self.visitors.keys.sorted() { self.turnAway(visitor) }
        self.waiting = [:]
    }

    func received(_ bytes: ByteBuffer, from visitor: Int) {
        self.visitors[visitor]?.incoming.writeImmutableBuffer(bytes)
        self.read(visitor)
    }

    private func read(_ visitor: Int) {
        while let standing = self.visitors[visitor]?.standing {
            // What follows a greeting is read when that is answered.
            if case .attaching = standing { return }
            do {
                let decoder = JuteFrameDecoder()
                guard var incoming = self.visitors[visitor]?.incoming, let frame = try decoder.next(from: &incoming)
                else { return }
                self.visitors[visitor]?.incoming = incoming
                switch standing {
                case .new:
                    var reader = JuteReader(frame)
                    self.greeted(visitor, try ConnectRequest(from: &reader))
                case .attached(let session, let timeout):
                    let (xid, request) = try ZooKeeperServerWire.request(frame)
                    self.asked(visitor, xid, request, session, timeout)
                case .attaching: return
                }
            } catch {
                return self.turnAway(visitor)
            }
        }
    }

    // MARK: Sessions

    private func greeted(_ visitor: Int, _ request: ConnectRequest) {
        // Whoever has seen more would see time go back.
        guard request.lastZxidSeen <= self.data.lastZxid else { return self.turnAway(visitor) }
        let timeout = min(max(request.timeoutMilliseconds, self.timeouts.lowerBound), self.timeouts.upperBound)
        if request.sessionID == 0 {
            let session = self.surroundings.newSession()
            self.visitors[visitor]?.standing = .attaching(session: session, timeout: timeout)
            self.submit(
                ZooKeeperSubmission(session: session, users: [], request: .createSession(timeout: timeout)),
                for: visitor)
            return
        }
        let session = request.sessionID
        for other in self.attached(to: session) { self.turnAway(other) }
        self.visitors[visitor]?.standing = .attaching(session: session, timeout: timeout)
        guard request.password == Self.password(of: session) else {
            return self.revalidated(session, of: visitor, isAlive: false)
        }
        self.surroundings.revalidate(session, timeout, visitor)
    }

    private func attached(to session: Int64) -> [Int] {
        self.visitors.filter {
            if case .attached(session, _) = $0.value.standing { true } else { false }
        }.keys.sorted()
    }

    /// The leader has said whether a session lives.
    func revalidated(_ session: Int64, of visitor: Int, isAlive: Bool) {
        guard case .attaching(session, let timeout)? = self.visitors[visitor]?.standing else { return }
        self.surroundings.tell(visitor) { "session 0x\(String(UInt64(bitPattern: session), radix: 16)) \(isAlive)" }
        var buffer = ByteBuffer()
        ConnectResponse(
            timeoutMilliseconds: isAlive ? timeout : 0, sessionID: isAlive ? session : 0,
            password: isAlive ? Self.password(of: session) : [UInt8](repeating: 0, count: 16)
        ).writeFrame(into: &buffer)
        self.surroundings.send(visitor, buffer)
        guard isAlive else { return self.turnAway(visitor) }
        self.visitors[visitor]?.standing = .attached(session: session, timeout: timeout)
        self.read(visitor)
    }

    // MARK: Requests

    private func submit(_ submission: ZooKeeperSubmission, for visitor: Int, _ entry: Entry? = nil) {
        self.lastNumber += 1
        entry?.number = self.lastNumber
        self.waiting[self.lastNumber] = visitor
        self.surroundings.submit(submission, self.lastNumber)
    }

    private func asked(
        _ visitor: Int, _ xid: Int32, _ request: ZooKeeperRequest, _ session: Int64, _ timeout: Int32
    ) {
        if case .authenticate(let scheme, let credentials) = request {
            precondition(scheme == "digest", "authentication by \(scheme) is not simulated")
            let user = String(decoding: credentials, as: UTF8.self)
            if self.visitors[visitor]?.users.contains(user) == false { self.visitors[visitor]?.users.append(user) }
            return self.send(visitor, xid, zxid: 0, .answer(.done), to: request)
        }
        // What comes for a session that is over is dropped; its connection ends soon.
        guard self.surroundings.touch(session, timeout) else { return }
        let entry = Entry(xid, request)
        self.visitors[visitor]?.queue.append(entry)
        if self.isThrottling, request != .ping, request != .closeSession {
            entry.outcome = .refused(.throttled)
        } else if request.isForTheLeader {
            let users = self.visitors[visitor]?.users ?? []
            let submission = ZooKeeperSubmission(session: session, users: users, request: .of(request))
            self.submit(submission, for: visitor, entry)
        }
        self.answerQueue(of: visitor)
    }

    private func answerQueue(of visitor: Int) {
        while let entry = self.visitors[visitor]?.queue.first {
            let outcome: ZooKeeperOutcome
            if let known = entry.outcome {
                outcome = known
            } else if entry.request.isForTheLeader {
                return
            } else {
                outcome = self.read(entry.request, visitor)
            }
            self.visitors[visitor]?.queue.removeFirst()
            // The connection is wrong, and not the request.
            if outcome == .refused(.sessionMoved) { return self.turnAway(visitor) }
            self.send(visitor, entry.xid, zxid: self.data.lastZxid, outcome, to: entry.request)
            if entry.request == .closeSession { return self.turnAway(visitor) }
        }
    }

    private func send(
        _ visitor: Int, _ xid: Int32, zxid: Int64, _ outcome: ZooKeeperOutcome, to request: ZooKeeperRequest
    ) {
        self.surroundings.tell(visitor) { "asks \(request) -> \(outcome.words) at 0x\(String(zxid, radix: 16))" }
        self.surroundings.send(visitor, ZooKeeperServerWire.reply(xid, zxid: zxid, outcome, to: request))
    }

    // MARK: Reads

    private func read(_ request: ZooKeeperRequest, _ visitor: Int) -> ZooKeeperOutcome {
        guard case .attached(let session, _)? = self.visitors[visitor]?.standing else {
            preconditionFailure("who has no session reads")
        }
        if let objection = self.surroundings.objection(session) { return .refused(objection) }
        switch request {
        case .exists(let path, let watch):
            if watch { self.watches.watchData(path, by: visitor) }
            guard let node = self.data.tree[path] else { return .refused(.noNode) }
            return .answer(.stat(node.told))
        case .getData(let path, let watch):
            return self.node(path, visitor) { node in
                if watch { self.watches.watchData(path, by: visitor) }
                return .data(node.data, node.told)
            }
        case .getChildren(let path, let watch):
            return self.node(path, visitor) { node in
                if watch { self.watches.watchChildren(path, by: visitor) }
                return .children(self.surroundings.shuffle(node.children.sorted()), node.told)
            }
        case .setDataWatches(let paths, let zxid):
            self.watchAgain(paths, since: zxid, visitor)
            return .answer(.done)
        case .ping: return .answer(.done)
        case .create, .delete, .setData, .check, .sync, .multi, .authenticate, .closeSession:
            preconditionFailure("\(request) is not answered by a read")
        }
    }

    private func node(
        _ path: String, _ visitor: Int, _ body: (ZooKeeperTree.Node) -> ZooKeeperAnswer
    ) -> ZooKeeperOutcome {
        guard let node = self.data.tree[path] else { return .refused(.noNode) }
        guard node.permission.isGiven(to: self.visitors[visitor]?.users ?? []) else { return .refused(.noAuth) }
        return .answer(body(node))
    }

    /// What has happened since then is told at once.
    private func watchAgain(_ paths: [String], since zxid: Int64, _ visitor: Int) {
        for path in paths {
            guard let node = self.data.tree[path] else {
                self.tell(visitor, WatchEvent(kind: .deleted, path: path))
                continue
            }
            if node.stat.mzxid > zxid {
                self.tell(visitor, WatchEvent(kind: .dataChanged, path: path))
            } else {
                self.watches.watchData(path, by: visitor)
            }
        }
    }

    private func tell(_ visitor: Int, _ event: WatchEvent) {
        self.surroundings.tell(visitor) { "is told: \(event.kind) \(event.path)" }
        self.surroundings.send(visitor, ZooKeeperServerWire.event(event))
    }

    // MARK: What all servers do

    /// - Parameter request: what of this server it answers.
    func applied(_ transaction: ZooKeeperTransaction, as request: UInt64?) {
        let (outcome, events) = self.data.apply(transaction)
        for event in events {
            for news in self.watches.fired(event)
            where news.permission.isGiven(to: self.visitors[news.visitor]?.users ?? []) {
                self.tell(news.visitor, news.event)
            }
        }
        let asking = request.flatMap { self.waiting.removeValue(forKey: $0) }
        if case .closeSession = transaction.change {
            // Whoever has asked for it is answered before.
            for visitor in self.attached(to: transaction.session) where visitor != asking { self.turnAway(visitor) }
        }
        guard let request, let asking else { return }
        if case .createSession = transaction.change {
            return self.revalidated(transaction.session, of: asking, isAlive: true)
        }
        self.settle(request, of: asking, outcome)
    }

    /// The leader had no more to tell when this was asked.
    func synced(_ request: UInt64) {
        guard let visitor = self.waiting.removeValue(forKey: request) else { return }
        let entry = self.visitors[visitor]?.queue.first { $0.number == request }
        guard case .sync(let path)? = entry?.request else { return }
        self.settle(request, of: visitor, .answer(.path(path)))
    }

    /// The leader does not do it.
    func refused(_ request: UInt64, _ code: ZooKeeperCode) {
        guard let visitor = self.waiting.removeValue(forKey: request) else { return }
        self.settle(request, of: visitor, .refused(code))
    }

    private func settle(_ request: UInt64, of visitor: Int, _ outcome: ZooKeeperOutcome) {
        self.visitors[visitor]?.queue.first { $0.number == request }?.outcome = outcome
        self.answerQueue(of: visitor)
    }

    /// Its data is the leader's from now on.
    func replace(_ data: ZooKeeperData) { self.data = data }

    /// A leader begins to count anew.
    func began(_ zxid: Int64) { self.data.lastZxid = zxid }
}

extension ZooKeeperRequest {
    /// Whether it is answered by what the leader does.
    fileprivate var isForTheLeader: Bool {
        switch self {
        case .create, .delete, .setData, .check, .sync, .multi, .closeSession: true
        case .exists, .getData, .getChildren, .setDataWatches, .authenticate, .ping: false
        }
    }
}

extension ZooKeeperOutcome {
    fileprivate var words: String {
        switch self {
        case .refused(let code): "\(code)"
        case .answer(.children(let names, let stat)): "\(names.joined(separator: " ")) pzxid \(stat.pzxid)"
        case .answer(.created(let path, let stat)): "\(path) czxid \(stat.czxid)"
        case .answer(.stat(let stat)): "czxid \(stat.czxid) version \(stat.version)"
        case .answer(.data(let data, _)): "\(data.count) bytes"
        case .answer(.multi(let parts)): parts.map(\.words).joined(separator: ", ")
        case .answer(.path), .answer(.done): "done"
        }
    }
}

extension ZooKeeperAnswer.MultiResult {
    fileprivate var words: String {
        switch self {
        case .created(let path, _): path
        case .stat, .done: "done"
        case .failed(let code): "\(code)"
        }
    }
}
