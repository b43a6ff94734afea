import DistributedLocks
import LockKernel
import NIOCore
import TestKit
import Testing

@testable import RedisLocks

/// A conversation with a ``RedlockMachine``: what it is told, and what it wants done, in words.
///
/// The instances are 0, 1, 2 and so on, the locks "a" and "b", claims the numbers of their attempts, calls those of their claims and
/// 100 more for who gives one back; 200 renews. What has been asked and not answered is kept, to be answered by its words. All of it happens at one
/// instant, unless somebody waits.
struct RedlockTalk {
    typealias Machine = RedlockMachine

    /// The servers' clock at the beginning, in the units of tokens.
    static let time: Int64 = 10_000_000

    private var machine: Machine
    let configuration: RedlockConfiguration
    private(set) var now = BootInstant.now
    private let start: BootInstant
    private var out: [(words: String, request: Machine.Request, instance: Int)] = []
    /// What the alarm is set to.
    private(set) var alarm: BootInstant?
    private var owners: [UInt64: LockOwner] = [:]
    /// What the last round has asked with.
    private(set) var proposal: Machine.Proposal?
    private var generator = SeededGenerator(seed: 1)

    init(_ count: Int = 3, change: (inout RedlockConfiguration) -> Void = { _ in }) {
        var configuration = RedlockConfiguration(
            servers: (0..<count).map { .tcp(host: "\($0)", port: 1) })
        change(&configuration)
        self.configuration = configuration
        self.start = self.now
        self.machine = Machine(configuration, BufferedRandomNumberGenerator(Entropy()), now: self.now)
    }

    private struct Entropy: EntropySource {
        func fill(_ words: inout [UInt64]) {
            var generator = SeededGenerator(seed: 2)
            for index in words.indices { words[index] = generator.next() }
        }
    }

    /// One whose instances are open.
    static func open(_ count: Int = 3, change: (inout RedlockConfiguration) -> Void = { _ in }) -> RedlockTalk {
        var talk = RedlockTalk(count, change: change)
        _ = talk.started()
        for index in 0..<count { talk.opens(index) }
        return talk
    }

    // MARK: What is told
    private mutating func tell(_ event: (inout Machine, BootInstant) -> Void) -> [String] {
        event(&self.machine, self.now)
        var words: [String] = []
        while let effect = self.machine.next() {
            switch effect {
            case .wake(let instant): self.alarm = instant
            case .ask(let request, let instances, let first, _):
                let said = self.words(request)
                var asked: [String] = []
                instances.forEach(from: first) { index in
                    asked.append("\(index)")
                    self.out.append((said, request, index))
                }
                if case .lock(let proposal) = request { self.proposal = proposal }
                words.append("ask \(asked.joined(separator: " ")): \(said)")
            default: words.append(self.words(effect))
            }
        }
        return words
    }

    mutating func started(onlyLooks: Bool = false) -> [String] {
        self.tell { $0.started(onlyLooks: onlyLooks, now: $1) }
    }

    mutating func connected(_ index: Int) -> [String] { self.tell { $0.connected(index, now: $1) } }

    /// A connection ends, and with it what is out there.
    mutating func disconnected(_ index: Int, _ code: RedisError.Code = .outcomeUnknown) -> [String] {
        var words = self.tell { $0.disconnected(index, RedisError(code, "the connection has ended"), now: $1) }
        let lost = self.out.filter { $0.instance == index }
        self.out.removeAll { $0.instance == index }
        for (_, request, index) in lost {
            words += self.answer(request, index, .failure(RedisError(.outcomeUnknown, "it has ended")))
        }
        return words
    }

    mutating func request(
        _ attempt: UInt64, _ lock: String = "a", joinsQueue: Bool = true, lease: Duration = .seconds(30)
    ) -> [String] {
        guard let claim = self.claim(attempt, lock, lease: lease) else { return [] }
        let request = AcquireRequest(claim: claim, joinsQueue: joinsQueue, deadline: nil)
        return self.tell { $0.requested(request, CallID(rawValue: attempt), now: $1) }
    }

