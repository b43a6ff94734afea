import DistributedLocks
import LockKernel
import Logging
import NIOCore

/// The actions of contenders.
extension ZooKeeperLockCore {
    func perform(_ action: ContenderStateMachine.Action, for contender: Contender) {
        switch action {
        case .none:
            break
        case .create:
            self.create(contender)
        case .seek:
            self.seek(contender)
        case .inspect(let node):
            self.inspect(node, contender)
        case .identify(let node):
            self.identify(node, contender)
        case .list:
            self.list(contender)
        case .watch(let predecessor):
            self.watch(predecessor, contender)
        case .watchOwn(let node):
            self.watchOwn(node, contender)
        case .delete(let node):
            self.delete(node, contender)
        case .grant(let token):
            self.granted(token, contender)
        case .queued(let ahead, let predecessor):
            self.watch(predecessor, contender)
            if contender.machine.isUnidentified, let node = contender.machine.node { self.identify(node, contender) }
            self.answer(contender, .success(.queued(QueuePlace(waitersAhead: ahead, holders: []))))
        case .busy(let node, let first):
            self.busy(node, first: first, contender)
        case .stepAside(let node):
            self.stepAside(node, contender)
        case .look:
            self.look(contender)
        case .lookLater:
            self.lookLater(contender)
        case .deleteFolder:
            self.deleteFolder(contender)
        case .standAside(let node, let isNews):
            self.standAside(watching: node, isNews: isNews, contender)
        case .gone:
            self.gone(contender)
        case .lost(let reason):
            self.lost(contender, reason)
        case .left(let wasHeld):
            self.forget(contender)
            self.left(contender, .success(wasHeld))
        case .failed(let code):
            self.failed(contender, code)
        }
    }

    func listed(_ contender: Contender, _ result: Result<ZooKeeperReply, ZooKeeperError>) {
        self.listed([contender], in: contender.lock, result)
    }

    private func listed(
        _ contenders: [Contender],
        in lock: String,
        _ result: Result<ZooKeeperReply, ZooKeeperError>
    ) {
        switch result {
        case .success(let reply):
            guard case .children(let children, let stat) = reply.answer else { return }
            let nodes = self.withoutGhosts(children.map { ContenderNode(name: $0) }, of: lock)
            for contender in contenders {
                self.perform(
                    contender.machine.listed(nodes, pzxid: stat.pzxid, isValid: self.mayGrant),
                    for: contender
                )
            }
        case .failure(let error):
            for contender in contenders {
                if error.serverCode == .noNode {
                    self.perform(contender.machine.parentGone(), for: contender)
                } else {
                    self.retry(contender, after: error)
                }
            }
        }
    }

    /// What failed because its connection ended is asked again on the next one; anything else, soon on this one.
    func retry(_ contender: Contender, after error: ZooKeeperError) {
        guard self.client.isOpen else { return }
        switch error.code {
        case .outcomeUnknown, .unusableServer, .stopped: return
        case .notSent, .refused: break
        }
        self.logger.warning(
            "a request for a lock was refused, and is asked again",
            metadata: ["lock.name": "\(contender.claim.name)", "zookeeper.error": "\(error)"]
        )
        self.arm(contender, in: TimeAmount(self.environment.milliseconds(in: 200...1_000))) { $0.retried() }
    }

    /// Feeds an event in some time from now. Takes the place of what was armed for this contender before.
    func arm(
        _ contender: Contender,
        in delay: TimeAmount,
        _ event: @escaping @Sendable (inout ContenderStateMachine) -> ContenderStateMachine.Action
    ) {
        let attempt = contender.claim.attempt
        let core = NIOLoopBound(self, eventLoop: self.eventLoop)
        contender.timer?.cancel()
        contender.timer = self.eventLoop.scheduleTask(in: delay) {
            guard let contender = core.value.contenders[attempt] else { return }
            core.value.perform(event(&contender.machine), for: contender)
        }
    }

    /// Contenders of one lock that want to see the list in the same turn of the event loop look at the same one: when many
    /// leave at once, many lose their predecessors at once.
    private func list(_ contender: Contender) {
        self.listing[contender.lock, default: []].append(contender)
        guard self.listing[contender.lock]?.count == 1 else { return }
        let lock = contender.lock
        let core = NIOLoopBound(self, eventLoop: self.eventLoop)
        self.eventLoop.execute { core.value.sendList(lock) }
    }

