import LockKernel
import Logging
import Metrics
import Synchronization
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

        var joinsQueue: Bool { self.waitingAtMost.map { $0 > .zero } ?? true }
    }

    func checked(
        _ name: some LockNameConvertible,
        kind: LockClaim.Kind = .exclusive,
        lease: Duration?,
        waitingAtMost: Duration?,
        holdingAtMost: Duration?
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
            holdingAtMost: holdingAtMost
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
            if !self.isRunning {
                let startDeadline = started + self.configuration.startTimeout
                try await self.waitUntilRunning(until: deadline.map { min($0, startDeadline) } ?? startDeadline)
            }
            var anews = 0
            var endedGrants = 0
            while true {
                try Task.checkCancellation()
                switch await self.attempt(call, deadline: deadline) {
                case .startAnew(let claim):
                    self.forgetAttempt(claim)
                    anews += 1
                    try await self.pauseBeforeAnew(anews, call, deadline: deadline)
                case .finished(.granted, let claim) where Task.isCancelled:
                    self.cleanUp(claim)
                    throw CancellationError()
                case .finished(.granted(let grant), let claim):
                    switch try self.hold(claim, grant: grant, call: call) {
                    case .held(let hold):
                        self.metrics.acquireWait.record(quickly: hold.grantedAt - started)
                        return hold
                    case .hasEnded(let reason):
                        endedGrants += 1
                        let mayAsk = call.joinsQueue && (deadline.map { self.now() < $0 } ?? true)
                        guard mayAsk, reason != .broken, endedGrants <= Self.maximumEndedGrants else {
                            self.metrics.lost.increment()
                            throw LockError.lost(reason, name: call.name, token: grant.token)
                        }
                        anews += 1
                        try await self.pauseBeforeAnew(anews, call, deadline: deadline)
                    }
                case .finished(.failed(let failure, let withdraw), let claim):
                    if withdraw { self.cleanUp(claim) } else { self.forgetAttempt(claim) }
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

    /// A call asks anew after so many grants that had ended by the time that they came. More of them are not bad luck: the lease
    /// is shorter than the way to the store and back.
    private static let maximumEndedGrants = 5

    /// Waits before a call asks anew, but not the first time: a store that goes on forgetting must not be asked in a circle.
    private func pauseBeforeAnew(_ anews: Int, _ call: Call, deadline: BootInstant?) async throws {
        if anews > 1 {
            let pause = AcquireStateMachine.pause(afterFailures: anews - 1, jitter: self.environment.fraction())
            let end = self.now() + pause
            try await self.time.sleep(until: deadline.map { min($0, end) } ?? end)
        }
        if let deadline, self.now() >= deadline { throw await self.timedOut(call, .timedOut) }
    }

    private enum AttemptEnd {
        case startAnew(LockClaim)
        case finished(AcquireStateMachine.Outcome, LockClaim)
    }

    /// One owner, one request (sent again if its outcome is unknown), and the wait in the queue.
    ///
    /// The attempt stays known until its end has been dealt with, in one step with that: a client that stops in between
    /// must see that something is left to do, and a grant may be lost in between.
    @inline(__always)
    private func attempt(_ call: Call, deadline: BootInstant?) async -> AttemptEnd {
        let exchangeDeadline = call.joinsQueue ? deadline : self.now() + self.configuration.requestTimeout
        let (claim, isRunning, pokes) = self.state.withLock { state in
            let claim = LockClaim(
                attempt: AttemptID(rawValue: state.makeID()),
                name: call.name,
                owner: LockOwner(
                    secret: LockOwner.Secret(using: &state.generator),
                    metadata: self.configuration.metadata
                ),
                lease: call.lease,
                kind: call.kind
            )
            guard case .running = state.lifecycle else { return (claim, false, false) }
            state.attempts[claim.attempt] = State.Attempt(
                machine: AcquireStateMachine(latest: exchangeDeadline),
                claim: claim,
                deadline: deadline
            )
            if let deadline { state.attemptDeadlines.set(claim.attempt, to: deadline) }
            return (claim, true, deadline != nil && state.needsPoke())
        }
        guard isRunning else { return .finished(.failed(.clientStopped, withdraw: false), claim) }
        if pokes { self.alarm.poke() }
        while true {
            let request = AcquireRequest(
                claim: claim,
                joinsQueue: call.joinsQueue,
                latest: exchangeDeadline
            )
            let pause: Duration
            do {
                let reply = try await self.backend.request(request)
                switch self.state.withLock({ $0.replyArrived(reply, for: claim.attempt) }) {
                case .finish(let outcome): return .finished(outcome, claim)
                case .startAnew: return .startAnew(claim)
                case .wait: return await self.waitInQueue(claim)
                case .withdraw: return self.endSeenElsewhere(claim)
                }
            } catch {
                switch self.requestFailed(error, for: claim.attempt) {
                case .finish(let outcome): return .finished(outcome, claim)
                case .withdraw: return self.endSeenElsewhere(claim)
                case .retry(let after): pause = after
                }
            }
            if Task.isCancelled { self.abandon(claim.attempt) { $0.cancelled() } }
            await self.pause(claim, for: pause)
            guard self.state.withLock({ $0.attempts[claim.attempt]?.machine.retryStarted() ?? false }) else {
                return self.endSeenElsewhere(claim)
            }
        }
    }

    /// How many callers wait in a queue and know it. A store knows of a waiter before its client hears that it is queued.
    package var queuedCount: Int {
        self.state.withLock { state in state.attempts.values.count { $0.machine.isQueued } }
    }

    private func requestFailed(_ error: LockError, for attempt: AttemptID) -> AcquireStateMachine.FailureAction {
        let now = self.now()
        let jitter = self.environment.fraction()
        return self.state.withLock { $0.requestFailed(error, for: attempt, now: now, jitter: jitter) }
    }

    /// Waits before the same request is sent again; an end of the attempt (a grant may come) ends the wait.
    private func pause(_ claim: LockClaim, for pause: Duration) async {
        await withTaskGroup(of: Void.self) { group in
            let end = self.now() + pause
            group.addTask { [time] in try? await time.sleep(until: end) }
            group.addTask { await self.waitForEnd(of: claim) }
            await group.next()
            group.cancelAll()
        }
    }

    /// Waits until the attempt has an end, or until the task is cancelled.
    private func waitForEnd(of claim: LockClaim) async {
        let giveUp: @Sendable () -> Void = {
            self.state.withLock { $0.attempts[claim.attempt]?.waiter.take() }?.resume(returning: nil)
        }
        let _: State.WaitEnd? = await withWaitContinuation(givingUp: giveUp) { continuation in
            let isOver = self.state.withLock { state in
                guard let index = state.attempts.index(forKey: claim.attempt), state.attempts.values[index].end == nil
                else { return true }
                state.attempts.values[index].waiter = continuation
                return false
            }
            if isOver { continuation.resume(returning: nil) }
        }
    }

    /// The attempt was ended by a deadline, by cancellation or by the end of the client while a request was out: that end
    /// says to withdraw whatever the request has left on the store.
    private func endSeenElsewhere(_ claim: LockClaim) -> AttemptEnd {
        let end = self.state.withLock { state in state.attempts[claim.attempt]?.end }
        switch end {
        case .finished(let outcome): return .finished(outcome, claim)
        case .startAnew: return .startAnew(claim)
        case nil: preconditionFailure("attempt \(claim.attempt) finished without an end")
        }
    }

    private func waitInQueue(_ claim: LockClaim) async -> AttemptEnd {
        let end: State.WaitEnd? = await withWaitContinuation(
            givingUp: { self.abandon(claim.attempt) { $0.cancelled() } }
        ) { continuation in
            let end = self.state.withLock { state -> State.WaitEnd? in
                if let end = state.attempts[claim.attempt]?.end { return end }
                state.attempts[claim.attempt]?.waiter = continuation
                return nil
            }
            if let end { continuation.resume(returning: end) }
        }
        switch end {
        case .finished(let outcome): return .finished(outcome, claim)
        case .startAnew: return .startAnew(claim)
        case nil: preconditionFailure("attempt \(claim.attempt) was woken without an end")
        }
    }

    /// Feeds an event into an attempt, and wakes whoever waits for it.
    func abandon(
        _ attempt: AttemptID,
        _ event: (inout AcquireStateMachine) -> AcquireStateMachine.EventAction
    ) {
        let (waiter, end) = self.state.withLock { $0.feed(attempt, event) }
        if let waiter, let end { waiter.resume(returning: end) }
    }

    /// The attempt is over, and the store knows nothing of it, unless a grant came after all.
    private func forgetAttempt(_ claim: LockClaim) {
        let (isStray, isStopping) = self.state.withLock { state in
            let isStray = state.attempts[claim.attempt]?.isStray ?? false
            if !isStray { state.removeAttempt(claim.attempt) }
            return (isStray, state.isStopping)
        }
        if isStray {
            self.cleanUp(claim)
        } else if isStopping {
            self.alarm.poke()
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
        enum Verdict {
            case held(pokes: Bool)
            case hasEnded(LockError.LossReason)
            case refused(highest: FencingToken)
            case stopped
        }
        let verdict = self.state.withLock { state -> Verdict in
            guard case .running = state.lifecycle else { return .stopped }
            // First of all: a grant that has ended may have been overtaken by a later one, and says nothing of the backend.
            if now >= grant.validity { return .hasEnded(.leaseExpired) }
            if let loss = state.loss(of: claim.attempt) { return .hasEnded(loss) }
            if let highest = state.highWater.refusal(of: grant.token, name: claim.name, domain: grant.tokenDomain) {
                return .refused(highest: highest)
            }
            state.removeAttempt(claim.attempt)
            state.holds[claim.attempt] = hold
            state.keeper.held(
                claim,
                validUntil: grant.validity,
                holdUntil: call.holdingAtMost.map { now + $0 },
                now: now
            )
            return .held(pokes: state.needsPoke())
        }
        switch verdict {
        case .held(let pokes):
            if pokes { self.alarm.poke() }
            return .held(hold)
        case .hasEnded(let reason):
            self.cleanUp(claim)
            self.logger.info(
                "a grant had ended by the time that it came",
                metadata: [
                    LogKey.name: "\(claim.name)", LogKey.token: "\(grant.token)", LogKey.reason: "\(reason.rawValue)",
                ]
            )
            return .hasEnded(reason)
        case .stopped:
            self.cleanUp(claim)
            throw self.stoppedError()
        case .refused(let highest):
            self.cleanUp(claim)
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
