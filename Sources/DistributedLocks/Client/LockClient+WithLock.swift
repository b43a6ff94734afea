import Logging
import Metrics
import Tracing

extension LockClient {
    /// Runs a body under a lock.
    ///
    /// Acquires the lock, runs the body, keeps the lease renewed while the body runs, and releases the lock. The body runs
    /// on the caller's isolation, in a child task that is **cancelled the moment the grant is lost**. A body that ignores
    /// cancellation goes on without the protection of the lock: pass `held.token` to the protected resource, which refuses
    /// the writes of a stale holder. Its `onCancel` handlers run on threads that nothing else needs; up to 64 of a process may
    /// block at one time without keeping other bodies from being cancelled.
    ///
    /// Cancelling the caller while it waits removes it from the queue; cancelling it while the body runs cancels the body,
    /// and the lock is released when the body has ended.
    ///
    /// A grant that has ended by the time that it comes (the process was stopped, or the answer took longer than the lease) runs
    /// no body. A call that may still wait asks again, up to five times; otherwise it throws `lost`, without a
    /// ``LockError/bodyOutcome``. So it does if an operator has broken the lock.
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
    ///     with the same token. Bodies of sibling tasks are not kept apart. A `Task { }` that a body starts is of its tree, a
    ///     `Task.detached { }` is not.
    ///   - metadata: What others see of this holder, or waiter, in ``status(of:)`` and in errors. `nil`: the client's default
    ///     (``Configuration/metadata``). With `reentrant`, the outer grant keeps its own.
    ///   - isolation: Where the body runs. Leave it out.
    ///   - body: What to do. It is lent the ``HeldLock``.
    /// - Returns: What the body returned.
    /// - Throws: ``LockError``: `timedOut`, `busy` (only if not waiting), `unreachable`, `outcomeUnknown`, `noQuorum`,
    ///   `serverRefused`, `wouldDeadlock` if the same task tree holds the lock, `lost` if the grant was not valid at the
    ///   instant when the body returned (with ``LockError/bodyOutcome``) or had ended before the body could start,
    ///   `invalidName`, `invalidConfiguration`, `clientNotRunning`; `CancellationError` if the caller was cancelled while waiting; otherwise what the body throws.
    ///   A failed release never hides the body's result or error.
    public func withLock<Success>(
        _ name: some LockNameConvertible,
        lease: Duration? = nil,
        waitingAtMost: Duration? = nil,
        holdingAtMost: Duration? = nil,
        reentrant: Bool = false,
        metadata: OwnerMetadata? = nil,
        isolation: isolated (any Actor)? = #isolation,
        body: (borrowing HeldLock) async throws -> Success
    ) async throws -> Success {
        let call = try self.checked(
            name,
            lease: lease,
            waitingAtMost: waitingAtMost,
            holdingAtMost: holdingAtMost,
            metadata: metadata
        )
        if let outer = TaskHolds.running(call.name, backend: self.backend.identity) {
            guard reentrant else { throw self.wouldDeadlock(call.name) }
            return try await self.result(of: body, within: outer, isolation: isolation)
        }
        return try await self.result(of: body, under: try await self.obtain(call), isolation: isolation)
    }

    /// Runs a body under a grant that another body of the same task tree has.
    private func result<Success>(
        of body: (borrowing HeldLock) async throws -> Success,
        within outer: Hold,
        isolation: isolated (any Actor)?
    ) async throws -> Success {
        try outer.checkValid()
        let success: Success
        do {
            success = try await body(HeldLock(outer))
        } catch {
            if let reason = outer.loss() { throw self.lost(outer, reason, failure: error) }
            throw error
        }
        if let reason = outer.loss() { throw self.lost(outer, reason, failure: nil) }
        return success
    }

    /// Runs a body under a lock if nobody else holds it.
    ///
    /// Like ``withLock(_:lease:waitingAtMost:holdingAtMost:reentrant:metadata:isolation:body:)`` without waiting, but a lock that is
    /// held is no error. With `reentrant`, a lock that the same task tree holds is not held by somebody else: the body runs.
    ///
    /// - Returns: What the body returned; `nil` if the lock is held, and the body did not run.
    /// - Throws: As `withLock`, except `busy` and `timedOut`.
    public func withLockIfAvailable<Success>(
        _ name: some LockNameConvertible,
        lease: Duration? = nil,
        holdingAtMost: Duration? = nil,
        reentrant: Bool = false,
        metadata: OwnerMetadata? = nil,
        isolation: isolated (any Actor)? = #isolation,
        body: (borrowing HeldLock) async throws -> Success
    ) async throws -> Success? {
        let call = try self.checked(
            name, lease: lease, waitingAtMost: .zero, holdingAtMost: holdingAtMost, metadata: metadata)
        if let outer = TaskHolds.running(call.name, backend: self.backend.identity) {
            guard reentrant else { return nil }
            return try await self.result(of: body, within: outer, isolation: isolation)
        }
        let hold: Hold
        do {
            hold = try await self.obtain(call)
        } catch let error as LockError where error.code == .busy {
            return nil
        }
        return try await self.result(of: body, under: hold, isolation: isolation)
    }

