import DistributedLocks
import LockKernel
import LockTransport
import Logging
import NIOCore

/// The session: what must come first, the writes that prove that it lives, and its end.
extension ZooKeeperLockCore: ZooKeeperClientDelegate {
    func attached(_ session: ZooKeeperSession, isNew: Bool, sentAt: Instant) {
        if isNew {
            self.session = session
            self.chain = ValidityChainStateMachine(timeout: session.timeout)
            self.facts.timeout = session.timeout
            self.refuseShortLeases(session)
        }
        self.chain?.attached(sentAt: sentAt, isNew: isNew)
        self.perform(self.setUp.attached(isNew: isNew))
    }

    /// Nothing was asked for these yet: they came before it was known what they would get.
    private func refuseShortLeases(_ session: ZooKeeperSession) {
        for contender in Array(self.contenders.values) where contender.machine.isUnknown && contender.request != nil {
            guard let error = Self.objection(to: contender.claim, session) else { continue }
            self.answer(contender, .failure(error))
            self.forget(contender)
        }
    }

    func suspended(_ error: ZooKeeperError) {
        // What has gathered cannot be sent any more: it is told so now, and not on the next connection.
        self.flushWrites()
        self.beatTimer.cancel()
        self.chain?.broken()
        guard error.code == .unusableServer else { return }
        self.refusal = error
        // Such things are put right while clients run, so attempts go on; but nobody waits for that.
        for contender in Array(self.contenders.values) where contender.machine.isUnknown && contender.request != nil {
            self.contenders[contender.claim.attempt] = nil
            self.answer(contender, .failure(LockError(error)))
        }
        self.openWaiters.resumeAll()
    }

    func expired(_ session: ZooKeeperSession) {
        self.logger.warning("the session has expired", metadata: ["zookeeper.session": "\(session)"])
        self.session = nil
        self.chain = nil
        self.ghosts.expired()
        self.sink?.receive(.sessionLost)
        for contender in Array(self.contenders.values) {
            contender.timer?.cancel()
            self.stopWatching(contender)
            self.perform(contender.machine.expired(), for: contender)
            if contender.machine.isOver { self.forget(contender) }
            // Asked again, it is granted by the next session; what was lost with this one is not held against that.
            self.answer(contender, .failure(LockError(.outcomeUnknown, "the session has expired")))
        }
    }

    // MARK: What comes first

    /// Tokens can be compared within one history of the ensemble, which a node names: it is gone when the history is.
    private func perform(_ action: SessionSetUpMachine.Action) {
        switch action {
        case .none:
            break
        case .readEnsemble:
            self.submit(.getData(path: self.paths.ensemble)) { result in
                switch result {
                case .success(let reply):
                    guard case .data(let bytes, _) = reply.answer else { return }
                    self.perform(self.setUp.ensembleRead(bytes, refusal: nil))
                case .failure(let error):
                    self.settled(error) { $0.ensembleRead([], refusal: $1) }
                }
            }
        case .makeChroot:
            self.makeChroot { self.settled($0) { $0.parentsMade(refusal: $1) } }
        case .makeEnsemble:
            let name = Array(ContenderNode.makeUUID(using: &self.generator).utf8)
            self.makeForSetUp(
                .create(path: self.paths.ensemble, data: name, access: self.access, mode: .persistent)
            ) { $0.ensembleMade(refusal: $1) }
        case .makeSessionNode:
            guard let session else { return }
            self.makeForSetUp(
                .create(path: self.paths.session(session), data: [], access: self.access, mode: .ephemeral)
            ) { $0.sessionNodeMade(refusal: $1) }
        case .makeSessionParents:
            self.makeContainers([self.paths.sessions]) { self.settled($0) { $0.parentsMade(refusal: $1) } }
        case .open:
            self.domain = self.setUp.ensemble.map { TokenDomain(rawValue: "zxid:" + $0) }
            self.opened()
        case .refuse(let refusal):
            self.client.leaveServer(self.reason(refusal), isRefusal: true)
        }
    }

    private typealias SetUpEvent = (inout SessionSetUpMachine, SessionSetUpMachine.ServerRefusal?) ->
        SessionSetUpMachine.Action

    private func makeForSetUp(_ request: ZooKeeperRequest, _ event: @escaping SetUpEvent) {
        self.submit(request) { result in
            switch result {
            case .success: self.settled(nil, event)
            case .failure(let error): self.settled(error, event)
            }
        }
    }

