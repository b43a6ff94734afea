import DistributedLocks
import LockKernel

/// All that a backend on a ZooKeeper ensemble decides. Events go in; effects come out, in the order in which they are to be carried
/// out. It reads no clock and draws no number: ``ZooKeeperShell`` passes the time in, and carries the effects out.
///
/// **The session** comes first. It is *detached*, *set up* when it is attached to a server, and then *open*. Set-up reads the name
/// of the ensemble's history, and makes what is missing; if a server refuses, the session is set up on the next one. While it is
/// open, writes prove that it lives (``SessionMachine``, ``ValidityChainStateMachine``). Validity belongs to the session, and so
/// do all grants: a claim that is first is granted only while the session can be relied on, and otherwise as soon as it can again.
///
/// **A claim** is known from the request until its node is gone. Its node is made, with the lock's folder if that is missing; the
/// contenders are listed; it holds, or watches the one before it (``ContenderStateMachine``). What has no answer because the
/// connection ended is asked again when the session is attached, those that leave first, and later and later if it is always the
/// same (``ResumptionStateMachine``). A node that vanishes while its caller waits begins again; when the caller was told that it
/// waits, or holds, the client hears of it. A claim that is given back stays until its node is deleted, or the session is over;
/// an answer that makes a node of such a claim known has it deleted.
///
/// **What leaves** together: creates and deletes of one turn are one transaction (``Outbox``, ``WriteBatch``). Whatever else is asked
/// comes after them.
///
/// **What is left behind** goes: nodes that come too late (``LateNodesMachine``), and folders that nobody uses
/// (``FolderUpkeepMachine``). When the backend *ends*, folders first and then the session; when it has *stopped*, whoever still
/// waits is told so.
struct ZooKeeperMachine {
    private var ensemble: Ensemble
    private var claims: ClaimsMachine
    private var inquiries: InquiriesMachine

    /// - Parameter maker: what the nodes of this client have in common, drawn for it.
    init(_ configuration: ZooKeeperLockConfiguration, maker: ContenderNode.Maker, now: Instant) {
        let paths = NodePaths(chroot: configuration.chroot)
        self.ensemble = Ensemble(
            paths: paths, access: configuration.username == nil ? .open : .creator,
            wantedTimeout: configuration.sessionTimeout, maker: maker, now: now)
        self.claims = ClaimsMachine(requestTimeout: configuration.requestTimeout)
        self.inquiries = InquiriesMachine(paths: paths, patience: configuration.requestTimeout)
    }

    /// What is to be done next; `nil`: nothing, until something happens.
    mutating func next() -> Effect? { self.ensemble.outbox.next() }

    mutating func handle(_ event: consuming Event, now: Instant) {
        self.ensemble.now = now
        switch consume event {
        case .answered(let question, let result):
            self.answered(question, result)
            if self.ensemble.folders.needsRoom {
                self.ensemble.folders.makeRoom(inUse: self.claims.locksInUse, &self.ensemble.outbox)
            }
        case .requested(let request, let call):
            self.claims.requested(request, call, &self.ensemble)
        case .withdrawn(let attempt, let call):
            self.claims.withdrawn(attempt, call, &self.ensemble)
        case .turnEnded(.writes):
            self.ensemble.outbox.flush()
        case .turnEnded(.list(let lock)):
            self.claims.turnEnded(lock, &self.ensemble)
        case .cancelled(let attempt, let silence):
            self.claims.requestGivenUp(
                attempt, isCancelled: true, reason: self.reason(of: silence), &self.ensemble)
        case .inquired(let inquiry, let call, let silence):
            self.inquiries.asked(
                inquiry, call, silence: silence, self.ensemble.session, &self.ensemble.outbox)
        case .timerFired(let timer, let silence):
            self.fired(timer, silence)
        case .alarmFired(let alarm):
            self.fired(alarm)
        case .watchFired(let event):
            self.claims.watchFired(event, &self.ensemble)
        case .attached(let session, let isNew, let sentAt, let name):
            self.attached(session, isNew: isNew, sentAt: sentAt, name: name)
        case .suspended(let error):
            self.suspended(error)
        case .expired(let session):
            self.expired(session)
        case .started:
            self.ensemble.outbox.add(.connect)
        case .ended:
            self.ended()
        case .stopped:
            self.stopped()
        }
    }

