import LockKernel
import Logging
import Metrics
public import ServiceLifecycle
import Synchronization

extension LockClient: Service {
    /// Does all background work of the client until it is cancelled or its service group shuts down gracefully.
    ///
    /// When it ends, calls that wait fail with `clientNotRunning`, holders are told that their grants are `lost` and their
    /// bodies are cancelled; within the shutdown timeout (2 s unless configured) everything that was held is released.
    /// Afterwards every call fails at once. A client runs once.
    ///
    /// - Throws: ``LockError`` if the client has run before; whatever makes the backend unable to go on.
    public func run() async throws {
        let isFirst = self.state.withLock { state in
            defer { state.isRunCalled = true }
            return !state.isRunCalled
        }
        guard isFirst else {
            throw LockError(.clientNotRunning, "a lock client runs once")
        }
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

    private func work() async throws {
        let waiters = self.state.withLock { state in
            defer { state.startWaiters = [:] }
            if case .new = state.lifecycle { state.lifecycle = .running }
            return state.startWaiters.values
        }
        for waiter in waiters { waiter.resume() }
        defer { self.end() }
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

    /// Tells everybody that the client stops.
    private func stop() {
        let (holds, attempts, startWaiters) = self.state.withLock {
            state -> ([Hold], [AttemptID], [WaitContinuation<Void>]) in
            switch state.lifecycle {
            case .new, .running: break
            case .stopping, .ended: return ([], [], [])
            }
            state.lifecycle = .stopping
            defer { state.startWaiters = [:] }
            return (Array(state.holds.values), Array(state.attempts.keys), Array(state.startWaiters.values))
        }
        for waiter in startWaiters { waiter.resume() }
        for hold in holds { self.lose(hold, .clientStopped) }
        for attempt in attempts { self.abandon(attempt) { $0.clientStopped() } }
        self.alarm.poke()
    }

    private func end() {
        let (holds, startWaiters) = self.state.withLock {
            state -> ([Hold], [WaitContinuation<Void>]) in
            state.lifecycle = .ended
            defer {
                state.startWaiters = [:]
                state.holds = [:]
            }
            return (Array(state.holds.values), Array(state.startWaiters.values))
        }
        for waiter in startWaiters { waiter.resume() }
        for hold in holds { hold.lost(.clientStopped) }
    }

    var isRunning: Bool {
        self.state.withLock { state in
            if case .running = state.lifecycle { true } else { false }
        }
    }

    /// Waits until ``run()`` has started.
    ///
    /// - Throws: `clientNotRunning` if it has ended, or has not started in time.
    func waitUntilRunning(until deadline: BootInstant) async throws(LockError) {
        enum Now { case running, ended, new }
        let now = self.state.withLock { state -> Now in
            switch state.lifecycle {
            case .running: .running
            case .stopping, .ended: .ended
            case .new: .new
            }
        }
        switch now {
        case .running: return
        case .ended: throw self.stoppedError()
        case .new: break
        }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [time] in try? await time.sleep(until: deadline) }
            group.addTask { await self.started() }
            await group.next()
            group.cancelAll()
        }
        if !self.isRunning {
            if Task.isCancelled { throw LockError(.cancelled, "cancelled while waiting for the lock client to run") }
            throw LockError(.clientNotRunning, "the lock client's run() has not been started, or it has ended")
        }
    }

    private func started() async {
        let key = self.state.withLock { $0.makeID() }
        await withWaitContinuation(
            givingUp: { self.state.withLock { $0.startWaiters.removeValue(forKey: key) }?.resume() }
        ) { continuation in
            let isOver = self.state.withLock { state in
                guard case .new = state.lifecycle else { return true }
                state.startWaiters[key] = continuation
                return false
            }
            if isOver { continuation.resume() }
        }
    }
}
