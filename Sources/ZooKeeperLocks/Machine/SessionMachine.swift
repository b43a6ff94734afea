import DistributedLocks
import LockKernel

/// The session, as far as locks rest on it: what must come first in it, the writes that prove that it lives, and until when
/// grants may be relied on.
///
/// States: *detached* (there is no connection, or it is being ended), *setting up* (``SessionSetUpMachine`` says what comes
/// first), *open*. While it is open a write of the chain is *out*, or the next one is *due* later; a server that leaves one
/// unanswered is left. The answer to what was out when a connection ended never comes as an answer of the server, so nothing of
/// one connection is taken for another one's. Pure.
struct SessionMachine {
    typealias Instant = BootInstant

    private enum Link {
        case detached
        case settingUp
        case open
    }

    private enum Beat {
        case none
        case out(patience: Duration)
        case due
    }

    /// What came of an event, for those who wait for the session.
    enum Progress: Equatable {
        case none
        /// The session can be used.
        case opened
        /// What is granted may be relied on for longer.
        case extended
    }

    /// What must come first.
    enum Step: Equatable {
        case readEnsemble
        case makeEnsemble
        case makeSessionNode
    }

    private let paths: NodePaths
    private let access: NodeAccess
    private var link = Link.detached
    private var beat = Beat.none
    private var setUp = SessionSetUpMachine()
    private var chain: ValidityChainStateMachine?
    /// What the ensemble's history is called if it has no name yet.
    private var name = ""
    private(set) var session: ZooKeeperSession?
    /// In which tokens can be compared; `nil` until the first session is open.
    private(set) var domain: TokenDomain?
    /// Why the ensemble cannot be used; while that is so, nobody waits for it.
    private(set) var refusal: ZooKeeperError?

    init(paths: NodePaths, access: NodeAccess) {
        self.paths = paths
        self.access = access
    }

    var isOpen: Bool { self.link == .open }

    // MARK: The connection

    mutating func made(_ session: ZooKeeperSession) {
        self.session = session
        self.chain = ValidityChainStateMachine(timeout: session.timeout)
    }

    mutating func attached(
        isNew: Bool, sentAt: Instant, name: String, now: Instant, _ outbox: inout Outbox
    ) -> Progress {
        self.link = .settingUp
        self.name = name
        self.chain?.attached(sentAt: sentAt, isNew: isNew)
        return self.perform(self.setUp.attached(isNew: isNew), now: now, &outbox)
    }

    /// The connection has ended. True: the ensemble refuses to be used.
    mutating func suspended(_ error: ZooKeeperError, _ outbox: inout Outbox) -> Bool {
        self.link = .detached
        self.beat = .none
        outbox.add(.silence(.beat))
        self.chain?.broken()
        guard error.code == .unusableServer else { return false }
        self.refusal = error
        return true
    }

    mutating func expired() {
        self.session = nil
        self.chain = nil
    }

    /// It is about to be closed: nothing is sent any more. A server that does not answer is left still, for one that closes it.
    mutating func ended() { self.link = .detached }

    /// Nothing is connected any more.
    mutating func stopped(_ outbox: inout Outbox) {
        self.link = .detached
        self.beat = .none
        outbox.add(.silence(.beat))
    }

    // MARK: What comes first

