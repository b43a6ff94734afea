import LockKernel
import Logging
import Metrics
import Synchronization

/// The timer loop: renewals, losses, deadlines of waiting calls, and cleaning up.
extension LockClient {
    func keepTime() async {
        var stopDeadline: BootInstant?
        await withDiscardingTaskGroup { group in
            while true {
                let now = self.now()
                let work = self.state.withLock { $0.takeDueWork(now: now) }
                self.metrics.held.set(work.heldCount)
                self.metrics.waiters.set(work.waiterCount)
                self.perform(work, in: &group)
                if work.isStopping {
                    let deadline = stopDeadline ?? now + self.configuration.shutdownTimeout
                    if stopDeadline == nil {
                        stopDeadline = deadline
                    }
                    if work.isIdle || now >= deadline { break }
                    // Bodies have had half of the time to end by themselves; what they hold is released now.
                    if now >= deadline - self.configuration.shutdownTimeout / 2 {
                        self.takeBackAllHolds()
                    }
                }
                await self.alarm.sleep(until: self.nextAlarm(stopDeadline: stopDeadline, now: now))
            }
            group.cancelAll()
        }
    }

    struct DueWork {
        var keeper = KeeperStateMachine.TimerAction()
        var lost: [(hold: Hold, reason: LockError.LossReason)] = []
        var timedOut: [AttemptID] = []
        var cleanup = CleanupStateMachine.TimerAction()
        var heldCount = 0
        var waiterCount = 0
        var isStopping = false
        /// Nothing is held, waited for or to be cleaned up.
        var isIdle = false
    }

    private func nextAlarm(stopDeadline: BootInstant?, now: BootInstant) -> BootInstant? {
        self.state.withLock { state in
            var next = state.nextWakeup()
            if let stopDeadline {
                let half = stopDeadline - self.configuration.shutdownTimeout / 2
                let bound = now < half ? half : stopDeadline
                next = next.map { min($0, bound) } ?? bound
            }
            state.alarmSetFor = next
            return next
        }
    }

    private func perform(_ work: DueWork, in group: inout DiscardingTaskGroup) {
        for (hold, reason) in work.lost { self.lose(hold, reason) }
        for attempt in work.timedOut { self.abandon(attempt) { $0.deadlinePassed() } }
        if !work.keeper.renew.isEmpty {
            group.addTask { await self.renew(work.keeper.renew) }
        }
        for claim in work.cleanup.withdraw {
            group.addTask { await self.withdraw(claim) }
        }
        for claim in work.cleanup.abandoned {
            self.logger.warning(
                "a claim could not be taken back before its lease ended",
                metadata: [LogKey.name: "\(claim.name)", LogKey.attempt: "\(claim.attempt)"]
            )
        }
    }

    private func renew(_ renewals: [LockRenewal]) async {
        let replies = await self.backend.renew(renewals)
        precondition(replies.count == renewals.count, "a backend answers each renewal")
        let now = self.now()
        for (renewal, reply) in zip(renewals, replies) {
            let attempt = renewal.claim.attempt
            switch reply {
            case .extended(let until):
                self.metrics.renewals.increment()
                let (hold, validUntil) = self.state.withLock { state in
                    (state.holds[attempt], state.keeper.renewed(attempt, until: BootInstant(until), now: now))
                }
                if let hold, let validUntil { hold.extended(until: validUntil) }
            case .lost(let reason):
                self.lose(attempt, reason)
            case .failed(let error):
                self.metrics.renewalFailures.increment()
                self.logger.info(
                    "a renewal failed and is tried again",
                    metadata: [LogKey.name: "\(renewal.claim.name)", LogKey.error: "\(error)"]
                )
                self.state.withLock { $0.keeper.renewalFailed(attempt, now: now) }
            }
        }
        if self.state.withLock({ $0.needsPoke() }) { self.alarm.poke() }
    }