    private func sendList(_ lock: String) {
        guard let contenders = self.listing.removeValue(forKey: lock) else { return }
        self.submit(.getChildren(path: lock)) { self.listed(contenders, in: lock, $0) }
    }

    // MARK: Holding

    private func granted(_ token: Int64, _ contender: Contender) {
        guard let grant = self.grant(token: token) else {
            // The deadline has passed since it was looked at; the next write of the chain grants it.
            contender.machine.validityGone()
            if token <= 0 { self.client.leaveServer("a transaction numbered \(token)", isRefusal: true) }
            return
        }
        self.arm(contender, in: Self.ownWatchDelay) { $0.ownWatchDue() }
        if contender.request != nil {
            self.answer(contender, .success(.granted(grant)))
        } else {
            self.sink?.receive(.granted(contender.claim.attempt, grant))
        }
    }

    private func lost(_ contender: Contender, _ reason: LockError.LossReason) {
        if contender.machine.isOver {
            self.forget(contender)
        } else {
            // Whoever held it has been told. If it does not let go in the time of a lease, it is not waited for.
            let patience = self.session?.timeout ?? self.configuration.sessionTimeout
            self.arm(contender, in: TimeAmount(patience)) { $0.withdrawn() }
        }
        self.sink?.receive(.lost(contender.claim.attempt, reason))
    }

    // MARK: The end of a claim

    func delete(_ node: ContenderNode, _ contender: Contender) {
        contender.timer?.cancel()
        contender.timer = nil
        self.stopWatching(contender)
        let deleted = { (result: Result<ZooKeeperReply, ZooKeeperError>) in
            let outcome: ContenderStateMachine.DeleteResult =
                switch result {
                case .success: .done
                case .failure(let error):
                    switch error.code {
                    case .refused(.noNode): .noNode
                    case .refused(let code): .refused(code)
                    case .notSent, .stopped: .notSent
                    case .outcomeUnknown, .unusableServer: .unsure
                    }
                }
            self.perform(contender.machine.deleted(outcome), for: contender)
            if case .failure(let error) = result, contender.machine.isDeleting { self.retry(contender, after: error) }
        }
        self.write(
            Write(request: .delete(path: contender.path(node)), creates: nil, completion: deleted, listed: nil),
            canWait: contender.leavesInOrder
        )
    }

    private func busy(_ node: ContenderNode?, first: ContenderNode, _ contender: Contender) {
        // Answered with who holds it. The delete is not waited for: the lock is somebody else's anyway.
        contender.requestTimer?.cancel()
        contender.requestTimer = nil
        let request = contender.request
        contender.request = nil
        if let node { self.delete(node, contender) } else { self.forget(contender) }
        self.submit(.getData(path: contender.path(first))) { result in
            var holder: OwnerMetadata?
            if case .success(let reply) = result, case .data(let bytes, let stat) = reply.answer {
                holder = ContenderData(bytes: bytes)?.metadata
                if stat.ephemeralOwner != self.client.session?.id { self.folders.sawOthers(in: contender.lock) }
            }
            request?.resume(returning: .success(.busy(holders: holder.map { [$0] } ?? [])))
        }
    }

    private func gone(_ contender: Contender) {
        let (request, timer) = (contender.request, contender.requestTimer)
        (contender.request, contender.requestTimer) = (nil, nil)
        self.forget(contender)
        if let request {
            // Nothing was promised yet: it begins again.
            let again = self.makeContender(
                contender.claim, lock: contender.lock, joinsQueue: contender.machine.joinsQueue)
            again.request = request
            again.requestTimer = timer
            if self.client.isOpen { self.perform(again.machine.attached(), for: again) }
        } else {
            self.sink?.receive(.gone(contender.claim.attempt))
        }
    }

    private func failed(_ contender: Contender, _ code: ZooKeeperCode) {
        let error = LockError(
            ZooKeeperError(.refused(code), "the ensemble answered \(code) for \(contender.lock)")
        )
        self.left(contender, .failure(error))
        if contender.request != nil {
            self.answer(contender, .failure(error))
            if contender.machine.isOver { self.forget(contender) }
        } else if contender.machine.isQueued, contender.machine.isOver {
            self.forget(contender)
            self.sink?.receive(.gone(contender.claim.attempt))
        }
        self.logger.warning(
            "the ensemble refused a request for a lock",
            metadata: ["lock.name": "\(contender.claim.name)", "zookeeper.code": "\(code)"]
        )
    }
}