    private mutating func claim(_ attempt: UInt64, _ lock: String = "a", lease: Duration = .seconds(30)) -> LockClaim? {
        guard let name = try? LockName(lock) else { return nil }
        let owner =
            self.owners[attempt]
            ?? LockOwner(
                secret: LockOwner.Secret(using: &self.generator),
                metadata: OwnerMetadata(host: "here", pid: 1, label: nil))
        self.owners[attempt] = owner
        return LockClaim(attempt: AttemptID(rawValue: attempt), name: name, owner: owner, lease: lease)
    }

    mutating func cancel(_ attempt: UInt64) -> [String] {
        self.tell { $0.requestCancelled(AttemptID(rawValue: attempt), now: $1) }
    }

    mutating func withdraw(_ attempt: UInt64, isAwaited: Bool = true) -> [String] {
        let call = isAwaited ? CallID(rawValue: attempt + 100) : nil
        return self.tell { $0.withdrawn(AttemptID(rawValue: attempt), call, now: $1) }
    }

    mutating func renew(_ attempts: UInt64...) -> [String] {
        let renewals = attempts.compactMap { self.claim($0) }.map {
            LockRenewal(claim: $0, deadline: (self.now + .seconds(20)).continuous)
        }
        return self.tell { $0.renewalsRequested(renewals, CallID(rawValue: 200), now: $1) }
    }

    mutating func inquire(_ call: UInt64) -> [String] {
        self.tell { $0.inquired(CallID(rawValue: call), now: $1) }
    }

    /// An instance says that a claim has the turn.
    mutating func giveTurn(_ attempt: UInt64, by index: Int, fence: Int64 = 0) -> [String] {
        self.push(self.owners[attempt].map { .turn($0.secret, time: fence) }, by: index)
    }

    /// An instance says that the lock is free which a claim has the turn for.
    mutating func free(_ attempt: UInt64, by index: Int, fence: Int64 = 0) -> [String] {
        self.push(self.owners[attempt].map { .freed($0.secret, fence: fence) }, by: index)
    }

    /// An instance says that the lock was broken which the last round has won.
    mutating func breakLock(by index: Int) -> [String] { self.push(self.proposal.map { .broken($0.owner) }, by: index) }

    private mutating func push(_ message: InstanceMessage?, by index: Int) -> [String] {
        guard let message else { return [] }
        return self.tell { $0.messageCame(message, from: index, now: $1) }
    }

    mutating func turnEnds(refusedBy index: Int) -> [String] {
        self.tell { $0.turnEnded(refusedBy: index, now: $1) }
    }

    mutating func fire(_ timer: Machine.Timer) -> [String] { self.tell { $0.timerFired(timer, now: $1) } }

    mutating func wait(_ duration: Duration) { self.now = self.now + duration }

    /// It is so much later, and the alarm goes off if it is time.
    mutating func wakeUp(after duration: Duration) -> [String] {
        self.now = self.now + duration
        guard let alarm = self.alarm, alarm <= self.now else { return ["no alarm"] }
        self.alarm = nil
        return self.tell { $0.alarmFired(now: $1) }
    }

    mutating func end() -> [String] { self.tell { $0.ended(now: $1) } }
    mutating func stop() -> [String] { self.tell { $0.stopped(now: $1) } }

    // MARK: What is answered

    /// The first request that begins with these words, and is out at the instance, is answered.
    mutating func answer(_ request: String, _ index: Int, _ value: RESPValue, sentAt: BootInstant? = nil) -> [String] {
        self.answer(
            request, index,
            .success(
                RedisReply(
                    value: value, sentAt: sentAt ?? self.now, connection: RedisConnectionID(rawValue: UInt64(index)))))
    }

    mutating func fail(_ request: String, _ index: Int, _ error: RedisError) -> [String] {
        self.answer(request, index, .failure(error))
    }