    /// Tokens can be compared within one history of the ensemble, which a node names: it is gone when the history is.
    private mutating func perform(
        _ action: SessionSetUpMachine.Action, now: Instant, _ outbox: inout Outbox
    ) -> Progress {
        switch action {
        case .none:
            break
        case .readEnsemble:
            outbox.ask(.getData(path: self.paths.ensemble), .setUp(.readEnsemble))
        case .makeChroot:
            let parents = ParentsMachine(chroot: self.paths.chrootNodes)
            if !outbox.make(parents, access: self.access, for: .setUp) {
                return self.perform(self.setUp.parentsMade(refusal: nil), now: now, &outbox)
            }
        case .makeEnsemble:
            let data = Array(self.name.utf8)
            outbox.ask(
                .create(path: self.paths.ensemble, data: data, access: self.access, mode: .persistent),
                .setUp(.makeEnsemble))
        case .makeSessionNode:
            guard let session else { break }
            outbox.ask(self.creation(ofNodeOf: session), .setUp(.makeSessionNode))
        case .makeSessionParents:
            _ = outbox.make(self.sessionParents, access: self.access, for: .setUp)
        case .open:
            self.domain = self.setUp.ensemble.map { TokenDomain(rawValue: "zxid:" + $0) }
            return self.opened(now: now, &outbox)
        case .refuse(let refusal):
            outbox.add(.leaveServer(self.reason(refusal), isRefusal: true))
        }
        return .none
    }

    private func creation(ofNodeOf session: ZooKeeperSession) -> ZooKeeperRequest {
        .create(path: self.paths.session(session), data: [], access: self.access, mode: .ephemeral)
    }

    private var sessionParents: ParentsMachine { ParentsMachine([self.paths.sessions], chroot: self.paths.chrootNodes) }

    private mutating func opened(now: Instant, _ outbox: inout Outbox) -> Progress {
        guard self.link == .settingUp else { return .none }
        self.refusal = nil
        self.link = .open
        outbox.add(.finishSetUp)
        self.startBeat(now: now, &outbox)
        return .opened
    }

    /// A step of what comes first is answered. What has no answer is asked again when the session is attached the next time.
    mutating func answered(
        _ step: Step, _ result: Result<ZooKeeperReply, ZooKeeperError>, now: Instant, _ outbox: inout Outbox
    ) -> Progress {
        var bytes: [UInt8] = []
        var refusal: SessionSetUpMachine.ServerRefusal?
        switch result {
        case .success(let reply):
            if case .data(let data, _) = reply.answer { bytes = data } else if step == .readEnsemble { return .none }
        case .failure(let error):
            guard let code = error.serverCode else { return .none }
            refusal = SessionSetUpMachine.ServerRefusal(code: code, reason: error.reason)
        }
        let action =
            switch step {
            case .readEnsemble: self.setUp.ensembleRead(bytes, refusal: refusal)
            case .makeEnsemble: self.setUp.ensembleMade(refusal: refusal)
            case .makeSessionNode: self.setUp.sessionNodeMade(refusal: refusal)
            }
        return self.perform(action, now: now, &outbox)
    }

    /// The parents of a step were made, or not.
    mutating func parentsMade(_ error: ZooKeeperError?, now: Instant, _ outbox: inout Outbox) -> Progress {
        guard let error else { return self.perform(self.setUp.parentsMade(refusal: nil), now: now, &outbox) }
        guard let code = error.serverCode else { return .none }
        let refusal = SessionSetUpMachine.ServerRefusal(code: code, reason: error.reason)
        return self.perform(self.setUp.parentsMade(refusal: refusal), now: now, &outbox)
    }

    private func reason(_ refusal: SessionSetUpMachine.Refusal) -> String {
        guard case .server(let refusal) = refusal else {
            return "\(self.paths.ensemble) is not what this package put there"
        }
        let place = self.paths.chroot.isEmpty ? "/" : self.paths.chroot
        return switch refusal.code {
        case .noAuth:
            self.access == .open
                ? "no permission on \(place) without a user: give user and password in the URL, or the password by "
                    + "password-file or password-env"
                : "no permission on \(place): its nodes belong to another user, or the password is wrong"
        case .invalidACL:
            "the server does not accept this user for nodes of its own"
        case .sessionClosedRequireAuth:
            "the ensemble asks for another authentication than by user and password (digest)"
        default:
            refusal.reason
        }
    }

    // MARK: The chain

