import DistributedLocks
import LockKernel

/// What people ask: who stands where, which locks there are, and that a lock be broken.
///
/// States of an inquiry: it *waits* for the session to be open; its list is *asked*; the nodes on the list are *read*, each by a
/// request of its own; a node is *marked* or deleted. It is answered once, at the latest when its time is over: nothing of it is
/// asked again. Pure.
struct InquiriesMachine {
    typealias Answer = ZooKeeperMachine.Answer
    typealias Failure = ZooKeeperMachine.Failure

    /// What is asked for one inquiry.
    enum Step: Equatable {
        case list
        case read(ContenderNode)
        /// The holder's node is marked or deleted.
        case breakNode(OwnerMetadata?)
    }

    private struct Open {
        let inquiry: Inquiry
        var isWaiting: Bool
        var left = 0
        var entries: [Standing.Entry] = []
        var failure: ZooKeeperError?
    }

    private let paths: NodePaths
    private let patience: Duration
    private var open: [CallID: Open] = [:]
    /// Those that wait for the session, in the order in which they came.
    private var waiting: [CallID] = []

    init(paths: NodePaths, patience: Duration) {
        self.paths = paths
        self.patience = patience
    }

    // MARK: The session

    /// - Parameter silence: why nothing is connected, if nothing is.
    mutating func asked(
        _ inquiry: Inquiry, _ call: CallID, silence: ZooKeeperError, _ session: SessionMachine, _ outbox: inout Outbox
    ) {
        if inquiry == .trouble {
            let trouble = session.isOpen ? nil : Failure(session.refusal ?? silence)
            return outbox.add(.answer(call, .trouble(trouble)))
        }
        if !session.isOpen, let refusal = session.refusal {
            return outbox.add(.answer(call, .failed(Failure(refusal))))
        }
        self.open[call] = Open(inquiry: inquiry, isWaiting: !session.isOpen)
        outbox.add(.start(.inquiry(call), .exactly(self.patience)))
        if session.isOpen { self.begin(inquiry, call, &outbox) } else { self.waiting.append(call) }
    }

    /// The session can be used; or not, for this reason.
    mutating func sessionSettled(_ refusal: Failure?, _ outbox: inout Outbox) {
        let waiting = self.waiting
        self.waiting = []
        for call in waiting {
            guard let inquiry = self.open[call]?.inquiry else { continue }
            self.open[call]?.isWaiting = false
            if let refusal {
                self.answer(call, .failed(refusal), &outbox)
            } else {
                self.begin(inquiry, call, &outbox)
            }
        }
    }

    mutating func timedOut(_ call: CallID, silence: ZooKeeperError, _ outbox: inout Outbox) {
        guard let inquiry = self.open[call] else { return }
        self.waiting.removeAll { $0 == call }
        let message =
            inquiry.isWaiting
            ? silence.message : "the ensemble did not answer within \(self.patience.brief)"
        self.answer(call, .failed(Failure(.unreachable, message)), &outbox)
    }

    private mutating func answer(_ call: CallID, _ answer: Answer, _ outbox: inout Outbox) {
        guard self.open.removeValue(forKey: call) != nil else { return }
        outbox.add(.cancel(.inquiry(call)))
        outbox.add(.answer(call, answer))
    }

    // MARK: Asking

    private func begin(_ inquiry: Inquiry, _ call: CallID, _ outbox: inout Outbox) {
        switch inquiry {
        case .status(let lock), .breakLock(let lock, _):
            outbox.ask(.getChildren(path: lock), .inquiry(call, .list))
        case .names:
            outbox.ask(.getChildren(path: self.paths.root), .inquiry(call, .list))
        case .trouble:
            preconditionFailure("what is wrong is known without asking")
        }
    }

    mutating func answered(
        _ call: CallID, _ step: Step, _ result: Result<ZooKeeperReply, ZooKeeperError>, _ session: SessionMachine,
        _ outbox: inout Outbox
    ) {
        guard let inquiry = self.open[call]?.inquiry else { return }
        switch step {
        case .list: self.listed(call, inquiry, result, session, &outbox)
        case .read(let node): self.read(node, call, inquiry, result, session, &outbox)
        case .breakNode(let holder):
            switch result {
            case .success: self.answer(call, .broken(holder), &outbox)
            case .failure(let error) where error.serverCode == .noNode: self.answer(call, .notHeld, &outbox)
            case .failure(let error): self.answer(call, .failed(Failure(error)), &outbox)
            }
        }
    }

