import DistributedLocks
import NIOCore

/// Watches: on the predecessor while a claim waits, on its own node while it holds.
extension ZooKeeperLockCore {
    func watch(_ predecessor: ContenderNode, _ contender: Contender) {
        let path = contender.path(predecessor)
        self.watches.watched(path, by: contender.claim.attempt)
        // `exists` would leave a watch behind on a node that is gone.
        self.submit(.getData(path: path, watch: true)) { result in
            switch result {
            case .success:
                self.perform(contender.machine.watchSet(on: predecessor, isThere: true), for: contender)
                self.arm(contender, in: Self.backstop) { $0.backstopFired() }
            case .failure(let error) where error.serverCode == .noNode:
                self.perform(contender.machine.watchSet(on: predecessor, isThere: false), for: contender)
            case .failure(let error):
                self.retry(contender, after: error)
            }
        }
    }

    /// It does not matter to this contender any more what happens to the nodes that it has watched.
    func stopWatching(_ contender: Contender) {
        for path in self.watches.stopped(contender.claim.attempt) { self.client.forgetWatch(path) }
    }

    func watchFired(_ event: WatchEvent) {
        for attempt in self.watches.fired(event.path) {
            guard let contender = self.contenders[attempt] else { continue }
            if let node = contender.machine.node, contender.path(node) == event.path {
                self.perform(contender.machine.ownFired(isDeleted: event.kind == .deleted), for: contender)
            } else if let node = contender.machine.predecessor, contender.path(node) == event.path {
                self.perform(contender.machine.predecessorFired(), for: contender)
            } else if contender.lock == event.path {
                self.perform(contender.machine.folderFired(), for: contender)
            }
        }
    }

    func watchOwn(_ node: ContenderNode, _ contender: Contender) {
        let path = contender.path(node)
        self.watches.watched(path, by: contender.claim.attempt)
        self.submit(.getData(path: path, watch: true)) { result in
            switch result {
            case .success(let reply):
                guard case .data(let bytes, _) = reply.answer else { return }
                self.perform(contender.machine.ownRead(ContenderData(bytes: bytes), isThere: true), for: contender)
            case .failure(let error) where error.serverCode == .noNode:
                self.perform(contender.machine.ownRead(nil, isThere: false), for: contender)
            case .failure(let error):
                self.retry(contender, after: error)
            }
        }
    }
}
