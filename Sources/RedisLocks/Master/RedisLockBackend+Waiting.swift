import DistributedLocks
import LockKernel
import LockTransport
import Logging
import Synchronization

/// The shell of ``WaitingStateMachine``: sends touches, and tells the client what was found.
extension RedisLockBackend {
    func connected(_ id: RedisConnectionID) {
        let isFound = self.monitor != nil
        let touches = self.state.withLock { state in
            state.connection = id
            // Another server has another clock, which nobody has stepped.
            if isFound || state.mayBeAnother { state.clock = ServerClock(origin: self.environment.now) }
            state.mayBeAnother = false
            return state.waiting.connected()
        }
        self.touch(touches)
        // It may have been restarted without its data, or be another one.
        self.tell(.reconnected)
        self.lookAtSettings(on: id)
    }

    func pushed(_ elements: [RESPValue], connection: RedisConnectionID) {
        guard var message = PushedMessage(elements, hasEpochs: self.monitor != nil) else { return }
        // What was pushed is not confirmed: only the asking connection's own writes can be.
        if self.confirmsGrants, case .granted(let owner, _) = message { message = .handedOver(owner) }
        let now = self.environment.now
        let (action, pokes) = self.state.withLock { state in
            (state.waiting.pushed(message, connection: connection, now: now), state.needsPoke())
        }
        if pokes { self.alarm.poke() }
        self.perform(action)
    }

    func perform(_ action: WaitingStateMachine.PushAction) {
        switch action {
        case .grant(let attempt, let token, let validUntil):
            self.tell(.granted(attempt, LockGrant(token: token, tokenDomain: .clock, validity: validUntil)))
        case .touch(let attempt):
            self.touch([WaitingStateMachine.Touch(attempt: attempt)])
        case .lost(let attempt):
            self.tell(.lost(attempt, .broken))
        case .ignore:
            break
        }
    }

    func touch(_ touches: [WaitingStateMachine.Touch]) {
        for touch in touches {
            let found = self.state.withLock { state in
                state.waiting.claim(touch.attempt).map {
                    ($0, state.suffixes.bytes(of: $0.owner.metadata))
                }
            }
            guard let (claim, suffix) = found else { continue }
            self.touch(claim, suffix: suffix)
        }
    }

    private func touch(_ claim: LockClaim, suffix: [UInt8]) {
        let key: String
        do {
            key = try self.configuration.key(of: claim.name)
        } catch {
            preconditionFailure("a claim with a name that no request can have had: \(error)")
        }
        let command = self.scripts.touch.command(
            key: key,
            [
                .owner(claim.owner.secret, suffix: suffix),
                .number(claim.lease.wholeMilliseconds),
                .number(WaitingStateMachine.registration(lease: claim.lease).wholeMilliseconds),
            ]
        )
        // Where grants are confirmed, the connection may be kept waiting for replicas.
        let patience = self.confirmsGrants ? nil : self.patience(lease: claim.lease, self.client)
        self.client.submit(command, deadline: self.deadline(nil, patience: patience)) { [weak self] result in
            guard let self else { return }
            if result.isUnanswered, let patience { self.heardNothing(for: patience, self.client) }
            self.touched(claim, result)
        }
    }

    private func touched(_ claim: LockClaim, _ result: Result<RedisReply, RedisError>) {
        let attempt = claim.attempt
        let reply: RedisReply
        let answer: ClaimReply
        switch result {
        case .failure(let error):
            return self.touchFailed(claim, error)
        case .success(let success):
            guard let understood = ClaimReply(success) else {
                return self.touchFailed(claim, .lastingRefusal, .strangeReply(.touch))
            }
            (reply, answer) = (success, understood)
        }
        let now = self.environment.now
        let (action, pokes) = self.state.withLock { state -> (WaitingStateMachine.TouchAction, Bool) in
            state.served()
            let action = state.waiting.touchAnswered(
                attempt,
                answer,
                sentAt: reply.sentAt,
                connection: reply.connection,
                now: now
            )
            return (action, state.needsPoke())
        }
        if pokes { self.alarm.poke() }
        switch action {
        case .grant(let token, let validUntil):
            let grant = LockGrant(token: token, tokenDomain: .clock, validity: validUntil)
            if self.confirmsGrants {
                self.confirm(claim, grant, on: reply.connection)
            } else {
                self.tell(.granted(attempt, grant))
            }
        case .gone:
            self.tell(.gone(attempt))
        case .none:
            break
        }
    }

    private func touchFailed(_ claim: LockClaim, _ error: RedisError) {
        _ = self.isElsewhere(error, self.client)
        if error.isPassingRefusal {
            self.logRefusal(error)
            self.touchFailed(claim, .passingRefusal, LockError(error, calling: self.scripts.touch))
        } else {
            self.touchFailed(
                claim,
                error.isLastingRefusal ? .lastingRefusal : .noAnswer,
                LockError(error, calling: self.scripts.touch)
            )
        }
    }

    private func touchFailed(_ claim: LockClaim, _ failure: WaitingStateMachine.TouchFailure, _ error: LockError) {
        let now = self.environment.now
        let (action, pokes) = self.state.withLock { state in
            switch failure {
            case .noAnswer: state.trouble = LockError(.unreachable, error.message)
            case .passingRefusal: state.trouble = error
            // That concerns this lock alone, and is told to who waits for it.
            case .lastingRefusal: break
            }
            return (state.waiting.touchFailed(claim.attempt, failure, now: now), state.needsPoke())
        }
        if pokes { self.alarm.poke() }
        switch action {
        case .wait: break
        case .giveUp: self.tell(.failed(claim.attempt, error))
        }
    }

    /// Once, until the server does again what it is asked: all waiters hear the same.
    func logRefusal(_ error: RedisError) {
        let isKnown = self.state.withLock { exchange(&$0.isRefusalLogged, with: true) }
        guard !isKnown else { return }
        self.logger.warning(
            "the server refuses what it is asked; whoever waits for a lock goes on waiting until it does not",
            metadata: ["lock.backend": "\(self.identity)", "redis.error": "\(error.message)"]
        )
    }

    func tell(_ event: LockEvent) {
        self.state.withLock { $0.sink }?.receive(event)
    }
}