    private func withdraw(_ claim: LockClaim) async {
        do {
            try await self.backend.withdraw(claim)
            self.state.withLock { state in
                state.cleanup.confirmed(claim.attempt)
                state.cleanupsUnderWay -= 1
            }
        } catch {
            let now = self.now()
            let jitter = self.environment.fraction()
            self.state.withLock { state in
                state.cleanup.failed(claim.attempt, now: now, jitter: jitter)
                state.cleanupsUnderWay -= 1
            }
        }
        self.alarm.poke()
    }

    /// Has a claim taken back in the background.
    func cleanUp(_ claim: LockClaim) {
        let now = self.now()
        // A place in a queue may turn into a grant once more while it is being taken back.
        let until = now + claim.lease * 2
        let isTaken = self.state.withLock { state in
            state.removeAttempt(claim.attempt)
            return state.cleanup.added(claim, until: until, start: now)
        }
        if !isTaken, self.orderedRelease?.releaseInOrder(claim, heldFor: .zero, ended: { _ in }) != true {
            self.logger.warning(
                "too many claims to take back: this one ends with its lease",
                metadata: [LogKey.name: "\(claim.name)", LogKey.attempt: "\(claim.attempt)"]
            )
        }
        self.alarm.poke()
    }

    func lose(_ attempt: AttemptID, _ reason: LockError.LossReason) {
        let hold = self.state.withLock { state in
            // Whoever asked for the grant may not have taken it yet.
            state.attempts[attempt]?.machine.lost(reason)
            return state.holds[attempt]
        }
        // What a process hears that was stopped past its lease came later than the end of the lease.
        if let hold { self.lose(hold, hold.loss() ?? reason) }
    }

    /// Declares a grant lost: its body is cancelled now. The hold stays known until its holder lets go of it.
    func lose(_ hold: Hold, _ reason: LockError.LossReason) {
        let isKnown = self.state.withLock { state in
            state.keeper.removed(hold.claim.attempt)
            return state.holds[hold.claim.attempt] != nil
        }
        guard isKnown, hold.lost(reason) else { return }
        self.takeBackInTime(hold)
        self.metrics.lost.increment()
        self.logger.warning(
            "a lock was lost",
            metadata: [
                LogKey.name: "\(hold.claim.name)", LogKey.token: "\(hold.token)", LogKey.reason: "\(reason.rawValue)",
            ]
        )
    }

    /// Where leases belong to the session, a lock that was lost does not come free by itself while the session lives. A
    /// holder that does not let go of it is not waited for longer than the lease would last elsewhere.
    private func takeBackInTime(_ hold: Hold) {
        let capabilities = self.backend.capabilities
        guard case .session = capabilities.leaseScope else { return }
        let now = self.now()
        let lease = min(hold.claim.lease, capabilities.leaseRange.lowerBound)
        self.state.withLock { state in
            guard state.holds[hold.claim.attempt] != nil else { return }
            _ = state.cleanup.added(hold.claim, until: now + lease * 3, start: now + lease)
        }
        self.alarm.poke()
    }

    /// Takes back what holders have not let go of in time.
    private func takeBackAllHolds() {
        let holds = self.state.withLock { state in
            defer { state.holds = [:] }
            return Array(state.holds.values)
        }
        for hold in holds {
            hold.lost(.clientStopped)
            self.cleanUp(hold.claim)
        }
    }
}

extension LockClient.State {
    fileprivate mutating func takeDueWork(now: BootInstant) -> LockClient.DueWork {
        var work = LockClient.DueWork()
        self.alarmSetFor = nil
        work.keeper = self.keeper.timerFired(now: now)
        for (attempt, reason) in work.keeper.lost {
            if let hold = self.holds[attempt] { work.lost.append((hold, reason)) }
        }
        work.heldCount = self.holds.count
        work.waiterCount = self.attempts.count
        work.timedOut = self.attemptDeadlines.popDue(at: now)
        work.cleanup = self.cleanup.timerFired(now: now)
        self.cleanupsUnderWay += work.cleanup.withdraw.count
        work.isStopping = self.isStopping
        work.isIdle =
            self.holds.isEmpty && self.attempts.isEmpty && self.releasesUnderWay == 0 && self.cleanup.isEmpty
            && self.cleanupsUnderWay == 0
        return work
    }
}
