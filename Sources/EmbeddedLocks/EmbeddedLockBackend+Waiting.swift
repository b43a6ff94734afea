#if Embedded
import LockKernel
import DistributedLocks
import Synchronization

/// The shell of ``WaitingStateMachine``: looks at the file, watches other clients, and tells the client what was found.
extension EmbeddedLockBackend: TransactionQueueOwner {
    func openFile(deadline: BootInstant) throws(LockError) -> LockFile {
        let folder = SocketFolder(existing: self.location.socketFolder, on: self.environment)
        let file = try LockFile(
            location: self.location,
            participant: self.participant,
            environment: self.environment,
            deadline: deadline,
            sight: { participant in
                guard let folder else { return .unknown }
                return LivenessTest.sight(participant, in: folder)
            }
        )
        try self.openSockets()
        self.clearAwaySomeDead(file)
        let isAnother = self.state.withLock { state in
            defer { state.hasOpened = true }
            return state.hasOpened
        }
        // The one before was removed, replaced, or is of another boot: what was held in it is held in no other.
        if isAnother { self.tell(.reconnected) }
        return file
    }

    /// Each client that opens the file clears away what a few dead ones have left, so that it stays little.
    private func clearAwaySomeDead(_ file: LockFile) {
        guard let folder = self.state.withLock({ $0.sockets?.folder }) else { return }
        for dead in LivenessTest.someDead(in: folder, atMost: 4, self.environment.machine) {
            guard let notices = file.buryEverywhere(dead) else { return }
            LivenessTest.removeSockets(of: dead, in: folder)
            self.deliver(notices)
        }
    }

    /// Makes the sockets if they are not there, before anything in the file refers to them.
    private func openSockets() throws(LockError) {
        let existing = self.state.withLock { $0.sockets }
        if let existing, existing.liveness.isInPlace, existing.wake.isInPlace { return }
        let folder = try SocketFolder(path: self.location.socketFolder, on: self.environment)
        existing?.wake.shutDown(leavingName: false)
        existing?.liveness.shutDown(leavingName: false)
        let poller: any SocketPoller
        if let existing { poller = existing.poller } else { poller = try self.makePoller() }
        let liveness = try LivenessSocket(
            self.participant, in: folder, poller: poller, timers: self.timersOfSockets)
        let wake: WakeSocket
        do throws(LockError) {
            wake = try WakeSocket(self.participant, in: folder, poller: poller) { [weak self] kind, attempt in
                self?.noticed(kind, attempt)
            }
        } catch {
            liveness.shutDown(leavingName: false)
            throw error
        }
        let isShutDown = self.state.withLock { state in
            if !state.isShutDown {
                state.sockets = Sockets(folder: folder, liveness: liveness, wake: wake, poller: poller)
            }
            return state.isShutDown
        }
        if isShutDown {
            wake.shutDown(leavingName: false)
            liveness.shutDown(leavingName: false)
            throw LockError(.clientNotRunning, "the backend was stopped")
        }
    }

    private func makePoller() throws(LockError) -> any SocketPoller {
        do {
            return try self.environment.sockets.makePoller(self.environment.machine)
        } catch {
            throw LockError(.unreachable, "no pipe can be made (\(error.text))")
        }
    }

    func deliver(_ notices: [Notice]) {
        for notice in notices {
            if notice.address.participant == self.participant {
                self.noticed(notice.kind, notice.address.attempt)
            } else {
                self.send(notice)
            }
        }
    }

    private func send(_ notice: Notice) {
        guard let sockets = self.state.withLock({ $0.sockets }) else { return }
        switch sockets.wake.send(notice) {
        case .sent:
            break
        case .nobody:
            if LivenessTest.isDead(notice.address.participant, in: sockets.folder) {
                self.bury(notice.address.participant, name: notice.name)
            }
        case .full:
            // Most often the receiver is just about to read; its backstop is there for when it does not.
            self.patientQueue.async {
                for pause in [100, 300, 1_000, 3_000, 10_000, 30_000] as [UInt32] {
                    self.environment.machine.threads.pause(microseconds: pause)
                    if sockets.wake.send(notice) != .full { return }
                }
            }
        }
    }

