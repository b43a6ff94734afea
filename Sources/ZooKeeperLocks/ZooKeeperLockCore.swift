import DistributedLocks
import LockKernel
import LockTransport
import Logging
import NIOCore
import Synchronization

/// All that a backend knows, and its session. Lives on the event loop: nothing here is locked.
///
/// What is decided is decided by ``ContenderStateMachine`` and ``ValidityChainStateMachine``; here their actions are carried
/// out, and the answers are fed in.
final class ZooKeeperLockCore {
    typealias Instant = BootInstant
    typealias RequestContinuation = WaitContinuation<Result<AcquireReply, LockError>>
    typealias LeaveContinuation = WaitContinuation<Result<Bool, LockError>>

    /// How long a lock is held before its own node is watched: most are given back sooner, and cost a request less.
    static let ownWatchDelay = TimeAmount.milliseconds(20)
    /// How often a waiter looks whether its predecessor is still there.
    static let backstop = TimeAmount.seconds(60)

    let configuration: ZooKeeperLockConfiguration
    let paths: NodePaths
    let eventLoop: any EventLoop
    let environment: Environment
    let client: ZooKeeperClient
    let logger: Logger
    let facts: SessionFacts
    var sink: (any LockEventSink)?
    var generator: EntropyGenerator
    /// What the nodes of this client have in common.
    let maker: ContenderNode.Maker
    var createCount: UInt16 = 0

    var contenders: [AttemptID: Contender] = [:]
    var watches = WatchTable()

    /// Who wants to see the contenders of a lock, in this turn of the event loop.
    var listing: [String: [Contender]] = [:]

    var writes = WriteBatch<Write>()
    var writeTimer: Scheduled<Void>?
    var folders = FoldersStateMachine()
    let sweepTimer: EventLoopTimer
    var isEnding = false
    var isStopped = false
    /// Locks whose counter was found used up: newcomers look before they make a node.
    var usedUpLocks: Set<String> = []

    /// Of the contender that was made last.
    var ownerData = EncodedMetadata { ContenderData(metadata: $0).bytes }

    /// Nodes that were not found and may still come to be.
    var ghosts = GhostsStateMachine()
    let ghostTimer: EventLoopTimer

    var chain: ValidityChainStateMachine?
    var session: ZooKeeperSession?
    var setUp = SessionSetUpMachine()
    var domain: TokenDomain?
    let beatTimer: EventLoopTimer
    /// Why the ensemble cannot be used; while that is so, nobody waits for it.
    var refusal: ZooKeeperError?
    let openWaiters: OpenWaiters

    /// One claim.
    final class Contender {
        let claim: LockClaim
        let lock: String
        var machine: ContenderStateMachine
        /// It was given back by a call that does not wait for the answer.
        var leavesInOrder = false
        var uuid = ""
        /// The folder was not there when it was looked for.
        var isFolderMissing = false
        var request: RequestContinuation?
        var requestTimer: Scheduled<Void>?
        var timer: Scheduled<Void>?
        var resumption = ResumptionStateMachine()
        /// When it asks again what it should have asked when the session was attached.
        var postponed: Scheduled<Void>?
        var leaving: [(continuation: LeaveContinuation, timer: Scheduled<Void>)] = []

        init(claim: LockClaim, lock: String, joinsQueue: Bool, looksFirst: Bool) {
            self.claim = claim
            self.lock = lock
            self.machine = ContenderStateMachine(joinsQueue: joinsQueue, looksFirst: looksFirst)
        }

        func path(_ node: ContenderNode) -> String { self.lock + "/" + node.name }
    }

    init(
        configuration: ZooKeeperLockConfiguration,
        eventLoop: any EventLoop,
        environment: NetworkEnvironment,
        facts: SessionFacts,
        logger: Logger
    ) {
        self.configuration = configuration
        self.paths = NodePaths(chroot: configuration.chroot)
        self.eventLoop = eventLoop
        self.environment = environment.machine
        self.generator = environment.machine.generator
        self.facts = facts
        self.maker = ContenderNode.Maker(using: &self.generator)
        self.logger = logger
        self.openWaiters = OpenWaiters(eventLoop: eventLoop)
        self.beatTimer = EventLoopTimer(eventLoop: eventLoop, environment: environment.machine)
        self.ghostTimer = EventLoopTimer(eventLoop: eventLoop, environment: environment.machine)
        self.sweepTimer = EventLoopTimer(eventLoop: eventLoop, environment: environment.machine)
        self.client = ZooKeeperClient(
            configuration: configuration.client, eventLoop: eventLoop, logger: logger, environment: environment)
        self.client.delegate = self
    }

    var now: Instant { self.environment.now }

    var access: NodeAccess { self.configuration.username == nil ? .open : .creator }

