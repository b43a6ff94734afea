import Logging
import Metrics
import Tracing

extension LockClient {
    /// Runs a body under a lock.
    ///
    /// Acquires the lock, runs the body, keeps the lease renewed while the body runs, and releases the lock. The body runs
    /// on the caller's isolation, in a child task that is **cancelled the moment the grant is lost**. A body that ignores
    /// cancellation goes on without the protection of the lock: pass `held.token` to the protected resource, which refuses
    /// the writes of a stale holder.
    ///
    /// Cancelling the caller while it waits removes it from the queue; cancelling it while the body runs cancels the body,
    /// and the lock is released when the body has ended.
    ///
    /// It returns when the lock is released, or, where nothing that this client asks later can overtake the release, as soon
    /// as that is on its way: on ZooKeeper and on a Redlock always, on Redis after a body of less than 10 ms. If the store
    /// then answers that the owner did not hold the lock any more, it is logged and counted. ``LockHandle/release()`` waits
    /// for the answer in any case.
    ///
    /// - Parameters:
    ///   - name: What to lock.
    ///   - lease: How long the grant lasts unless it is renewed: the longest time for which a dead holder may block others.
    ///     `nil`: the client's default, 30 s unless configured. It is renewed every third of it.
    ///   - waitingAtMost: How long to wait for the lock. `nil`: without limit. Zero: not at all.
    ///   - holdingAtMost: How long the lease is renewed at most. Then the body is cancelled, and the lock is lost. `nil`:
    ///     without limit.
    ///   - reentrant: Allows the call when the same task tree holds the lock already: the body then runs under that grant,
    ///     with the same token. Bodies of sibling tasks are not kept apart.
    ///   - isolation: Where the body runs. Leave it out.
    ///   - body: What to do. It is lent the ``HeldLock``.
    /// - Returns: What the body returned.
    /// - Throws: ``LockError``: `timedOut`, `busy` (only if not waiting), `unreachable`, `outcomeUnknown`, `noQuorum`,
    ///   `serverRefused`, `wouldDeadlock` if the same task tree holds the lock, `lost` if the grant was not valid at the
    ///   instant when the body returned (with ``LockError/bodyOutcome``), `invalidName`, `invalidConfiguration`,
    ///   `clientNotRunning`; `CancellationError` if the caller was cancelled while waiting; otherwise what the body throws.
    ///   A failed release never hides the body's result or error.
    public func withLock<Success>(
        _ name: some LockNameConvertible,
        lease: Duration? = nil,
        waitingAtMost: Duration? = nil,
        holdingAtMost: Duration? = nil,
        reentrant: Bool = false,
        isolation: isolated (any Actor)? = #isolation,
        body: (borrowing HeldLock) async throws -> Success
    ) async throws -> Success {
        let call = try self.checked(
            name,
            lease: lease,
            waitingAtMost: waitingAtMost,
            holdingAtMost: holdingAtMost
        )
        if let outer = TaskHolds.running(call.name, backend: self.backend.identity) {
            guard reentrant else { throw self.wouldDeadlock(call.name) }
            try outer.checkValid()
            let result = await Result(catching: body, HeldLock(outer))
            if let reason = outer.loss() { throw self.lost(outer, reason, result) }
            return try result.get()
        }
        let hold = try await self.tracedObtain(call)
        return try await self.run(body, under: hold, isolation: isolation)
    }

    /// Runs a body under a lock if nobody else holds it.
    ///
    /// Like ``withLock(_:lease:waitingAtMost:holdingAtMost:reentrant:isolation:body:)`` without waiting, but a lock that is
    /// held is no error.
    ///
    /// - Returns: What the body returned; `nil` if the lock is held, and the body did not run.
    /// - Throws: As `withLock`, except `busy` and `timedOut`.
    public func withLockIfAvailable<Success>(
        _ name: some LockNameConvertible,
        lease: Duration? = nil,
        holdingAtMost: Duration? = nil,
        isolation: isolated (any Actor)? = #isolation,
        body: (borrowing HeldLock) async throws -> Success
    ) async throws -> Success? {
        let call = try self.checked(name, lease: lease, waitingAtMost: .zero, holdingAtMost: holdingAtMost)
        if TaskHolds.running(call.name, backend: self.backend.identity) != nil { return nil }
        let hold: Hold
        do {
            hold = try await self.tracedObtain(call)
        } catch let error as LockError where error.code == .busy {
            return nil
        }
        return try await self.run(body, under: hold, isolation: isolation)
    }

