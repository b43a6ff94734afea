import LockKernel
import Logging
import Metrics
import ServiceLifecycle
import Synchronization

/// The shell of ``LockEngine``: the one mutex of a client, who waits, the timer loop, and the exchanges of the background.
final class EngineShell: Sendable {
    typealias Engine = LockEngine<WaitContinuation<Void>, WaitContinuation<AttemptEnd?>, Hold>

    /// All that changes. Nothing is resumed, called or awaited while the mutex is held.
    private struct State {
        var engine: Engine
        var generator: BufferedRandomNumberGenerator
    }

    private let backend: any LockBackend
    private let orderedRelease: (any OrderedRelease)?
    private let environment: Environment
    private let time: ClientTime
    private let logger: Logger
    private let metrics: LockMetrics
    private let alarm: Alarm
    private let state: Mutex<State>

    init(
        backend: any LockBackend, configuration: LockClient.Configuration, environment: Environment, time: ClientTime,
        logger: Logger, metrics: LockMetrics
    ) {
        self.backend = backend
        self.orderedRelease = backend as? any OrderedRelease
        self.environment = environment
        self.time = time
        self.logger = logger
        self.metrics = metrics
        self.alarm = Alarm(time)
        self.state = Mutex(
            State(
                engine: Engine(capabilities: backend.capabilities, shutdownTimeout: configuration.shutdownTimeout),
                generator: BufferedRandomNumberGenerator(environment.entropy)))
    }

    // MARK: The engine

    /// The one way into the engine: feeds an event, and does what follows when the mutex has been left.
    @inline(__always) func feed(_ event: (inout Engine) -> Engine.Effects) {
        let effects = self.state.withLock { event(&$0.engine) }
        effects.forEach { self.perform($0) }
    }

    /// As ``feed(_:)``, for events that are answered by a value besides.
    @inline(__always) private func feed<Answer>(_ event: (inout Engine) -> (Answer, effects: Engine.Effects)) -> Answer
    {
        let (answer, effects) = self.state.withLock { event(&$0.engine) }
        effects.forEach { self.perform($0) }
        return answer
    }

    /// As ``feed(_:)``, for events that are answered by a value alone.
    @inline(__always) func ask<Answer>(_ question: (inout Engine) -> Answer) -> Answer {
        self.state.withLock { question(&$0.engine) }
    }

    /// Begins an attempt, with an owner of its own. `nil` beside the claim if the client does not run.
    @inline(__always) func beginAttempt(
        _ call: LockClient.Call, latest: BootInstant?, deadline: BootInstant?
    ) -> (LockClaim, wake: Bool?) {
        self.state.withLock { state in
            let claim = LockClaim(
                attempt: AttemptID(rawValue: state.engine.makeID()),
                name: call.name,
                owner: LockOwner(secret: LockOwner.Secret(using: &state.generator), metadata: call.metadata),
                lease: call.lease,
                kind: call.kind
            )
            return (claim, state.engine.attemptBegan(claim, latest: latest, deadline: deadline))
        }
    }

    /// Wakes the timer loop.
    func wake() { self.alarm.poke() }

    func cleanUp(_ claim: LockClaim) {
        let now = self.time.now()
        self.feed { $0.cleanUpWanted(claim, now: now) }
    }

    /// Takes an event from the backend, on whatever thread that has heard it.
    func receive(_ event: LockEvent) {
        let now = self.time.now()
        self.feed { $0.told(event, now: now) }
    }

    /// Declares a grant lost: its body is cancelled now. The hold stays known until its holder lets go of it.
    func lose(_ hold: Hold, _ reason: LockError.LossReason) {
        guard self.ask({ $0.lossFound(hold.claim.attempt) }), hold.lost(reason) else { return }
        let now = self.time.now()
        self.feed { $0.lossDeclared(hold.claim, now: now) }
        self.metrics.lost.increment()
        self.logger.warning(
            "a lock was lost",
            metadata: [
                LogKey.name: "\(hold.claim.name)", LogKey.token: "\(hold.token)", LogKey.reason: "\(reason.rawValue)",
            ]
        )
    }

    private func perform(_ effect: Engine.Effect) {
        switch effect {
        case .start(let starter): starter.resume()
        case .resume(let waiter, let end): waiter.resume(returning: end)
        case .lose(let hold, let reason): self.lose(hold, reason)
        case .end(let hold): hold.lost(.clientStopped)
        case .takeBack(let hold):
            hold.lost(.clientStopped)
            self.cleanUp(hold.claim)
        case .cleanUp(let claim): self.cleanUp(claim)
        case .extend(let hold, let until): hold.extended(until: until)
        case .releaseUnremembered(let claim): self.releaseUnremembered(claim)
        case .reportWait(let claim, let holders): self.reportWait(claim, for: holders)
        case .reportAbandoned(let claim): self.warn("a claim could not be taken back before its lease ended", claim)
        case .wake: self.alarm.poke()
        }
    }

    /// Tells people whom a call waits for, as far as that is known.
    func reportWait(_ claim: LockClaim) {
        guard self.logger.logLevel <= .debug else { return }
        self.reportWait(claim, for: self.ask { $0.holders(of: claim.attempt) })
    }

    private func reportWait(_ claim: LockClaim, for holders: [OwnerMetadata]) {
        self.logger.debug(
            "waits for a lock",
            metadata: [
                LogKey.name: "\(claim.name)", LogKey.attempt: "\(claim.attempt)",
                LogKey.holder: "\(holders.isEmpty ? "unknown" : OwnerMetadata.list(holders))",
            ]
        )
    }

