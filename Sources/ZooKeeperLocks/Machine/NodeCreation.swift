import DistributedLocks

/// How one claim's node is made: under which UUID, and whether its lock's folder is made with it. Pure.
struct NodeCreation {
    private(set) var uuid = ""
    /// The folder was not there when it was looked for.
    private var isFolderMissing = false

    mutating func foundNoFolder() { self.isFolderMissing = true }

    /// A node is to be made, under a new name.
    mutating func begin(_ name: ClaimIdentity, _ ensemble: inout Ensemble) {
        self.uuid = ensemble.creations.next(for: name.id.attempt)
        if self.isFolderMissing {
            self.isFolderMissing = false
            return self.askWithFolder(name, &ensemble)
        }
        let isKnown = ensemble.folders.used(name.lock)
        ensemble.outbox.write(self.write(name, &ensemble), isKnown: isKnown, canWait: false)
    }

    /// The folder is not there, so both are made by one transaction: a folder in which nobody has ever been would be left for
    /// ever, as no server removes it.
    func askWithFolder(_ name: ClaimIdentity, _ ensemble: inout Ensemble) {
        ensemble.outbox.createWithFolder(self.write(name, &ensemble), access: ensemble.access)
    }

    private func write(_ name: ClaimIdentity, _ ensemble: inout Ensemble) -> Write {
        let request = ensemble.creations.request(self.uuid, for: name)
        return Write(claim: name.id, lock: name.lock, request: request, isCreate: true)
    }

    // MARK: Answers

    enum FolderAnswer {
        /// The node's part.
        case made(ZooKeeperAnswer)
        /// Another client has made the folder: the node is made in it.
        case folderIsThere
        /// These have to be made, and then the node.
        case parentsMissing([String])
        case unanswered(ZooKeeperError)
        case nothing
    }

    /// Folder and node were to be made together.
    static func folderAnswered(
        in lock: String, _ result: Result<ZooKeeperReply, ZooKeeperError>, _ ensemble: inout Ensemble
    ) -> FolderAnswer {
        let code: ZooKeeperCode?
        switch result {
        case .success(let reply):
            guard case .multi(let parts) = reply.answer else { return .nothing }
            if let answer = ZooKeeperAnswer.answers(of: parts)?.last {
                ensemble.noteFolder(lock, isThere: true)
                return .made(answer)
            }
            code = ZooKeeperAnswer.refusal(of: parts)
        case .failure(let error):
            code = error.serverCode
            if code == nil {
                ensemble.noteFolder(lock, isThere: false)
                return .unanswered(error)
            }
        }
        switch code {
        case .nodeExists?: return .folderIsThere
        case .noNode?: return .parentsMissing([ensemble.paths.root])
        case nil, .some:
            ensemble.noteFolder(lock, isThere: false)
            return .parentsMissing([ensemble.paths.root, lock])
        }
    }

    /// What was made, if it is a claim's node of this session. A create that left with other writes is answered without the node's
    /// stat.
    static func made(
        _ answer: ZooKeeperAnswer, by session: ZooKeeperSession?
    ) -> (node: ContenderNode, czxid: Int64?)? {
        let made: (path: String, czxid: Int64?)
        switch answer {
        case .created(let path, let stat) where stat.ephemeralOwner == session?.id: made = (path, stat.czxid)
        case .path(let path): made = (path, nil)
        case .created, .stat, .data, .children, .multi, .done: return nil
        }
        let node = ContenderNode(name: NodeName.last(of: made.path))
        return node.isClaim ? (node, made.czxid) : nil
    }
}