    /// Until when a grant may be relied on; `nil` if not even now.
    func validity() -> Instant? {
        guard let deadline = self.chain?.deadline, deadline > self.now, self.domain != nil else { return nil }
        return deadline
    }

    /// Whether what is granted now may be relied on for a while.
    var mayGrant: Bool { self.validity() != nil && self.chain?.isWorthGranting(now: self.now) == true }

    // MARK: Claims

    func request(_ request: AcquireRequest, _ continuation: RequestContinuation) {
        let claim = request.claim
        if let session, let error = Self.objection(to: claim, session) {
            continuation.resume(returning: .failure(error))
            return
        }
        if let refusal, !self.client.isOpen {
            continuation.resume(returning: .failure(LockError(refusal)))
            return
        }
        let contender: Contender
        if let known = self.contenders[claim.attempt], !known.machine.isOver {
            contender = known
        } else {
            contender = self.makeContender(claim, lock: self.paths.lock(claim.name), joinsQueue: request.joinsQueue)
        }
        // A caller asks again only when it has given its first question up.
        self.answer(contender, .failure(LockError(.outcomeUnknown, "asked again")))
        contender.request = continuation
        if self.answerAgain(contender) { return }
        let patience = self.configuration.requestTimeout
        // A little before the caller's own deadline, so that it hears why. Where nothing is connected the rest of the time is worth
        // less than the reason.
        let margin = self.client.isOpen ? Duration.milliseconds(100) : .milliseconds(250)
        let wait =
            request.latest.map { deadline in
                let left = self.now.duration(to: deadline)
                return min(patience, left - min(left / 4, margin))
            } ?? patience
        let attempt = claim.attempt
        let core = NIOLoopBound(self, eventLoop: self.eventLoop)
        contender.requestTimer = self.eventLoop.scheduleTask(in: TimeAmount(max(wait, .zero))) {
            core.value.requestTimedOut(attempt)
        }
        if case .idle = contender.machine.state, self.client.isOpen {
            self.perform(contender.machine.attached(), for: contender)
        }
    }

    /// A lease belongs to the session. Which one it is is settled when it is made, and may come after the claim.
    static func objection(to claim: LockClaim, _ session: ZooKeeperSession) -> LockError? {
        guard claim.lease < session.timeout else { return nil }
        return LockError(
            .invalidConfiguration,
            "a lease here is the session's timeout, \(session.timeout.brief), and \(claim.lease.brief) is less: ask for a longer lease, or for "
                + "a shorter session-timeout"
        )
    }

    /// Why something that was asked has had no answer in time.
    private var reasonOfSilence: String {
        self.client.isOpen
            ? self.client.lastError?.message ?? "the ensemble did not answer" : self.client.notConnected.message
    }

    func makeContender(_ claim: LockClaim, lock: String, joinsQueue: Bool) -> Contender {
        // To look is a read; a node that is of no use would be two transactions.
        let looksFirst = self.usedUpLocks.contains(lock) || (!joinsQueue && !self.folders.isOwn(lock))
        let contender = Contender(claim: claim, lock: lock, joinsQueue: joinsQueue, looksFirst: looksFirst)
        self.contenders[claim.attempt] = contender
        return contender
    }

    /// What is known already is told at once.
    private func answerAgain(_ contender: Contender) -> Bool {
        switch contender.machine.state {
        case .holding(_, let czxid):
            guard let grant = self.grant(token: czxid) else { return false }
            self.answer(contender, .success(.granted(grant)))
            return true
        case .placed where contender.machine.isQueued, .aside where contender.machine.isQueued:
            self.answer(contender, .success(.queued(QueuePlace(waitersAhead: nil, holders: []))))
            return true
        case .idle, .creating, .unsure, .placed, .first, .steppingAside, .aside, .leaving, .over:
            return false
        }
    }

    private func requestTimedOut(_ attempt: AttemptID) {
        guard let contender = self.contenders[attempt], contender.request != nil else { return }
        self.giveUp(contender, cancelled: false)
    }

    func requestCancelled(_ attempt: AttemptID) {
        guard let contender = self.contenders[attempt], contender.request != nil else { return }
        self.giveUp(contender, cancelled: true)
    }

    private func giveUp(_ contender: Contender, cancelled: Bool) {
        let reason = self.reasonOfSilence
        // Who has no node has only looked. What is answered to that comes too late.
        if case .aside = contender.machine.state { _ = contender.machine.withdrawn() }
        if contender.machine.isUnknown {
            contender.timer?.cancel()
            self.stopWatching(contender)
            self.contenders[contender.claim.attempt] = nil
            self.answer(
                contender,
                .failure(
                    cancelled ? LockError(.cancelled, "cancelled before it was sent") : LockError(.unreachable, reason))
            )
        } else {
            self.answer(contender, .failure(LockError(.outcomeUnknown, reason)))
        }
    }