    /// Acquires a lock without a scope. Prefer
    /// ``withLock(_:lease:waitingAtMost:holdingAtMost:reentrant:isolation:body:)``: see ``LockHandle`` for what is lost.
    ///
    /// Parameters and errors are those of `withLock`; there is no `lost`, which the handle tells.
    public func acquire(
        _ name: some LockNameConvertible,
        lease: Duration? = nil,
        waitingAtMost: Duration? = nil,
        holdingAtMost: Duration? = nil
    ) async throws -> LockHandle {
        let call = try self.checked(
            name,
            lease: lease,
            waitingAtMost: waitingAtMost,
            holdingAtMost: holdingAtMost
        )
        if TaskHolds.running(call.name, backend: self.backend.identity) != nil { throw self.wouldDeadlock(call.name) }
        let hold = try await self.tracedObtain(call)
        return LockHandle(hold: hold, client: self)
    }

    /// Acquires a lock without a scope if nobody else holds it.
    ///
    /// - Returns: The handle; `nil` if the lock is held.
    /// - Throws: As ``acquire(_:lease:waitingAtMost:holdingAtMost:)``, except `busy` and `timedOut`.
    public func acquireIfAvailable(
        _ name: some LockNameConvertible,
        lease: Duration? = nil,
        holdingAtMost: Duration? = nil
    ) async throws -> LockHandle? {
        let call = try self.checked(name, lease: lease, waitingAtMost: .zero, holdingAtMost: holdingAtMost)
        do {
            let hold = try await self.tracedObtain(call)
            return LockHandle(hold: hold, client: self)
        } catch let error as LockError where error.code == .busy {
            return nil
        }
    }

    private func run<Success>(
        _ body: (borrowing HeldLock) async throws -> Success,
        under hold: Hold,
        isolation: isolated (any Actor)?
    ) async throws -> Success {
        let span = self.holdSpan(hold)
        let holds = TaskHolds(backend: self.backend.identity, hold: hold, outer: TaskHolds.current)
        let runner = await withoutActuallyEscaping(body) { body in
            let runner = BodyRunner(body)
            await self.runInChild(runner, under: hold, holds: holds, isolation: isolation)
            return runner
        }
        guard let result = runner.result else { preconditionFailure("a body ended without a result") }
        let loss = await self.release(hold, lossAtReturn: runner.lossAtReturn, awaitsAnswer: false)
        if let loss {
            let error = self.lost(hold, loss, result)
            span?.end(throwing: error)
            throw error
        }
        if let span {
            switch result {
            case .success: span.end()
            case .failure(let error): span.end(throwing: error)
            }
        }
        return try result.get()
    }

    private func holdSpan(_ hold: Hold) -> (any Span)? {
        guard self.tracing.isOn else { return nil }
        let span = self.tracing.start("lock.hold", name: hold.claim.name, backend: self.backend.capabilities.kind)
        span?.attributes["lock.token"] = hold.token.rawValue
        return span
    }

    private func runInChild<Success>(
        _ runner: BodyRunner<Success>,
        under hold: Hold,
        holds: TaskHolds,
        isolation: isolated (any Actor)?
    ) async {
        await withTaskGroup(of: Void.self, isolation: isolation) { group in
            let run: @concurrent @Sendable () async -> Void = {
                await withUnsafeCurrentTask { task in
                    guard let task else { preconditionFailure("a child task has a task") }
                    await runner.run(under: hold, in: task, holds: holds, isolation: isolation)
                }
            }
            // Starts on this thread: a child that is enqueued costs waking another one.
            if #available(macOS 26, *) {
                group.addImmediateTask(operation: run)
            } else {
                group.addTask(operation: run)
            }
            await group.waitForAll(isolation: isolation)
        }
    }

    private func tracedObtain(_ call: Call) async throws -> Hold {
        guard self.tracing.isOn,
            let span = self.tracing.start("lock.acquire", name: call.name, backend: self.backend.capabilities.kind)
        else { return try await self.obtain(call) }
        do {
            let hold = try await self.obtain(call)
            span.end()
            return hold
        } catch {
            span.end(throwing: error)
            throw error
        }
    }

    private func wouldDeadlock(_ name: LockName) -> LockError {
        LockError(.wouldDeadlock, "this task holds '\(name)' already, and would wait for itself")
    }

    private func lost<Success>(
        _ hold: Hold,
        _ reason: LockError.LossReason,
        _ result: Result<Success, any Error>
    ) -> LockError {
        let outcome: LockError.BodyOutcome
        switch result {
        case .success: outcome = .completed
        case .failure(let error): outcome = .failed(error)
        }
        return .lost(reason, name: hold.claim.name, token: hold.token, body: outcome)
    }
}

extension Result where Failure == any Error {
    fileprivate init(
        catching body: (borrowing HeldLock) async throws -> Success,
        _ held: borrowing HeldLock
    ) async {
        do {
            self = .success(try await body(held))
        } catch {
            self = .failure(error)
        }
    }
}
