import LockKernel
import Synchronization

/// One grant of this client: what the keeper, the body and the handle share.
final class Hold: Sendable {
    /// The task that runs a body, for as long as it runs it.
    ///
    /// `UnsafeCurrentTask` may be used by other tasks for `cancel()` alone, and only while its task runs. The state
    /// machine guarantees the second: a body that ends while it is being cancelled waits until that is over.
    class BodyTask: @unchecked Sendable {
        /// There from before the state machine hears of the body until nobody can cancel it any more.
        final var task: UnsafeCurrentTask?

        fileprivate final func cancel() {
            guard let task = self.task else { preconditionFailure("a body that runs has a task") }
            task.cancel()
        }
    }

    // Unchecked continuations have a size that the compiler knows (see BootInstant). Each is taken out of the state under the
    // mutex by the one who resumes it.
    private typealias Machine = HoldStateMachine<
        BodyTask, WaitContinuation<Void>, WaitContinuation<AwaitedEnd>
    >

    /// How a wait for the end of the grant ended.
    private enum AwaitedEnd: Sendable {
        case lost(LockError.LossReason)
        case released
        /// Who waited was cancelled.
        case cancelled

        init(_ loss: LockError.LossReason?) { self = loss.map { .lost($0) } ?? .released }
    }

    private struct State {
        var machine: Machine
        /// Who wants to hear of each new validity deadline. Most grants have nobody.
        var listeners: [AsyncStream<ContinuousClock.Instant>.Continuation] = []
        var areListenersDone = false

        mutating func takeListeners() -> [AsyncStream<ContinuousClock.Instant>.Continuation] {
            self.areListenersDone = true
            if self.listeners.isEmpty { return [] }
            defer { self.listeners = [] }
            return self.listeners
        }
    }

    let claim: LockClaim
    let token: FencingToken
    let tokenDomain: TokenDomain
    let grantedAt: BootInstant
    let time: ClientTime
    private let state: Mutex<State>
    private let nextKey = Atomic<UInt64>(0)

    init(claim: LockClaim, grant: LockGrant, grantedAt: BootInstant, time: ClientTime) {
        self.claim = claim
        self.token = grant.token
        self.tokenDomain = grant.tokenDomain
        self.grantedAt = grantedAt
        self.time = time
        self.state = Mutex(State(machine: Machine(validUntil: grant.validity)))
    }

    private func now() -> BootInstant { self.time.now() }

    var validUntil: BootInstant { self.state.withLock { $0.machine.validUntil } }

    var hasRunningBody: Bool { self.state.withLock { $0.machine.hasRunningBody } }

    /// Why the grant cannot be relied on now; `nil` if it can.
    func loss() -> LockError.LossReason? {
        let now = self.now()
        return self.state.withLock { $0.machine.loss(at: now) }
    }

    /// Whether the holder gave it back while it was valid.
    var isReleased: Bool { self.state.withLock { $0.machine.end == .released } }

    /// Whether it can be relied on at this instant: it was neither lost nor released.
    var isValid: Bool {
        let now = self.now()
        return self.state.withLock { $0.machine.end == nil && $0.machine.loss(at: now) == nil }
    }

    func checkValid() throws(LockError) {
        if let reason = self.loss() {
            throw .lost(reason, name: self.claim.name, token: self.token)
        }
        if self.isReleased {
            throw LockError(.notHeld, "the lock '\(self.claim.name)' (token \(self.token)) was released")
        }
    }

    func extended(until: BootInstant) {
        let listeners = self.state.withLock { state in
            state.machine.extended(until: until)
            return state.listeners
        }
        for listener in listeners { listener.yield(until.continuous) }
    }

    /// Whether the grant can be relied on at this instant, and its body has not ended.
    var isValidForBody: Bool {
        let now = self.now()
        return self.state.withLock { $0.machine.hasRunningBody && $0.machine.loss(at: now) == nil }
    }