    /// Somebody said that something changed for a claim of this client.
    private func noticed(_ kind: Notice.Kind, _ attempt: AttemptID) {
        switch kind {
        case .look:
            if let look = self.state.withLock({ $0.waiting.noticed(attempt) }) { self.look(look) }
        case .broken:
            self.lookWhetherBroken(attempt)
        }
    }

    /// Whoever may write to the socket may say so. What the file says is believed.
    private func lookWhetherBroken(_ attempt: AttemptID) {
        guard let name = self.state.withLock({ $0.inFile[attempt] }) else { return }
        self.transactions.submit(deadline: self.environment.machine.now + self.options.busyTimeout) { table in
            try table.holds(name, attempt: attempt)
        } completion: { result in
            // If it cannot be looked at now, the next renewal tells.
            if case .success(false) = result { self.tell(.lost(attempt, .broken)) }
        }
    }

    /// Looks at the file for a claim.
    ///
    /// - Parameter isOnQueue: Whether to do so on the queue's thread, even if it could be done on this one.
    func look(_ look: WaitingStateMachine.Look, burying dead: ParticipantID? = nil, isOnQueue: Bool = false) {
        let claim = look.claim
        self.transactions.submit(
            deadline: self.environment.machine.now + self.options.busyTimeout, isOnQueue: isOnQueue
        ) { table in
            if let dead { try table.bury(dead, name: claim.name) }
            return try table.check(claim, place: look.place)
        } completion: { result in
            switch result {
            case .success(.granted(let grant)):
                self.ended(claim.attempt)
                let validUntil = LockValidity.deadline(
                    lease: claim.lease, sentAt: self.environment.instant(of: grant.grantedAt))
                self.tell(
                    .granted(
                        claim.attempt,
                        LockGrant(token: grant.token, tokenDomain: .clock, validity: validUntil)
                    )
                )
            case .success(.waiting(let place)):
                self.placed(claim.attempt, place)
                self.tell(.held(claim.attempt, by: [place.holderMetadata]))
            case .success(.gone):
                self.state.withLock { _ = $0.forget(claim.attempt) }
                self.foundGone(claim)
                self.tell(.gone(claim.attempt))
            case .failure(let error) where error.code == .invalidConfiguration:
                // It will be the same the next time.
                self.ended(claim.attempt)
                self.tell(.failed(claim.attempt, error))
            case .failure:
                let poke = self.state.withLock { state in
                    state.waiting.lookFailed(claim.attempt, now: self.environment.machine.now)
                    return state.needsPoke()
                }
                if poke { self.alarm.poke() }
            }
        }
    }

    /// Nothing is left of a claim in the file.
    ///
    /// - Parameter found: it was this client that removed it.
    func left(_ claim: LockClaim, found: Bool) {
        let wasInFile = self.state.withLock { $0.forget(claim.attempt) }
        if wasInFile && !found { self.foundGone(claim) }
    }

    /// A claim has lost its place or what it held.
    func foundGone(_ claim: LockClaim) {
        let (unwatch, looks) = self.state.withLock { $0.waiting.foundGone(claim) }
        if let unwatch { self.unwatch(unwatch) }
        for look in looks { self.look(look, isOnQueue: true) }
    }

    private func tell(_ event: LockEvent) {
        self.state.withLock { $0.sink }?.receive(event)
    }

    /// A claim has its place in the queue.
    func placed(_ attempt: AttemptID, _ place: StoredPlace) {
        let leaseEnd = self.environment.instant(of: place.holderLeaseEnd)
        let now = self.environment.machine.now
        let (action, pokes) = self.state.withLock { state in
            (state.waiting.placed(attempt, place, leaseEnd: leaseEnd, now: now), state.needsPoke())
        }
        if pokes { self.alarm.poke() }
        if let unwatch = action.unwatch { self.unwatch(unwatch) }
        if let watch = action.watch { self.watch(watch) }
        if let look = action.look { self.look(look) }
    }

