import DistributedLocks

/// Finding a node whose making was not confirmed, and what is not known of one.
extension ZooKeeperLockCore {
    func seek(_ contender: Contender) {
        // Asked twice, the claim may have made another node before the second answer comes.
        let uuid = contender.uuid
        // Without it a server that lags behind would hide the node, and the claim would wait for itself.
        self.submit(.sync(path: contender.lock)) { _ in }
        self.submit(.getChildren(path: contender.lock)) { result in
            switch result {
            case .success(let reply):
                guard case .children(let children, _) = reply.answer else { return }
                let found = children.lazy.map { ContenderNode(name: $0) }.first { $0.uuid == uuid }
                if found == nil { self.expectGhost(uuid, of: contender.lock) }
                self.perform(contender.machine.sought(found), for: contender)
            case .failure(let error) where error.serverCode == .noNode:
                self.expectGhost(uuid, of: contender.lock)
                self.perform(contender.machine.sought(nil), for: contender)
            case .failure(let error):
                self.retry(contender, after: error)
            }
        }
    }

    func inspect(_ node: ContenderNode, _ contender: Contender) {
        self.askStat(of: node, contender) { stat in
            let isMine = stat?.ephemeralOwner == self.client.session?.id
            return contender.machine.inspected(node, czxid: isMine ? stat?.czxid : nil)
        }
    }

    func identify(_ node: ContenderNode, _ contender: Contender) {
        self.askStat(of: node, contender) { stat in
            contender.machine.identified(stat?.czxid, isValid: self.mayGrant)
        }
    }

    /// Asks for a node's stat; `nil` if the node is not there.
    private func askStat(
        of node: ContenderNode,
        _ contender: Contender,
        _ answered: @escaping (NodeStat?) -> ContenderStateMachine.Action
    ) {
        self.submit(.exists(path: contender.path(node))) { result in
            switch result {
            case .success(let reply):
                guard case .stat(let stat) = reply.answer else { return }
                self.perform(answered(stat), for: contender)
            case .failure(let error) where error.serverCode == .noNode:
                self.perform(answered(nil), for: contender)
            case .failure(let error):
                self.retry(contender, after: error)
            }
        }
    }
}