    /// As ``checkValid()``, and not after the body has ended.
    func checkValidForBody() throws(LockError) {
        try self.checkValid()
        if !self.hasRunningBody {
            throw LockError(.notHeld, "the body that held '\(self.claim.name)' (token \(self.token)) has ended")
        }
    }

    /// Ends the grant, and has the body cancelled that runs under it. False if it had ended before.
    ///
    /// No code of others runs before this returns.
    @discardableResult
    func lost(_ reason: LockError.LossReason) -> Bool {
        let (isFirst, action, listeners) = self.state.withLock { state in
            (state.machine.end == nil, state.machine.lost(reason), state.takeListeners())
        }
        for waiter in action.wake { waiter.resume(returning: .lost(reason)) }
        for listener in listeners { listener.finish() }
        if action.cancelsBody {
            let threads = self.time.environment.threads
            threads.cancellations.add(threads) { self.cancelBody() }
        }
        return isFirst
    }

    /// Cancels the body of a grant that was lost. Its handlers run on this thread.
    func cancelBody() {
        guard let body = self.state.withLock({ $0.machine.bodyCancellationBegan() }) else { return }
        body.cancel()
        self.state.withLock { $0.machine.bodyCancelled() }?.resume()
    }

    /// The holder gives the grant back.
    ///
    /// - Returns: Whether it had not ended before, and why it cannot be relied on at this instant.
    func released() -> (isFirst: Bool, loss: LockError.LossReason?) {
        let now = self.now()
        let (isFirst, wake, loss, listeners) = self.state.withLock { state in
            let (isFirst, wake) = state.machine.released(at: now)
            return (isFirst, wake, state.machine.loss(at: now), state.takeListeners())
        }
        for waiter in wake { waiter.resume(returning: AwaitedEnd(loss)) }
        for listener in listeners { listener.finish() }
        return (isFirst, loss)
    }

    /// A body starts in this task, which is cancelled the moment the grant is lost, and must not end before
    /// ``bodyEnded()`` has returned.
    func bodyStarted(in body: BodyTask) {
        if self.state.withLock({ $0.machine.bodyStarted(body) }) { body.cancel() }
    }

    /// The body has returned or thrown. False if a cancellation is under way that has to be waited for:
    /// ``bodyCancellationEnded()``.
    func bodyEnded() -> Bool { self.state.withLock { $0.machine.bodyEnded() } }

    /// Waits for the cancellation that was under way when the body ended.
    func bodyCancellationEnded() async {
        await withWaitContinuation { continuation in
            if !self.state.withLock({ $0.machine.bodyWaits(continuation) }) { continuation.resume() }
        }
    }

    /// Waits for the end of the grant: the reason if it was lost, `nil` if it was released.
    func awaitLoss() async throws(CancellationError) -> LockError.LossReason? {
        let key = self.nextKey.add(1, ordering: .relaxed).newValue
        let end: AwaitedEnd = await withWaitContinuation(givingUp: { self.noLongerAwaited(key) }) { continuation in
            switch self.state.withLock({ $0.machine.lossAwaited(key, by: continuation) }) {
            case .lost(let reason): continuation.resume(returning: .lost(reason))
            case .released: continuation.resume(returning: .released)
            case nil: break
            }
        }
        switch end {
        case .lost(let reason): return reason
        case .released: return nil
        case .cancelled: throw CancellationError()
        }
    }

    private func noLongerAwaited(_ key: UInt64) {
        self.state.withLock { $0.machine.lossNoLongerAwaited(key) }?.resume(returning: .cancelled)
    }

    /// The validity deadlines from now on, the latest one only.
    func validityUpdates() -> AsyncStream<ContinuousClock.Instant> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: ContinuousClock.Instant.self,
            bufferingPolicy: .bufferingNewest(1)
        )
        continuation.yield(self.validUntil.continuous)
        let isOver = self.state.withLock { state in
            if state.areListenersDone || state.machine.end != nil { return true }
            state.listeners.append(continuation)
            return false
        }
        if isOver { continuation.finish() }
        return stream
    }
}