    private func releaseUnremembered(_ claim: LockClaim) {
        if self.orderedRelease?.releaseInOrder(claim, heldFor: .zero, ended: { _ in }) == true { return }
        self.warn("too many claims to take back: this one ends with its lease", claim)
    }

    private func warn(_ message: Logger.Message, _ claim: LockClaim) {
        self.logger.warning(message, metadata: [LogKey.name: "\(claim.name)", LogKey.attempt: "\(claim.attempt)"])
    }

    // MARK: Who waits

    /// Waits until ``run()`` has started, or until the task is cancelled.
    func waitForStart() async {
        let key = self.ask { $0.makeID() }
        await withWaitContinuation(
            givingUp: { self.ask { $0.startNoLongerAwaited(key) }?.resume() }
        ) { continuation in
            if !self.ask({ $0.startAwaited(key, by: continuation) }) { continuation.resume() }
        }
    }

    /// Waits until the attempt has an end, or until the task is cancelled.
    func waitForEnd(of attempt: AttemptID) async {
        let _: AttemptEnd? = await withWaitContinuation(
            givingUp: { self.ask { $0.endNoLongerAwaited(attempt) }?.resume(returning: nil) }
        ) { continuation in
            if let end = self.ask({ $0.endAwaited(attempt, by: continuation) }) { continuation.resume(returning: end) }
        }
    }

    /// Waits for the end of an attempt; cancellation is one.
    func end(of attempt: AttemptID) async -> AttemptEnd? {
        await withWaitContinuation(
            givingUp: { self.feed { $0.cancelled(attempt) } }
        ) { continuation in
            if let end = self.ask({ $0.endAwaited(attempt, by: continuation) }) { continuation.resume(returning: end) }
        }
    }

    // MARK: The background

    /// See ``LockClient/run()``.
    func run() async throws {
        guard self.ask({ $0.runCalled() }) else { throw LockError(.clientNotRunning, "a lock client runs once") }
        let relay = EventRelay(to: self)
        defer { relay.end() }
        self.backend.start(delivering: relay)
        // The work outlives the cancellation of run() by as long as it takes to release what is held, so it is a task of
        // its own, which is awaited here.
        let work = Task(executorPreference: self.environment.threads.keeper) { try await self.work() }
        try await withTaskCancellationHandler {
            try await withGracefulShutdownHandler {
                try await work.value
            } onGracefulShutdown: {
                self.stop()
            }
        } onCancel: {
            self.stop()
        }
    }

    /// Tells everybody that the client stops.
    private func stop() { self.feed { $0.stopWanted() } }

    private func work() async throws {
        self.feed { $0.started() }
        defer { self.feed { $0.ended() } }
        let failure = await withTaskGroup(of: Part.self) { group in
            group.addTask {
                do {
                    try await self.backend.run()
                    return .backend(nil)
                } catch {
                    return .backend(error)
                }
            }
            group.addTask {
                await self.keepTime()
                return .timer
            }
            var failure: (any Error)?
            for await part in group {
                switch part {
                case .timer:
                    // Nothing is left to be done: the backend ends last.
                    group.cancelAll()
                    return failure
                case .backend(let error):
                    // A backend's run() that returns by itself has nothing to do in the background.
                    guard let error, !(error is CancellationError) else { continue }
                    self.logger.error("the lock backend ended", metadata: [LogKey.error: "\(error)"])
                    failure = error
                    // What is held is released all the same, as far as the backend can do it.
                    self.stop()
                }
            }
            return failure
        }
        if let failure { throw failure }
    }

    /// What has ended of the background work, and how.
    private enum Part: Sendable {
        case timer
        case backend((any Error)?)
    }

    /// The timer loop: renewals, losses, deadlines of waiting calls, and cleaning up.
    private func keepTime() async {
        await withDiscardingTaskGroup { group in
            while true {
                let now = self.time.now()
                let due = self.feed { $0.timerFired(now: now) }
                self.metrics.held.set(due.heldCount)
                self.metrics.waiters.set(due.waiterCount)
                if !due.renewals.isEmpty { group.addTask { await self.renew(due.renewals) } }
                for claim in due.withdrawals { group.addTask { await self.withdraw(claim) } }
                if self.feed({ $0.roundEnded(now: now) }) { break }
                await self.alarm.sleep(until: self.ask { $0.slept(now: now) })
            }
            group.cancelAll()
        }
    }

    private func renew(_ renewals: [LockRenewal]) async {
        let replies = await self.backend.renew(renewals)
        let now = self.time.now()
        self.feed { $0.renewed(renewals, replies, now: now) }
        for (renewal, reply) in zip(renewals, replies) {
            switch reply {
            case .extended: self.metrics.renewals.increment()
            case .lost: break
            case .failed(let error):
                self.metrics.renewalFailures.increment()
                self.logger.info(
                    "a renewal failed and is tried again",
                    metadata: [LogKey.name: "\(renewal.claim.name)", LogKey.error: "\(error)"]
                )
            }
        }
    }

    private func withdraw(_ claim: LockClaim) async {
        do {
            try await self.backend.withdraw(claim)
            self.feed { $0.withdrawn(claim.attempt) }
        } catch {
            let (now, jitter) = (self.time.now(), self.environment.fraction())
            self.feed { $0.withdrawalFailed(claim.attempt, now: now, jitter: jitter) }
        }
    }
}