    private mutating func listed(
        _ call: CallID, _ inquiry: Inquiry, _ result: Result<ZooKeeperReply, ZooKeeperError>,
        _ session: SessionMachine, _ outbox: inout Outbox
    ) {
        var children: [String] = []
        switch result {
        case .success(let reply): children = reply.answer.names ?? []
        case .failure(let error) where error.serverCode == .noNode: break
        case .failure(let error):
            guard case .status(let lock) = inquiry, error.serverCode == .noAuth else {
                return self.answer(call, .failed(Failure(error)), &outbox)
            }
            // It is shown as that, so that it hides no other lock.
            return self.answer(call, .status(self.standing(lock, nil, session)), &outbox)
        }
        switch inquiry {
        case .names, .trouble:
            self.answer(call, .names(children), &outbox)
        case .status(let lock), .breakLock(let lock, _):
            let nodes = children.map { ContenderNode(name: $0) }.sorted()
            if nodes.isEmpty { return self.allRead(call, inquiry, [], session, &outbox) }
            self.open[call]?.left = nodes.count
            for node in nodes { outbox.ask(.getData(path: lock + "/" + node.name), .inquiry(call, .read(node))) }
        }
    }

    private mutating func read(
        _ node: ContenderNode, _ call: CallID, _ inquiry: Inquiry, _ result: Result<ZooKeeperReply, ZooKeeperError>,
        _ session: SessionMachine, _ outbox: inout Outbox
    ) {
        switch result {
        case .success(let reply):
            if case .data(let bytes, let stat) = reply.answer {
                let entry = Standing.Entry(node: node, data: ContenderData(bytes: bytes), stat: stat)
                self.open[call]?.entries.append(entry)
            }
        case .failure(let error) where error.serverCode == .noAuth:
            self.open[call]?.entries.append(Standing.Entry(node: node, data: nil, stat: nil))
        case .failure(let error):
            // One that has left meanwhile is no failure.
            if error.serverCode != .noNode, self.open[call]?.failure == nil { self.open[call]?.failure = error }
        }
        self.open[call]?.left -= 1
        guard let open = self.open[call], open.left == 0 else { return }
        if let failure = open.failure { return self.answer(call, .failed(Failure(failure)), &outbox) }
        self.allRead(call, inquiry, open.entries, session, &outbox)
    }

    private mutating func allRead(
        _ call: CallID, _ inquiry: Inquiry, _ entries: [Standing.Entry], _ session: SessionMachine,
        _ outbox: inout Outbox
    ) {
        switch inquiry {
        case .status(let lock):
            self.answer(call, .status(self.standing(lock, entries, session)), &outbox)
        case .breakLock(let lock, let isImmediate):
            self.breakLock(lock, entries.first, isImmediate: isImmediate, call, &outbox)
        case .names, .trouble:
            preconditionFailure("nodes were read for a list of names")
        }
    }

    private func standing(_ lock: String, _ entries: [Standing.Entry]?, _ session: SessionMachine) -> Standing {
        Standing(lock: lock, entries: entries, session: session.session, domain: session.domain ?? .clock)
    }

    /// Marks the holder's node, which tells it; or deletes the node, which lets the next one go at once.
    private mutating func breakLock(
        _ lock: String, _ holder: Standing.Entry?, isImmediate: Bool, _ call: CallID, _ outbox: inout Outbox
    ) {
        guard let holder else { return self.answer(call, .notHeld, &outbox) }
        // What stands in it is not ours to write over.
        guard isImmediate || holder.node.isClaim else { return self.answer(call, .cannotBeTold, &outbox) }
        let path = lock + "/" + holder.node.name
        var data = holder.data ?? ContenderData(metadata: OwnerMetadata(host: "", pid: 0))
        data.isBroken = true
        outbox.ask(
            isImmediate ? .delete(path: path) : .setData(path: path, data: data.bytes),
            .inquiry(call, .breakNode(holder.data?.metadata)))
    }
}