    // MARK: Answers

    private mutating func answered(_ question: Question, _ result: Result<ZooKeeperReply, ZooKeeperError>) {
        switch question {
        case .nothing:
            break
        case .claim(let id, let lock, let question):
            self.claims.answered(id, lock, question, result, &self.ensemble)
        case .write(let write):
            self.claims.answered(write, result, &self.ensemble)
        case .writes(let group, let batch):
            self.claims.answered(group, batch, result, &self.ensemble)
        case .list(let lock, let claims):
            self.claims.listed(lock, claims, result, &self.ensemble)
        case .parents(let parents, let purpose):
            self.answered(parents, purpose, result)
        case .setUp(let step):
            let now = self.ensemble.now
            self.follow(self.ensemble.session.answered(step, result, now: now, &self.ensemble.outbox))
        case .beat(let next):
            let now = self.ensemble.now
            self.follow(self.ensemble.session.beatAnswered(next: next, result, now: now, &self.ensemble.outbox))
        case .sessionNode(let next):
            self.ensemble.session.sessionNodeMade(next: next, result, &self.ensemble.outbox)
        case .folders(let locks, let isEnd):
            self.ensemble.folders.answered(locks, isEnd: isEnd, result, &self.ensemble.outbox)
            self.followFolders()
        case .folder(let lock, let isLast, let isEnd):
            self.ensemble.folders.answered(lock, isLast: isLast, isEnd: isEnd, result, &self.ensemble.outbox)
            self.followFolders()
        case .ghost(let uuid, let lock):
            self.ensemble.lateNodes.deleted(uuid, of: lock, result)
        case .ghosts(let lock, let awaited):
            self.looked(for: awaited, of: lock, ContenderList(result))
        case .holder(let call, let lock):
            self.holderRead(call, lock, result)
        case .inquiry(let call, let step):
            self.inquiries.answered(call, step, result, self.ensemble.session, &self.ensemble.outbox)
        }
    }

    private mutating func answered(
        _ parents: ParentsMachine, _ purpose: ParentsPurpose, _ result: Result<ZooKeeperReply, ZooKeeperError>
    ) {
        var parents = parents
        var error: ZooKeeperError?
        if case .failure(let failure) = result { error = failure }
        if error == nil || error?.serverCode != nil, parents.answered(error?.serverCode) {
            if self.ensemble.outbox.make(parents, access: self.ensemble.access, for: purpose) { return }
            error = nil
        }
        switch purpose {
        case .setUp:
            let now = self.ensemble.now
            self.follow(self.ensemble.session.parentsMade(error, now: now, &self.ensemble.outbox))
        case .beat(let next): self.ensemble.session.beatParentsMade(next: next, error, &self.ensemble.outbox)
        case .claim(let id): self.claims.parentsMade(id, error, &self.ensemble)
        }
    }

    private mutating func looked(for awaited: Set<String>, of lock: String, _ list: ContenderList) {
        var nodes: [ContenderNode] = []
        switch list {
        case .contenders(let all, _):
            nodes = all
            _ = self.claims.withoutGhosts(nodes, of: lock, &self.ensemble)
        case .noFolder: break
        case .failed(let error): if error.serverCode == nil { return }
        case .unreadable: return
        }
        self.ensemble.lateNodes.looked(for: awaited, of: lock, at: nodes)
    }

    private mutating func holderRead(
        _ call: CallID?, _ lock: String, _ result: Result<ZooKeeperReply, ZooKeeperError>
    ) {
        var holder: OwnerMetadata?
        if case .success(let reply) = result, case .data(let bytes, let stat) = reply.answer {
            holder = ContenderData(bytes: bytes)?.metadata
            if stat.ephemeralOwner != self.ensemble.session.session?.id { self.ensemble.folders.sawOthers(in: lock) }
        }
        if let call { self.ensemble.outbox.add(.answer(call, .busy(holder: holder))) }
    }

    // MARK: Time

