import LockKernel
import Logging
import Metrics
import Tracing

extension LockClient {
    /// What one call asks for.
    struct Call: Sendable {
        let name: LockName
        let kind: LockClaim.Kind
        let lease: Duration
        /// `nil`: without limit. Zero: do not wait at all.
        let waitingAtMost: Duration?
        let holdingAtMost: Duration?
        let metadata: OwnerMetadata

        var joinsQueue: Bool { self.waitingAtMost.map { $0 > .zero } ?? true }
    }

    func checked(
        _ name: some LockNameConvertible,
        kind: LockClaim.Kind = .exclusive,
        lease: Duration?,
        waitingAtMost: Duration?,
        holdingAtMost: Duration?,
        metadata: OwnerMetadata?
    ) throws(LockError) -> Call {
        let lease = lease ?? self.configuration.lease
        let capabilities = self.backend.capabilities
        guard capabilities.kinds.contains(kind) else {
            throw LockError(.invalidConfiguration, "this backend (\(capabilities.kind)) knows no such kind of lock")
        }
        let range = capabilities.leaseRange
        guard range.contains(lease) else {
            throw LockError(
                .invalidConfiguration,
                "a lease on this backend lasts from \(range.lowerBound.brief) to \(range.upperBound.brief), not \(lease.brief)"
            )
        }
        if let waitingAtMost, waitingAtMost < .zero {
            throw LockError(
                .invalidConfiguration, "the time to wait must not be negative, it is \(waitingAtMost / .seconds(1)) s")
        }
        if let holdingAtMost, holdingAtMost <= .zero {
            throw LockError(
                .invalidConfiguration, "the time to hold must be positive, it is \(holdingAtMost / .seconds(1)) s")
        }
        return Call(
            name: try name.lockName(),
            kind: kind,
            lease: lease,
            waitingAtMost: waitingAtMost,
            holdingAtMost: holdingAtMost,
            metadata: metadata ?? self.configuration.metadata
        )
    }

    /// Acquires, however many attempts it takes within the caller's time.
    func obtain(_ call: Call) async throws -> Hold {
        guard self.tracing.isOn,
            let span = self.tracing.start("lock.acquire", name: call.name, backend: self.backend.capabilities.kind)
        else { return try await self.untracedObtain(call) }
        do {
            let hold = try await self.untracedObtain(call)
            span.end()
            return hold
        } catch {
            span.end(throwing: error)
            throw error
        }
    }

    @inline(__always)
    private func untracedObtain(_ call: Call) async throws -> Hold {
        let started = self.now()
        let deadline = call.waitingAtMost.flatMap { call.joinsQueue ? started + $0 : nil }
        do {
            if !self.engine.ask({ $0.isRunning }) {
                let startDeadline = started + self.configuration.startTimeout
                try await self.waitUntilRunning(until: deadline.map { min($0, startDeadline) } ?? startDeadline)
            }
            var machine = CallStateMachine(joinsQueue: call.joinsQueue, deadline: deadline)
            while true {
                try Task.checkCancellation()
                switch await self.attempt(call, deadline: deadline) {
                case .startAnew(let claim):
                    self.engine.feed { $0.attemptOver(claim) }
                    let pause = machine.placeWasLost(jitter: self.environment.fraction())
                    try await self.pauseBeforeAnew(pause, call, machine, deadline: deadline)
                case .finished(.granted, let claim) where Task.isCancelled:
                    self.engine.cleanUp(claim)
                    throw CancellationError()
                case .finished(.granted(let grant), let claim):
                    switch try self.hold(claim, grant: grant, call: call) {
                    case .held(let hold):
                        self.metrics.acquireWait.record(quickly: hold.grantedAt - started)
                        return hold
                    case .hasEnded(let reason):
                        let (now, jitter) = (self.now(), self.environment.fraction())
                        guard let pause = machine.grantHadEnded(reason, now: now, jitter: jitter) else {
                            self.metrics.lost.increment()
                            throw LockError.lost(reason, name: call.name, token: grant.token)
                        }
                        try await self.pauseBeforeAnew(pause, call, machine, deadline: deadline)
                    }
                case .finished(.failed(let failure, let withdraw), let claim):
                    if withdraw { self.engine.cleanUp(claim) } else { self.engine.feed { $0.attemptOver(claim) } }
                    switch failure {
                    case .timedOut, .noAnswer: throw await self.timedOut(call, failure)
                    case .error, .cancelled, .clientStopped: throw self.error(of: failure, call: call)
                    }
                }
            }
        } catch {
            self.metrics.acquireFailures.increment()
            guard let lockError = error as? LockError else { throw error }
            if lockError.code == .outcomeUnknown { self.metrics.outcomeUnknown.increment() }
            if lockError.code == .cancelled { throw CancellationError() }
            throw lockError
        }
    }

    /// Waits before a call asks anew.
    private func pauseBeforeAnew(
        _ pause: Duration, _ call: Call, _ machine: CallStateMachine, deadline: BootInstant?
    ) async throws {
        if pause > .zero {
            let end = self.now() + pause
            try await self.time.sleep(until: deadline.map { min($0, end) } ?? end)
        }
        if machine.isOver(at: self.now()) { throw await self.timedOut(call, .timedOut(heldBy: [])) }
    }