    /// What has no answer is asked again when the session is attached the next time.
    private func settled(_ error: ZooKeeperError?, _ event: SetUpEvent) {
        guard let error else { return self.perform(event(&self.setUp, nil)) }
        guard let code = error.serverCode else { return }
        self.perform(event(&self.setUp, SessionSetUpMachine.ServerRefusal(code: code, reason: error.reason)))
    }

    private func reason(_ refusal: SessionSetUpMachine.Refusal) -> String {
        guard case .server(let refusal) = refusal else {
            return "\(self.paths.ensemble) is not what this package put there"
        }
        return switch refusal.code {
        case .noAuth:
            self.configuration.username == nil
                ? "no permission on \(self.place) without a user: give user and password in the URL, or the password by "
                    + "password-file or password-env"
                : "no permission on \(self.place): its nodes belong to another user, or the password is wrong"
        case .invalidACL:
            "the server does not accept this user for nodes of its own"
        case .sessionClosedRequireAuth:
            "the ensemble asks for another authentication than by user and password (digest)"
        default:
            refusal.reason
        }
    }

    private var place: String { self.paths.chroot.isEmpty ? "/" : self.paths.chroot }

    private func opened() {
        guard self.client.isSettingUp else { return }
        self.refusal = nil
        self.client.setUpFinished()
        self.beat()
        self.resumeContenders()
        self.openWaiters.resumeAll()
    }

    // MARK: Validity

    /// One write of the chain.
    private func beat() {
        guard let session, let interval = self.chain?.interval, let patience = self.chain?.patience else { return }
        guard self.chain?.writeStarted() == true else { return }
        let next = self.now + interval
        let path = self.paths.session(session)
        // A server that is cut off from the quorum would keep us until the session is gone.
        self.beatTimer.arm(self.now + patience) {
            self.client.leaveServer("a write has had no answer for \(patience.brief)")
        }
        self.submit(.setData(path: path, data: [])) { result in
            switch result {
            case .success(let reply):
                self.chain?.answered(sentAt: reply.sentAt)
                self.told()
                self.armBeat(at: next)
            case .failure(let error) where error.serverCode == .noNode:
                // An operator has deleted it.
                self.chain?.refused()
                self.remakeSessionNode(path, next: next)
            case .failure(let error):
                guard let code = error.serverCode else { return }
                self.chain?.refused()
                self.logger.warning("the session cannot prove that it lives", metadata: ["zookeeper.code": "\(code)"])
                self.armBeat(at: next)
            }
        }
    }

    private func armBeat(at next: Instant) {
        self.beatTimer.arm(next) { self.beat() }
    }

    private func remakeSessionNode(_ path: String, next: Instant) {
        self.submit(.create(path: path, data: [], access: self.access, mode: .ephemeral)) { result in
            switch result {
            case .failure(let error) where error.serverCode == .noNode:
                self.makeContainers([self.paths.sessions]) { error in
                    if error == nil || error?.serverCode != nil { self.armBeat(at: next) }
                }
            case .failure(let error) where error.serverCode == nil: break
            case .success, .failure: self.armBeat(at: next)
            }
        }
    }

    /// The validity may have grown.
    private func told() {
        guard let validUntil = self.validity() else { return }
        self.sink?.receive(.sessionExtended(until: validUntil.continuous))
        guard self.mayGrant else { return }
        for contender in Array(self.contenders.values) {
            if case .first = contender.machine.state {
                self.perform(contender.machine.validityReturned(), for: contender)
            }
        }
    }

    // MARK: Waiting for the session

    /// Calls back once there is a session to ask with, or when that cannot be in time.
    func whenOpen(within patience: Duration, _ body: @escaping (LockError?) -> Void) {
        if self.client.isOpen { return body(nil) }
        if let refusal { return body(LockError(refusal)) }
        self.openWaiters.add(within: patience) { isInTime in
            if !isInTime { return body(LockError(.unreachable, self.client.notConnected.message)) }
            if self.isStopped { return body(self.stoppedError) }
            body(self.client.isOpen ? nil : self.refusal.map { LockError($0) })
        }
    }

    private var stoppedError: LockError { LockError(.clientNotRunning, "the backend has ended") }

    /// Nobody must wait for ever when the backend ends.
    func stopped() {
        self.beatTimer.cancel()
        self.ghostTimer.cancel()
        self.isStopped = true
        let error = self.stoppedError
        for contender in Array(self.contenders.values) {
            self.answer(contender, .failure(error))
            self.left(contender, .failure(error))
            self.forget(contender)
        }
        self.openWaiters.resumeAll()
        self.sweepTimer.cancel()
        // Nobody is told anything any more, and whoever was must not be kept.
        self.sink = nil
    }
}
