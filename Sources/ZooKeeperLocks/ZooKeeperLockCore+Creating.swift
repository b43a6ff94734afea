import DistributedLocks

/// Making a contender's node.
extension ZooKeeperLockCore {
    func create(_ contender: Contender) {
        self.createCount &+= 1
        contender.uuid = self.maker.uuid(of: contender.claim.attempt, count: self.createCount)
        if exchange(&contender.isFolderMissing, with: false) { return self.createWithFolder(contender) }
        self.write(
            Write(
                request: self.creation(of: contender),
                creates: contender.lock,
                completion: { self.created(contender, $0) },
                listed: { self.listed(contender, $0) }
            )
        )
    }

    private func creation(of contender: Contender) -> ZooKeeperRequest {
        .create(
            path: contender.lock + "/" + ContenderNode.stem(uuid: contender.uuid),
            data: self.ownerData.bytes(of: contender.claim.owner.metadata),
            access: self.access,
            mode: .ephemeralSequential
        )
    }

    private func created(_ contender: Contender, _ result: Result<ZooKeeperReply, ZooKeeperError>) {
        switch result {
        case .success(let reply):
            guard let (node, czxid) = self.made(reply.answer) else {
                // It cannot be judged what was made, and for whom.
                self.perform(contender.machine.createFailed(.runtimeInconsistency), for: contender)
                return
            }
            self.perform(contender.machine.created(node, czxid: czxid, zxid: reply.zxid), for: contender)
        case .failure(let error):
            switch error.code {
            case .refused(.noNode):
                if contender.machine.parentsMissed() {
                    self.createWithFolder(contender)
                } else {
                    self.perform(contender.machine.createFailed(.noNode), for: contender)
                }
            case .refused(let code):
                self.perform(contender.machine.createFailed(code), for: contender)
            case .notSent, .stopped:
                self.perform(contender.machine.notCreated(), for: contender)
            case .outcomeUnknown, .unusableServer:
                self.perform(contender.machine.createFailed(nil), for: contender)
            }
        }
    }

    /// A create that left with other writes is answered without the node's stat.
    private func made(_ answer: ZooKeeperAnswer) -> (node: ContenderNode, czxid: Int64?)? {
        let made: (path: String, czxid: Int64?)
        switch answer {
        case .created(let path, let stat) where stat.ephemeralOwner == self.client.session?.id:
            made = (path, stat.czxid)
        case .path(let path): made = (path, nil)
        case .created, .stat, .data, .children, .multi, .done: return nil
        }
        let node = ContenderNode(name: NodeName.last(of: made.path))
        return node.isClaim ? (node, made.czxid) : nil
    }

    /// The folder is not there, so both are made by one transaction: a folder in which nobody has ever been would be left for
    /// ever, as no server removes it.
    private func createWithFolder(_ contender: Contender) {
        let folder = ZooKeeperRequest.create(path: contender.lock, data: [], access: self.access, mode: .container)
        let fate = MultiFate()
        self.submit(.multi([folder, self.creation(of: contender)])) { result in
            let code: ZooKeeperCode?
            switch result {
            case .success(let reply):
                if case .multi(let parts) = reply.answer, let answer = Self.answers(parts)?.last {
                    self.noteFolder(contender.lock, isThere: true)
                    self.created(
                        contender, .success(ZooKeeperReply(answer: answer, zxid: reply.zxid, sentAt: reply.sentAt)))
                    return
                }
                guard case .multi(let parts) = reply.answer else { return }
                code = Self.refusal(of: parts)
            case .failure(let error):
                code = error.serverCode
                if code == nil {
                    self.noteFolder(contender.lock, isThere: false)
                    self.created(contender, .failure(error))
                    return
                }
            }
            fate.hasFailed = true
            switch code {
            case .nodeExists: self.perform(contender.machine.parentsMade(), for: contender)
            case .noNode: self.makeParents([self.paths.root], contender)
            default: self.makeParents([self.paths.root, contender.lock], contender)
            }
        }
        self.submit(.getChildren(path: contender.lock)) { if !fate.hasFailed { self.listed(contender, $0) } }
    }

    private func makeParents(_ paths: [String], _ contender: Contender) {
        if paths.contains(contender.lock) { self.noteFolder(contender.lock, isThere: false) }
        self.makeContainers(paths) { error in
            if let error {
                switch error.code {
                case .refused(let code): self.perform(contender.machine.createFailed(code), for: contender)
                case .notSent, .outcomeUnknown, .unusableServer, .stopped:
                    self.perform(contender.machine.notCreated(), for: contender)
                }
            } else {
                self.perform(contender.machine.parentsMade(), for: contender)
            }
        }
    }
}
