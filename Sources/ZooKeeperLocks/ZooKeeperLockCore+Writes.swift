import NIOCore

/// The shell of ``WriteBatch``. If one part of a `multi` cannot be done (a node was deleted by an operator), nothing was, and each
/// is sent by itself.
extension ZooKeeperLockCore {
    struct Write {
        let request: ZooKeeperRequest
        /// The lock whose contender it creates; `nil` for a delete.
        let creates: String?
        let completion: ZooKeeperClient.Completion
        /// Lists the contenders, right after the create.
        let listed: ZooKeeperClient.Completion?
    }

    /// A release that nobody waits for may wait so long for an acquire to leave with.
    private static var patience: TimeAmount { .microseconds(150) }

    func write(_ write: Write, canWait: Bool = false) {
        let core = NIOLoopBound(self, eventLoop: self.eventLoop)
        switch self.writes.added(write, creates: write.creates, canWait: canWait) {
        case .soon: self.writeTimer = self.eventLoop.scheduleTask(in: Self.patience) { core.value.flushWrites() }
        case .atEndOfTurn: self.eventLoop.execute { core.value.flushWrites() }
        case nil: break
        }
    }

    /// Sends what has gathered. Whatever else is sent comes after it.
    func flushWrites() {
        self.writeTimer?.cancel()
        self.writeTimer = nil
        for group in self.writes.taken(isKnown: { self.folders.used($0) }) { self.send(group) }
    }

    private func sendAlone(_ write: Write) {
        self.client.submit(write.request) { result in
            if let lock = write.creates {
                switch result {
                case .success: self.noteFolder(lock, isThere: true)
                case .failure(let error): if error.serverCode == .noNode { self.folders.missed(lock) }
                }
            }
            write.completion(result)
        }
        if let listed = write.listed, let lock = write.creates {
            self.client.submit(.getChildren(path: lock), completion: listed)
        }
    }

    private func send(_ group: [Write]) {
        guard group.count > 1 else { return group.forEach(self.sendAlone) }
        // Lists that were sent along say nothing if the parts had to be sent again.
        let fate = MultiFate()
        self.client.submit(.multi(group.map(\.request))) { result in
            switch result {
            case .success(let reply):
                guard case .multi(let parts) = reply.answer, parts.count == group.count,
                    let answers = Self.answers(parts)
                else {
                    fate.hasFailed = true
                    group.forEach(self.sendAlone)
                    return
                }
                for (write, answer) in zip(group, answers) {
                    write.completion(
                        .success(ZooKeeperReply(answer: answer, zxid: reply.zxid, sentAt: reply.sentAt))
                    )
                }
            case .failure(let error) where error.serverCode != nil:
                fate.hasFailed = true
                group.forEach(self.sendAlone)
            case .failure(let error):
                for write in group { write.completion(.failure(error)) }
            }
        }
        for write in group {
            guard let listed = write.listed, let lock = write.creates else { continue }
            self.client.submit(.getChildren(path: lock)) { if !fate.hasFailed { listed($0) } }
        }
    }

    final class MultiFate {
        var hasFailed = false
    }

    /// `nil` if a part failed: then none was carried out.
    static func answers(_ parts: [ZooKeeperAnswer.MultiResult]) -> [ZooKeeperAnswer]? {
        var answers: [ZooKeeperAnswer] = []
        for part in parts {
            switch part {
            case .created(let path, let stat?): answers.append(.created(path: path, stat: stat))
            // ZooKeeper 3.8 answers a create2 within a multi as if it were a create.
            case .created(let path, nil): answers.append(.path(path))
            case .done: answers.append(.done)
            case .stat, .failed: return nil
            }
        }
        return answers
    }
}