    /// What became of an attempt, and whose claim it was.
    private enum ClaimEnd {
        case startAnew(LockClaim)
        case finished(AcquireStateMachine.Outcome, LockClaim)
    }

    /// One owner, one request (sent again if its outcome is unknown), and the wait in the queue.
    ///
    /// The attempt stays known until its end has been dealt with: see ``AttemptTable``.
    @inline(__always)
    private func attempt(_ call: Call, deadline: BootInstant?) async -> ClaimEnd {
        let exchangeDeadline = call.joinsQueue ? deadline : self.now() + self.configuration.requestTimeout
        let (claim, wake) = self.engine.beginAttempt(call, latest: exchangeDeadline, deadline: deadline)
        guard let wake else { return .finished(.failed(.clientStopped, withdraw: false), claim) }
        if wake { self.engine.wake() }
        while true {
            let request = AcquireRequest(
                claim: claim,
                joinsQueue: call.joinsQueue,
                latest: exchangeDeadline
            )
            let pause: Duration
            do {
                let reply = try await self.backend.request(request)
                switch self.engine.ask({ $0.replyArrived(reply, for: claim.attempt) }) {
                case .finish(let outcome): return .finished(outcome, claim)
                case .startAnew: return .startAnew(claim)
                case .wait:
                    self.engine.reportWait(claim)
                    return self.claimEnd(await self.engine.end(of: claim.attempt), claim)
                case .withdraw: return self.endSeenElsewhere(claim)
                }
            } catch {
                switch self.requestFailed(error, for: claim.attempt) {
                case .finish(let outcome): return .finished(outcome, claim)
                case .withdraw: return self.endSeenElsewhere(claim)
                case .retry(let after): pause = after
                }
            }
            if Task.isCancelled { self.engine.feed { $0.cancelled(claim.attempt) } }
            await self.pause(claim, for: pause)
            guard self.engine.ask({ $0.retryStarted(claim.attempt) }) else { return self.endSeenElsewhere(claim) }
        }
    }

    private func requestFailed(_ error: LockError, for attempt: AttemptID) -> AcquireStateMachine.FailureAction {
        let now = self.now()
        let jitter = self.environment.fraction()
        return self.engine.ask { $0.requestFailed(error, for: attempt, now: now, jitter: jitter) }
    }

    /// Waits before the same request is sent again; an end of the attempt (a grant may come) ends the wait.
    private func pause(_ claim: LockClaim, for pause: Duration) async {
        await withTaskGroup(of: Void.self) { group in
            let end = self.now() + pause
            group.addTask { [time] in try? await time.sleep(until: end) }
            group.addTask { [engine] in await engine.waitForEnd(of: claim.attempt) }
            await group.next()
            group.cancelAll()
        }
    }

    /// The attempt was ended by a deadline, by cancellation or by the end of the client while a request was out: that end
    /// says to withdraw whatever the request has left on the store.
    private func endSeenElsewhere(_ claim: LockClaim) -> ClaimEnd {
        self.claimEnd(self.engine.ask { $0.end(of: claim.attempt) }, claim)
    }

    private func claimEnd(_ end: AttemptEnd?, _ claim: LockClaim) -> ClaimEnd {
        switch end {
        case .finished(let outcome): return .finished(outcome, claim)
        case .startAnew: return .startAnew(claim)
        case nil: preconditionFailure("attempt \(claim.attempt) is over without an end")
        }
    }

    private enum Taken {
        case held(Hold)
        /// It had ended by the time that it came.
        case hasEnded(LockError.LossReason)
    }

    /// Turns a grant into something held, or refuses it.
    private func hold(_ claim: LockClaim, grant: LockGrant, call: Call) throws(LockError) -> Taken {
        let now = self.now()
        let hold = Hold(claim: claim, grant: grant, grantedAt: now, time: self.time)
        let verdict = self.engine.ask { $0.taken(claim, grant, as: hold, holdingAtMost: call.holdingAtMost, now: now) }
        switch verdict {
        case .held(let wake):
            if wake { self.engine.wake() }
            return .held(hold)
        case .hasEnded(let reason):
            self.engine.cleanUp(claim)
            self.logger.info(
                "a grant had ended by the time that it came",
                metadata: [
                    LogKey.name: "\(claim.name)", LogKey.token: "\(grant.token)", LogKey.reason: "\(reason.rawValue)",
                ]
            )
            return .hasEnded(reason)
        case .stopped:
            self.engine.cleanUp(claim)
            throw self.stoppedError()
        case .refused(let highest):
            self.engine.cleanUp(claim)
            self.logger.error(
                "a grant was refused: its fencing token does not rise",
                metadata: [
                    LogKey.name: "\(claim.name)", LogKey.token: "\(grant.token)", "lock.token.highest": "\(highest)",
                ]
            )
            throw LockError(
                .serverRefused,
                "the backend granted '\(claim.name)' with token \(grant.token), which is not above \(highest) seen before"
            )
        }
    }
}