    func answer(_ contender: Contender, _ reply: Result<AcquireReply, LockError>) {
        contender.requestTimer?.cancel()
        contender.requestTimer = nil
        let request = contender.request
        contender.request = nil
        request?.resume(returning: reply)
    }

    /// Takes a claim back. The node stays on the list of those that are to be deleted until it is gone.
    func withdraw(_ claim: LockClaim) {
        guard let contender = self.contenders[claim.attempt] else { return }
        contender.leavesInOrder = true
        self.leave(contender)
    }

    /// Sends a request. Never past writes that were asked for before.
    func submit(_ request: ZooKeeperRequest, completion: @escaping ZooKeeperClient.Completion) {
        self.flushWrites()
        self.client.submit(request, completion: completion)
    }

    /// Takes a claim back; answers whether it held the lock until now.
    func withdraw(_ claim: LockClaim, _ continuation: LeaveContinuation) {
        guard let contender = self.contenders[claim.attempt] else {
            continuation.resume(returning: .success(false))
            return
        }
        self.answer(contender, .failure(LockError(.outcomeUnknown, "taken back")))
        let attempt = claim.attempt
        let core = NIOLoopBound(self, eventLoop: self.eventLoop)
        let timer = self.eventLoop.scheduleTask(in: TimeAmount(self.configuration.requestTimeout)) {
            core.value.leaveTimedOut(attempt)
        }
        contender.leaving.append((continuation, timer))
        self.leave(contender)
    }

    /// The node stays on the list of those that are to be deleted.
    private func leaveTimedOut(_ attempt: AttemptID) {
        guard let contender = self.contenders[attempt] else { return }
        let reason = self.reasonOfSilence
        self.left(contender, .failure(LockError(.outcomeUnknown, reason)))
    }

    func left(_ contender: Contender, _ result: Result<Bool, LockError>) {
        let waiting = contender.leaving
        contender.leaving = []
        for entry in waiting {
            entry.timer.cancel()
            entry.continuation.resume(returning: result)
        }
    }

    func forget(_ contender: Contender) {
        // Nobody must wait for what is over.
        self.answer(contender, .failure(LockError(.outcomeUnknown, "the claim is over")))
        self.stopWatching(contender)
        contender.timer?.cancel()
        contender.timer = nil
        contender.postponed?.cancel()
        contender.postponed = nil
        if self.contenders[contender.claim.attempt] === contender {
            self.contenders[contender.claim.attempt] = nil
        }
    }

    func grant(token: Int64) -> LockGrant? {
        guard let validUntil = self.validity(), let token = FencingToken(rawValue: token), let domain = self.domain
        else { return nil }
        return LockGrant(token: token, tokenDomain: domain, validity: validUntil)
    }
}

/// What other threads see of the session.
final class SessionFacts: Sendable {
    private let values = Mutex<Duration?>(nil)

    /// The timeout that was negotiated last.
    var timeout: Duration? {
        get { self.values.withLock { $0 } }
        set { self.values.withLock { $0 = newValue } }
    }
}

/// Where things stand.
struct NodePaths: Sendable {
    let chroot: String

    /// All locks.
    var root: String { self.chroot + "/dlock" }
    /// Nodes by whose writes sessions prove that they live.
    var sessions: String { self.chroot + "/dlock.sessions" }
    /// Names the ensemble's history.
    var ensemble: String { self.chroot + "/dlock.ensemble" }

    func lock(_ name: LockName) -> String { self.root + "/" + NodeName.escaped(name) }
    func session(_ session: ZooKeeperSession) -> String { self.sessions + "/" + session.description }

    /// The nodes of the chroot, the outermost first.
    var chrootNodes: [String] {
        self.chroot.split(separator: "/").reduce(into: []) { paths, part in
            paths.append((paths.last ?? "") + "/" + part)
        }
    }
}

extension ZooKeeperLockConfiguration {
    var clientTLS: TLSOptions? {
        self.tls.map {
            TLSOptions(
                serverName: $0.serverName,
                certificateAuthorityFile: $0.certificateAuthorityFile,
                certificateChainFile: $0.certificateChainFile,
                privateKeyFile: $0.privateKeyFile
            )
        }
    }

    var client: ZooKeeperClientConfiguration {
        ZooKeeperClientConfiguration(
            endpoints: self.servers.map { .tcp(host: $0.host, port: $0.port) },
            tls: self.clientTLS,
            sessionTimeout: self.sessionTimeout,
            digest: self.username.flatMap { user in self.password.map { "\(user):\($0)" } }
        )
    }
}
