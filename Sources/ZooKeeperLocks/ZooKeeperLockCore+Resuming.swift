import DistributedLocks
import LockKernel
import LockTransport
import Logging
import NIOCore

/// What claims ask when the session is attached to a server, for the first time or again.
extension ZooKeeperLockCore {
    /// The session is attached, and can be used.
    func resumeContenders() {
        // Those that leave go first: nobody waits for its own former claim.
        let (leaving, others) = (
            self.contenders.values.filter(\.isLeaving), self.contenders.values.filter { !$0.isLeaving }
        )
        for contender in leaving + others {
            let pause = contender.resumption.attached(in: contender.machine.state, random: self.environment.fraction())
            if let pause { self.postpone(contender, by: pause) } else { self.resume(contender) }
        }
    }

    private func resume(_ contender: Contender) {
        contender.postponed?.cancel()
        contender.postponed = nil
        let action = contender.machine.attached()
        if case .none = action { contender.resumption.hadNothingToAsk() }
        self.perform(action, for: contender)
    }

    private func postpone(_ contender: Contender, by pause: Duration) {
        let attempt = contender.claim.attempt
        let core = NIOLoopBound(self, eventLoop: self.eventLoop)
        contender.postponed?.cancel()
        contender.postponed = self.eventLoop.scheduleTask(in: TimeAmount(pause)) {
            // If there is no connection just now, the next one brings it up again.
            guard let contender = core.value.contenders[attempt], core.value.client.isOpen else { return }
            // Its caller may have asked again meanwhile.
            if case .creating = contender.machine.state { return contender.postponed = nil }
            core.value.resume(contender)
        }
        self.logger.warning(
            "a claim gets no answers, and asks again later: a server ends connections on which a request is too long for it",
            metadata: ["lock.name": "\(contender.claim.name)", "lock.pause": "\(pause)"]
        )
    }

    /// The claim is taken back. What it has to ask for that waits if it is postponed.
    func leave(_ contender: Contender) {
        let action = contender.machine.withdrawn()
        switch action {
        case .seek where contender.postponed != nil, .delete where contender.postponed != nil: break
        default: self.perform(action, for: contender)
        }
    }
}

extension ZooKeeperLockCore.Contender {
    fileprivate var isLeaving: Bool {
        if case .leaving = self.machine.state { true } else { false }
    }
}