    /// A claim waits no more.
    func ended(_ attempt: AttemptID) {
        if let unwatch = self.state.withLock({ $0.waiting.ended(attempt) }) { self.unwatch(unwatch) }
    }

    func isDead(_ participant: ParticipantID) -> Bool {
        guard participant != self.participant, let sockets = self.state.withLock({ $0.sockets }) else { return false }
        return LivenessTest.isDead(participant, in: sockets.folder)
    }

    private func watch(_ participant: ParticipantID) {
        guard let sockets = self.state.withLock({ $0.sockets }) else { return }
        switch LivenessTest.test(participant, in: sockets.folder) {
        case .dead:
            self.died(participant)
        case .unknown:
            break
        case .alive(let descriptor):
            let isWatched = self.state.withLock { state in
                // Nobody may be waiting any more, or another thread was faster.
                guard state.waiting.isWatched(participant), state.watches[participant] == nil else { return false }
                // Under the mutex, so that the end of the watch finds it. It is told on another thread.
                state.watches[participant] = sockets.poller.watch(descriptor, isOnce: true) { [weak self] in
                    self?.connectionEnded(participant)
                }
                return true
            }
            if !isWatched { sockets.folder.close(descriptor) }
        }
    }

    /// A connection ended. Its process is dead, or another one has the listener and not the connections, or it has let go of
    /// it: whoever lives can be connected to again.
    private func connectionEnded(_ participant: ParticipantID) {
        let isWatched = self.state.withLock { state in
            state.watches[participant] = nil
            return state.waiting.isWatched(participant)
        }
        if isWatched { self.watch(participant) }
    }

    private func unwatch(_ participant: ParticipantID) {
        let (poller, watch) = self.state.withLock { state -> ((any SocketPoller)?, SocketWatch?) in
            guard !state.waiting.isWatched(participant) else { return (nil, nil) }
            return (state.sockets?.poller, state.watches.removeValue(forKey: participant))
        }
        if let watch { poller?.cancel(watch) }
    }

    /// A client is dead: whoever of this client waited for it moves up.
    private func died(_ participant: ParticipantID) {
        let looks = self.state.withLock { state -> [(LockClaim, WaitingStateMachine.Look?)] in
            state.watches[participant] = nil
            return state.waiting.died(participant).map { ($0, state.waiting.noticed($0.attempt)) }
        }
        for (claim, look) in looks {
            if let look {
                self.look(look, burying: participant)
            } else {
                self.bury(participant, name: claim.name)
            }
        }
    }

    private func bury(_ participant: ParticipantID, name: LockName) {
        self.transactions.submit(deadline: self.environment.machine.now + self.options.busyTimeout) { table in
            try table.bury(participant, name: name)
        } completion: { _ in
            // If it failed, the lease decides.
        }
    }
}

extension EmbeddedLockBackend.State {
    /// Nothing of a claim is in the file any more. Returns whether there may have been.
    mutating func forget(_ attempt: AttemptID) -> Bool {
        if !self.unknown.isEmpty { self.unknown.remove(attempt) }
        return self.inFile.removeValue(forKey: attempt) != nil
    }

    /// A request has failed.
    mutating func requestFailed(_ attempt: AttemptID, isUnknown: Bool) {
        if isUnknown {
            self.unknown.insert(attempt)
        } else if !self.unknown.contains(attempt) {
            // It was put there in a transaction that was undone.
            self.inFile[attempt] = nil
        }
    }

    /// Whether the timer loop sleeps longer than it may.
    fileprivate mutating func needsPoke() -> Bool {
        guard let next = self.waiting.nextWakeup() else { return false }
        return self.alarmSetFor.map { next < $0 } ?? true
    }
}
#endif