    private mutating func answer(
        _ words: String, _ index: Int, _ result: Result<RedisReply, RedisError>
    ) -> [String] {
        guard let place = self.out.firstIndex(where: { $0.words.hasPrefix(words) && $0.instance == index }) else {
            Issue.record("\(words) is not out at \(index): \(self.isOut)")
            return []
        }
        return self.answer(self.out.remove(at: place).request, index, result)
    }

    /// As the shell does.
    private mutating func answer(
        _ request: Machine.Request, _ index: Int, _ result: Result<RedisReply, RedisError>
    ) -> [String] {
        self.tell { machine, now in
            machine.answered(request, by: index, result, now: now)
        }
    }

    /// What has been asked and not answered.
    var isOut: [String] { self.out.map { "\($0.instance): \($0.words)" } }

    /// Whether an instance may be asked again, as it did not know the script.
    func wants(_ words: String, _ index: Int) -> Bool {
        self.out.first { $0.words.hasPrefix(words) && $0.instance == index }
            .map { self.machine.wants($0.request, from: index) } ?? false
    }

    var claimCount: Int { self.machine.count }

    var trouble: Machine.Failure? { self.machine.trouble(now: self.now) }

    // MARK: What instances say

    /// It is connected, says who it is, and is open.
    mutating func opens(_ index: Int) {
        _ = self.connected(index)
        _ = self.answer("nothing", index, .integer(0))
        #expect(self.introduces(index) == ["ask \(index): check its node"])
        _ = self.answer("check its node", index, self.node(index))
    }

    mutating func introduces(_ index: Int, runID: String? = nil, role: String = "master") -> [String] {
        self.answer(
            "who are you", index,
            .bulkString(
                ByteBuffer(string: "run_id:\(runID ?? "a\(index)")\r\nrole:\(role)\r\nmaxmemory_policy:noeviction")))
    }

    /// What its node says.
    func node(
        _ index: Int, policy: RedlockPolicy? = nil, floor: Int64 = 0, opensIn: Duration = .zero
    ) -> RESPValue {
        let policy = (policy ?? self.configuration.policy).text
        let time = Self.time + self.start.duration(to: self.now).ticks
        return .array([
            self.text(policy), self.text("a\(index) \(policy) \(floor) open"), .integer(time),
            .integer(opensIn.wholeMilliseconds),
        ])
    }

    /// It has no policy.
    var newNode: RESPValue { .array([self.text(""), self.text(""), .integer(Self.time), .integer(0)]) }

    static let granted = RESPValue.integer(1)

    /// Somebody else holds the lock.
    ///
    /// - Parameter left: for so many milliseconds, told to who has the turn.
    func busy(_ holder: String = RedlockTalk.holder, fence: Int64 = 9_000_000, left: Int64? = nil) -> RESPValue {
        .array(
            [.integer(0), .integer(fence), .integer(Self.time), self.text(holder)]
                + (left.map { [.integer($0)] } ?? []))
    }

    /// The token is not above its fence.
    func behind(fence: Int64) -> RESPValue {
        .array([.integer(-1), .integer(fence), .integer(Self.time), self.text("")])
    }

    static let anotherNode = RESPValue.array([.integer(-9)])

    /// There is no turn to be had now.
    func queued(place: Int64 = 0, left: Int64 = 900) -> RESPValue {
        .array([.integer(place), .integer(left), self.text(Self.holder)])
    }

    /// Another client's claim, on the host `there`.
    static let holder = String(repeating: "h", count: 27) + ":" + String(repeating: "c", count: 16) + ":7:there:"

    private func text(_ text: String) -> RESPValue { .bulkString(ByteBuffer(string: text)) }

    /// The server answers, and refuses.
    static func refusal(_ code: String) -> RedisError {
        RedisError(.refused, serverCode: code, connection: RedisConnectionID(rawValue: 9), "\(code) it does not")
    }

    /// The instances in the order in which a lock looks for a gate.
    func order(_ lock: String = "a") -> [Int] {
        let count = self.configuration.servers.count
        let home = Int(StableHash.fnv1a("dlock:\(lock)".utf8) % UInt64(count))
        return (0..<count).map { (home + $0) % count }
    }

    // MARK: Words