    /// Acquires a lock without a scope. Prefer
    /// ``withLock(_:lease:waitingAtMost:holdingAtMost:reentrant:metadata:isolation:body:)``: see ``LockHandle`` for what is lost.
    ///
    /// Parameters and errors are those of `withLock`; `lost` says only that the grant had ended by the time that it came: what
    /// happens later, the handle tells.
    public func acquire(
        _ name: some LockNameConvertible,
        lease: Duration? = nil,
        waitingAtMost: Duration? = nil,
        holdingAtMost: Duration? = nil,
        metadata: OwnerMetadata? = nil
    ) async throws -> LockHandle {
        let call = try self.checked(
            name,
            lease: lease,
            waitingAtMost: waitingAtMost,
            holdingAtMost: holdingAtMost,
            metadata: metadata
        )
        if TaskHolds.running(call.name, backend: self.backend.identity) != nil { throw self.wouldDeadlock(call.name) }
        let hold = try await self.obtain(call)
        return LockHandle(hold: hold, client: self)
    }

    /// Acquires a lock without a scope if nobody else holds it.
    ///
    /// - Returns: The handle; `nil` if the lock is held.
    /// - Throws: As ``acquire(_:lease:waitingAtMost:holdingAtMost:metadata:)``, except `busy` and `timedOut`.
    public func acquireIfAvailable(
        _ name: some LockNameConvertible,
        lease: Duration? = nil,
        holdingAtMost: Duration? = nil,
        metadata: OwnerMetadata? = nil
    ) async throws -> LockHandle? {
        let call = try self.checked(
            name, lease: lease, waitingAtMost: .zero, holdingAtMost: holdingAtMost, metadata: metadata)
        do {
            let hold = try await self.obtain(call)
            return LockHandle(hold: hold, client: self)
        } catch let error as LockError where error.code == .busy {
            return nil
        }
    }

    @inline(__always)
    private func result<Success>(
        of body: (borrowing HeldLock) async throws -> Success,
        under hold: Hold,
        isolation: isolated (any Actor)?
    ) async throws -> Success {
        var success: Success?
        try await self.run(under: hold, isolation: isolation) { held in success = try await body(held) }
        guard let success else { preconditionFailure("a body ended without a result") }
        return success
    }

    /// Runs a body under a grant, and releases that.
    ///
    /// It is not generic: code that is goes by tables that are looked up at run time, here for every call.
    private func run(
        under hold: Hold,
        isolation: isolated (any Actor)?,
        _ body: BodyRunner.Body
    ) async throws {
        let span = self.holdSpan(hold)
        let holds = TaskHolds(backend: self.backend.identity, hold: hold, outer: TaskHolds.current)
        let runner = await withoutActuallyEscaping(body) { body in
            let runner = BodyRunner(body)
            // A discarding group waits for its one child once, and keeps no result of it.
            await withDiscardingTaskGroup(isolation: isolation) { group in
                group.addStartedTask { @concurrent in
                    await withUnsafeCurrentTask { task in
                        guard let task else { preconditionFailure("a child task has a task") }
                        await runner.run(under: hold, in: task, holds: holds, isolation: isolation)
                    }
                }
            }
            return runner
        }
        let loss = await self.release(hold, lossAtReturn: runner.lossAtReturn, awaitsAnswer: false)
        guard let error = loss.map({ self.lost(hold, $0, failure: runner.failure) }) ?? runner.failure else {
            span?.end()
            return
        }
        span?.end(throwing: error)
        throw error
    }

    private func holdSpan(_ hold: Hold) -> (any Span)? {
        guard self.tracing.isOn else { return nil }
        let span = self.tracing.start("lock.hold", name: hold.claim.name, backend: self.backend.capabilities.kind)
        span?.attributes["lock.token"] = hold.token.rawValue
        return span
    }

    private func wouldDeadlock(_ name: LockName) -> LockError {
        LockError(
            .wouldDeadlock,
            "this task holds '\(name)' already, and would wait for itself; work that nobody here waits for goes into "
                + "Task.detached, because Task { } counts as part of this task"
        )
    }

    /// - Parameter failure: what the body threw; `nil` if it returned.
    private func lost(_ hold: Hold, _ reason: LockError.LossReason, failure: (any Error)?) -> LockError {
        let outcome: LockError.BodyOutcome = failure.map { .failed($0) } ?? .completed
        return .lost(reason, name: hold.claim.name, token: hold.token, body: outcome)
    }
}

extension DiscardingTaskGroup {
    /// Adds a child that starts on this thread, where that is possible: one that is enqueued costs waking another thread.
    fileprivate mutating func addStartedTask(_ operation: sending @escaping @isolated(any) () async -> Void) {
        if #available(macOS 26, *) {
            self.addImmediateTask(operation: operation)
        } else {
            self.addTask(operation: operation)
        }
    }
}