    private mutating func startBeat(now: Instant, _ outbox: inout Outbox) {
        guard let session, let interval = self.chain?.interval, let patience = self.chain?.patience else { return }
        guard self.chain?.writeStarted() == true else { return }
        // A server that is cut off from the quorum would keep us until the session is gone.
        self.beat = .out(patience: patience)
        outbox.add(.wake(.beat, at: now + patience))
        outbox.ask(.setData(path: self.paths.session(session), data: []), .beat(next: now + interval))
    }

    private mutating func armBeat(at next: Instant, _ outbox: inout Outbox) {
        self.beat = .due
        outbox.add(.wake(.beat, at: next))
    }

    mutating func beatAlarmFired(now: Instant, _ outbox: inout Outbox) {
        switch self.beat {
        case .none: break
        case .due: self.startBeat(now: now, &outbox)
        case .out(let patience):
            outbox.add(.leaveServer("a write has had no answer for \(patience.brief)", isRefusal: false))
        }
    }

    /// A write of the chain is answered.
    mutating func beatAnswered(
        next: Instant, _ result: Result<ZooKeeperReply, ZooKeeperError>, now: Instant, _ outbox: inout Outbox
    ) -> Progress {
        switch result {
        case .success(let reply):
            self.chain?.answered(sentAt: reply.sentAt)
            let progress = self.tell(now: now, &outbox)
            self.armBeat(at: next, &outbox)
            return progress
        case .failure(let error):
            guard let code = error.serverCode else { return .none }
            self.chain?.refused()
            if code == .noNode, let session {
                // An operator has deleted it. The alarm that is set leaves the server if this has no answer.
                outbox.ask(self.creation(ofNodeOf: session), .sessionNode(next: next))
            } else {
                outbox.add(.note(.unproven(code)))
                self.armBeat(at: next, &outbox)
            }
            return .none
        }
    }

    /// The session's node was made again, or not.
    mutating func sessionNodeMade(
        next: Instant, _ result: Result<ZooKeeperReply, ZooKeeperError>, _ outbox: inout Outbox
    ) {
        guard case .failure(let error) = result else { return self.armBeat(at: next, &outbox) }
        switch error.serverCode {
        case nil: break
        case .noNode?: _ = outbox.make(self.sessionParents, access: self.access, for: .beat(next: next))
        case .some: self.armBeat(at: next, &outbox)
        }
    }

    /// What the session's node stands under was made again, or not.
    mutating func beatParentsMade(next: Instant, _ error: ZooKeeperError?, _ outbox: inout Outbox) {
        if error == nil || error?.serverCode != nil { self.armBeat(at: next, &outbox) }
    }

    /// The validity may have grown.
    private func tell(now: Instant, _ outbox: inout Outbox) -> Progress {
        guard let deadline = self.validity(now: now) else { return .none }
        outbox.add(.tell(.sessionExtended(until: deadline)))
        return self.mayGrant(now: now) ? .extended : .none
    }

    // MARK: Grants

    /// Until when a grant may be relied on; `nil` if not even now.
    private func validity(now: Instant) -> Instant? {
        guard let deadline = self.chain?.deadline, deadline > now, self.domain != nil else { return nil }
        return deadline
    }

    /// Whether what is granted now may be relied on for a while.
    func mayGrant(now: Instant) -> Bool {
        self.validity(now: now) != nil && self.chain?.isWorthGranting(now: now) == true
    }

    func grant(token: Int64, now: Instant) -> ZooKeeperMachine.Grant? {
        guard let deadline = self.validity(now: now), let token = FencingToken(rawValue: token), let domain else {
            return nil
        }
        return ZooKeeperMachine.Grant(token: token, domain: domain, validUntil: deadline)
    }

    /// A lease belongs to the session. Which one it is is settled when it is made, and may come after the claim.
    func objection(toLease lease: Duration) -> ZooKeeperMachine.Failure? {
        guard let session, lease < session.timeout else { return nil }
        return ZooKeeperMachine.Failure(
            .invalidConfiguration,
            "a lease here is the session's timeout, \(session.timeout.brief), and \(lease.brief) is less: ask for a "
                + "longer lease, or for a shorter session-timeout"
        )
    }
}