    private mutating func fired(_ timer: Timer, _ silence: ZooKeeperError) {
        switch timer {
        case .writes:
            self.ensemble.outbox.waited()
        case .claim(let id):
            self.claims.timerFired(id, &self.ensemble)
        case .postponed(let id):
            self.claims.pauseEnded(id, &self.ensemble)
        case .request(let attempt):
            self.claims.requestGivenUp(
                attempt, isCancelled: false, reason: self.reason(of: silence), &self.ensemble)
        case .leave(let attempt):
            self.claims.leaveTimedOut(attempt, reason: self.reason(of: silence), &self.ensemble)
        case .inquiry(let call):
            self.inquiries.timedOut(call, silence: silence, &self.ensemble.outbox)
        }
    }

    /// Why something that was asked has had no answer in time.
    private func reason(of silence: ZooKeeperError) -> String {
        self.ensemble.session.isOpen ? "the ensemble did not answer" : silence.message
    }

    private mutating func fired(_ alarm: Alarm) {
        let now = self.ensemble.now
        let isOpen = self.ensemble.session.isOpen
        switch alarm {
        case .beat:
            self.ensemble.session.beatAlarmFired(now: now, &self.ensemble.outbox)
        case .ghosts:
            self.ensemble.lateNodes.alarmFired(isOpen: isOpen, now: now, &self.ensemble.outbox)
        case .sweep:
            self.ensemble.folders.alarmFired(
                isOpen: isOpen, inUse: self.claims.locksInUse, now: now, &self.ensemble.outbox)
            self.followFolders()
        }
    }

    // MARK: The session

    private mutating func attached(_ session: ZooKeeperSession, isNew: Bool, sentAt: Instant, name: String) {
        if isNew {
            self.ensemble.session.made(session)
            self.ensemble.outbox.add(.publish(timeout: session.timeout))
            self.claims.refuseShortLeases(&self.ensemble)
        }
        let now = self.ensemble.now
        self.follow(
            self.ensemble.session.attached(
                isNew: isNew, sentAt: sentAt, name: name, now: now, &self.ensemble.outbox))
    }

    private mutating func follow(_ progress: SessionMachine.Progress) {
        switch progress {
        case .none:
            break
        case .opened:
            self.claims.attached(&self.ensemble)
            self.inquiries.sessionSettled(nil, &self.ensemble.outbox)
        case .extended:
            self.claims.validityReturned(&self.ensemble)
        }
    }

    private mutating func suspended(_ error: ZooKeeperError) {
        let isRefusal = self.ensemble.session.suspended(error, &self.ensemble.outbox)
        // What has gathered cannot be sent any more: it is told so now, and not on the next connection.
        let notSent = ZooKeeperError(.notSent, endpoint: error.endpoint, error.reason)
        for group in self.ensemble.outbox.takeWrites() {
            self.claims.notWritten(group, .failure(notSent), &self.ensemble)
        }
        guard isRefusal else { return }
        self.claims.refused(error, &self.ensemble)
        self.inquiries.sessionSettled(Failure(error), &self.ensemble.outbox)
    }

    private mutating func expired(_ session: ZooKeeperSession) {
        self.ensemble.outbox.add(.note(.expired(session: "\(session)")))
        self.ensemble.session.expired()
        self.ensemble.lateNodes.expired()
        self.ensemble.outbox.add(.tell(.sessionLost))
        self.claims.expired(&self.ensemble)
    }

    // MARK: The end

    private mutating func ended() {
        self.ensemble.outbox.flush()
        let isOpen = self.ensemble.session.isOpen
        let kept = self.claims.locksKept()
        self.ensemble.folders.ended(isOpen: isOpen, inUse: kept, now: self.ensemble.now, &self.ensemble.outbox)
        self.followFolders()
    }

    /// When the folders are done with, the session ends.
    private mutating func followFolders() {
        if self.ensemble.folders.hasEnded { self.ensemble.session.ended() }
    }

    private mutating func stopped() {
        let failure = Failure(.clientNotRunning, "the backend has ended")
        self.ensemble.session.stopped(&self.ensemble.outbox)
        self.ensemble.outbox.add(.silence(.ghosts))
        self.ensemble.outbox.add(.silence(.sweep))
        self.claims.stopped(failure, &self.ensemble)
        self.inquiries.sessionSettled(failure, &self.ensemble.outbox)
        self.ensemble.outbox.add(.finish)
    }
}