    private func words(_ request: Machine.Request) -> String {
        switch request {
        case .lock(let proposal):
            "lock \(self.short(proposal.key))" + (proposal.told == nil ? "" : ", to be told")
        case .release(let release):
            release.what == .turn
                ? "leave the turn of \(self.short(release.key))" : "release \(self.short(release.key))"
        case .renew(let renewal): "renew \(self.short(renewal.key))"
        case .turn(let turn):
            turn.what == .keep ? "keep the turn of \(self.short(turn.key))" : "the turn of \(self.short(turn.key))"
        case .introduction: "who are you"
        case .node(let node):
            node.change == nil ? "\(node.mode) its node" : "\(node.mode) its node from \(node.change?.expected ?? "")"
        case .nothing: "nothing"
        }
    }

    private func short(_ key: String) -> String {
        key.replacing("dlock:", with: "").replacing("\tturn", with: "")
    }

    private func words(_ effect: Machine.Effect) -> String {
        switch effect {
        case .ask, .wake: ""
        case .holdRequests: "hold requests"
        case .letRequestsGo: "let requests go"
        case .setNode(let index, _): "set the node of \(index)"
        case .answer(let call, let answer): "answer \(call.rawValue): \(self.words(answer))"
        case .tell(let news): self.words(news)
        case .begin(let call): "begin \(call.rawValue)"
        case .start(let timer, let duration): "start \(timer) \(duration)"
        case .cancel(let timer): "cancel \(timer)"
        case .awaitEndOfTurn(let index): "await the turn's end for \(index)"
        case .leaveIfSilent(let index, let duration): "leave \(index) if it is silent for \(duration)"
        case .leave(let index, _, _): "leave \(index)"
        case .hurry(let index): "hurry \(index)"
        case .note(let note): self.words(note)
        case .disconnect: "disconnect"
        case .finish: "finish"
        }
    }

    private func words(_ answer: Machine.Answer) -> String {
        switch answer {
        case .granted(let grant): self.words(grant)
        case .queued(let ahead, let holder):
            "queued" + (ahead.map { " behind \($0)" } ?? "") + self.holder(holder)
        case .busy(let holder): "busy" + self.holder(holder)
        case .left(let wasHeld): wasHeld ? "left, was held" : "left, was not held"
        case .renewed(let answers): "renewals " + answers.map { self.words($0) }.joined(separator: ", ")
        case .failed(let failure): "\(failure.code): \(failure.message)"
        }
    }

    /// Of the last round, unless another token is told.
    private func words(_ grant: Machine.Grant) -> String {
        grant.token.rawValue == self.proposal?.token ? "granted" : "granted with \(grant.token)"
    }

    private func words(_ answer: Machine.RenewalAnswer) -> String {
        switch answer {
        case .extended(let until): "extended by \(self.now.duration(to: until).components.seconds) s"
        case .lost(let reason): "lost, \(reason.rawValue)"
        case .failed(let failure): "\(failure.code)"
        }
    }

    private func words(_ news: Machine.News) -> String {
        switch news {
        case .granted(let attempt, let grant): "tell \(attempt) is \(self.words(grant))"
        case .held(let attempt, let holder): "tell \(attempt) waits" + self.holder(holder)
        case .failed(let attempt, let failure): "tell \(attempt) has failed: \(failure.code)"
        case .lost(let attempt, let reason): "tell \(attempt) is lost, \(reason.rawValue)"
        }
    }

    private func holder(_ text: String) -> String {
        OwnerText.holders(in: text).first.map { ", held by \($0.host)" } ?? ""
    }

    private func words(_ note: Machine.Note) -> String {
        switch note {
        case .policyChanged(let generation, _, let quorum): "note generation \(generation), quorum \(quorum)"
        case .unusable(let instance, let reason): "note \(instance) is unusable: \(reason)"
        case .refuses(let instance, _): "note \(instance) refuses"
        case .leftovers(let instance, let count, _): "note \(count) left on \(instance)"
        case .unanswered(let releases): "note \(releases) unanswered"
        }
    }
}
