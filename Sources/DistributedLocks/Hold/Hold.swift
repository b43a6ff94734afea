import Synchronization

/// One grant of this client: what the keeper, the body and the handle share.
final class Hold: Sendable {
    /// The task that runs a body, for as long as it runs it.
    ///
    /// `UnsafeCurrentTask` may be used by other tasks for `cancel()` alone, and only while its task runs. The state
    /// machine guarantees the second: a body that ends while it is being cancelled waits until that is over.
    struct BodyTask: @unchecked Sendable {
        let task: UnsafeCurrentTask
    }

    private typealias Machine = HoldStateMachine<
        BodyTask, CheckedContinuation<Void, Never>, CheckedContinuation<LockError.LossReason?, Never>
    >

    let claim: LockClaim
    let token: FencingToken
    let tokenDomain: TokenDomain
    let grantedAt: ContinuousClock.Instant
    let clock: any LockClock
    private let state: Mutex<Machine>
    private let nextKey = Atomic<UInt64>(0)
    private let validity = ValidityBroadcast()

    init(claim: LockClaim, grant: LockGrant, grantedAt: ContinuousClock.Instant, clock: any LockClock) {
        self.claim = claim
        self.token = grant.token
        self.tokenDomain = grant.tokenDomain
        self.grantedAt = grantedAt
        self.clock = clock
        self.state = Mutex(Machine(validUntil: grant.validUntil))
    }

    var validUntil: ContinuousClock.Instant { self.state.withLock { $0.validUntil } }

    var hasRunningBody: Bool { self.state.withLock { $0.hasRunningBody } }

    /// Why the grant cannot be relied on now; `nil` if it can.
    func loss() -> LockError.LossReason? {
        let now = self.clock.now()
        return self.state.withLock { $0.loss(at: now) }
    }

    /// Whether the holder gave it back while it was valid.
    var isReleased: Bool { self.state.withLock { $0.end == .released } }

    func checkValid() throws(LockError) {
        if let reason = self.loss() {
            throw .lost(reason, name: self.claim.name, token: self.token)
        }
        if self.isReleased {
            throw LockError(.notHeld, "the lock '\(self.claim.name)' (token \(self.token)) was released")
        }
    }

    func extended(until: ContinuousClock.Instant) {
        self.state.withLock { $0.extended(until: until) }
        self.validity.send(until)
    }

    /// Ends the grant, and cancels the body that runs under it. False if it had ended before.
    @discardableResult
    func lost(_ reason: LockError.LossReason) -> Bool {
        let (isFirst, action) = self.state.withLock { state in (state.end == nil, state.lost(reason)) }
        for waiter in action.wake { waiter.resume(returning: reason) }
        self.validity.finish()
        guard let body = action.cancelBody else { return isFirst }
        body.task.cancel()
        self.state.withLock { $0.bodyCancelled() }?.resume()
        return isFirst
    }

    /// The holder gives the grant back. False if it had ended before.
    func released() -> Bool {
        let now = self.clock.now()
        let (isFirst, wake, loss) = self.state.withLock { state in
            let (isFirst, wake) = state.released(at: now)
            return (isFirst, wake, state.loss(at: now))
        }
        for waiter in wake { waiter.resume(returning: loss) }
        self.validity.finish()
        return isFirst
    }

    /// A body starts in this task, which is cancelled the moment the grant is lost, and must not end before
    /// ``bodyEnded()`` has returned.
    func bodyStarted(in body: BodyTask) {
        if self.state.withLock({ $0.bodyStarted(body) }) { body.task.cancel() }
    }

    /// The body has returned or thrown. Waits for a cancellation that is under way.
    func bodyEnded() async {
        if self.state.withLock({ $0.bodyEnded() }) { return }
        await withCheckedContinuation { continuation in
            if !self.state.withLock({ $0.bodyWaits(continuation) }) { continuation.resume() }
        }
    }

    /// Waits for the end of the grant: the reason if it was lost, `nil` if it was released or the caller was cancelled.
    func awaitLoss() async -> LockError.LossReason? {
        let key = self.nextKey.add(1, ordering: .relaxed).newValue
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let end = self.state.withLock { $0.lossAwaited(key, by: continuation) }
                switch end {
                case .lost(let reason): continuation.resume(returning: reason)
                case .released: continuation.resume(returning: nil)
                case nil:
                    // The handler may have run before the continuation was stored.
                    if Task.isCancelled {
                        self.state.withLock { $0.lossNoLongerAwaited(key) }?.resume(returning: nil)
                    }
                }
            }
        } onCancel: {
            self.state.withLock { $0.lossNoLongerAwaited(key) }?.resume(returning: nil)
        }
    }

    /// The validity deadlines from now on, the latest one only.
    func validityUpdates() -> AsyncStream<ContinuousClock.Instant> {
        self.validity.subscribe(first: self.validUntil, isOver: self.state.withLock { $0.end != nil })
    }
}

/// Tells each new validity deadline to those who asked. Most grants have nobody who asks, and pay nothing for it.
private final class ValidityBroadcast: Sendable {
    private struct State {
        var continuations: [AsyncStream<ContinuousClock.Instant>.Continuation] = []
        var isOver = false
    }

    private let state = Mutex(State())

    func subscribe(first: ContinuousClock.Instant, isOver: Bool) -> AsyncStream<ContinuousClock.Instant> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: ContinuousClock.Instant.self,
            bufferingPolicy: .bufferingNewest(1)
        )
        continuation.yield(first)
        let isOver = self.state.withLock { state in
            state.isOver = state.isOver || isOver
            if !state.isOver { state.continuations.append(continuation) }
            return state.isOver
        }
        if isOver { continuation.finish() }
        return stream
    }

    func send(_ instant: ContinuousClock.Instant) {
        for continuation in self.state.withLock({ $0.continuations }) { continuation.yield(instant) }
    }

    func finish() {
        let continuations = self.state.withLock { state in
            defer { state.continuations = [] }
            state.isOver = true
            return state.continuations
        }
        for continuation in continuations { continuation.finish() }
    }
}
