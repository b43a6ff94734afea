import DistributedLocks
import Jute
import LockKernel
import Logging
import NIOCore
import Transport
import ZooKeeperClient

/// The session: what must come first, the writes that prove that it lives, and its end.
extension ZooKeeperLockCore: ZooKeeperClientDelegate {
    func attached(_ session: ZooKeeperSession, isNew: Bool, sentAt: Instant) {
        if isNew {
            self.isSetUp = false
            self.session = session
            self.chain = ValidityChainStateMachine(timeout: session.timeout)
            self.facts.timeout = session.timeout
            self.refuseShortLeases(session)
        }
        self.chain?.attached(sentAt: sentAt, isNew: isNew)
        if self.isSetUp {
            self.opened()
        } else {
            self.readEnsemble(mayMake: true)
        }
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
        for id in Array(self.openWaiters.keys) { self.resumeOpenWaiter(id, LockError(error)) }
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

    /// Tokens can be compared within one history of the ensemble, which this node names: it is gone when the history is.
    private func readEnsemble(mayMake: Bool) {
        self.submit(.getData(path: self.paths.ensemble)) { result in
            switch result {
            case .success(let reply):
                guard case .data(let bytes, _) = reply.answer, Self.isEnsembleName(bytes) else {
                    self.refuse("\(self.paths.ensemble) is not what this package put there")
                    return
                }
                self.domain = TokenDomain(rawValue: "zxid:" + String(decoding: bytes, as: UTF8.self))
                self.makeSessionNode()
            case .failure(let error) where error.serverCode == .noNode && mayMake:
                self.makeEnsemble()
            case .failure(let error):
                self.setUpFailed(error)
            }
        }
    }

    private static func isEnsembleName(_ bytes: [UInt8]) -> Bool {
        bytes.count == 32
            && bytes.allSatisfy {
                ($0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9"))
                    || ($0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "f"))
            }
    }

    private func makeEnsemble() {
        self.makeChroot { error in
            if let error { return self.setUpFailed(error) }
            let name = Array(ContenderNode.makeUUID(using: &self.generator).utf8)
            self.submit(
                .create(path: self.paths.ensemble, data: name, access: self.access, mode: .persistent)
            ) { result in
                switch result {
                case .success: self.readEnsemble(mayMake: false)
                case .failure(let error) where error.serverCode == .nodeExists: self.readEnsemble(mayMake: false)
                case .failure(let error): self.setUpFailed(error)
                }
            }
        }
    }

    private func makeSessionNode() {
        guard let session else { return }
        self.submit(
            .create(path: self.paths.session(session), data: [], access: self.access, mode: .ephemeral)
        ) { result in
            switch result {
            case .success:
                self.opened()
            case .failure(let error):
                switch error.serverCode {
                case .nodeExists: self.opened()
                case .noNode:
                    self.makeContainers([self.paths.sessions]) { error in
                        if let error { self.setUpFailed(error) } else { self.makeSessionNode() }
                    }
                default: self.setUpFailed(error)
                }
            }
        }
    }

    private func setUpFailed(_ error: ZooKeeperError) {
        guard let code = error.serverCode else { return }
        switch code {
        case .noAuth:
            let place = self.paths.chroot.isEmpty ? "/" : self.paths.chroot
            self.refuse(
                self.configuration.username == nil
                    ? "no permission on \(place) without a user: give user and password in the URL, or the password by "
                        + "password-file or password-env"
                    : "no permission on \(place): its nodes belong to another user, or the password is wrong"
            )
        case .invalidACL:
            self.refuse("the server does not accept this user for nodes of its own")
        case .sessionClosedRequireAuth:
            self.refuse("the ensemble asks for another authentication than by user and password (digest)")
        default:
            self.refuse(error.reason)
        }
    }

    private func refuse(_ reason: String) {
        self.client.leaveServer(reason, isRefusal: true)
    }

    private func opened() {
        guard self.client.isSettingUp else { return }
        self.isSetUp = true
        self.refusal = nil
        self.client.setUpFinished()
        self.beat()
        self.resumeContenders()
        for id in Array(self.openWaiters.keys) { self.resumeOpenWaiter(id, nil) }
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
        self.sink?.receive(.sessionExtended(until: validUntil))
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
        self.lastWaiter += 1
        let id = self.lastWaiter
        let core = NIOLoopBound(self, eventLoop: self.eventLoop)
        let timer = self.eventLoop.scheduleTask(in: TimeAmount(patience)) {
            core.value.resumeOpenWaiter(id, LockError(.unreachable, core.value.client.notConnected.message))
        }
        self.openWaiters[id] = OpenWaiter(timer: timer, resume: body)
    }

    private func resumeOpenWaiter(_ id: UInt64, _ error: LockError?) {
        guard let waiter = self.openWaiters.removeValue(forKey: id) else { return }
        waiter.timer.cancel()
        waiter.resume(error)
    }

    /// Nobody must wait for ever when the backend ends.
    func stopped() {
        self.beatTimer.cancel()
        self.ghostTimer.cancel()
        let error = LockError(.clientNotRunning, "the backend has ended")
        for contender in Array(self.contenders.values) {
            self.answer(contender, .failure(error))
            self.left(contender, .failure(error))
            self.forget(contender)
        }
        for id in Array(self.openWaiters.keys) { self.resumeOpenWaiter(id, error) }
        self.sweepTimer.cancel()
        // Nobody is told anything any more, and whoever was must not be kept.
        self.sink = nil
    }
}
