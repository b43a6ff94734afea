import LockKernel
import Synchronization

/// What a call is told that has come to nothing.
extension LockClient {
    /// The time to wait is over. A lock that was not granted because the store is in trouble is not known to be busy.
    func timedOut(_ call: Call, _ failure: AcquireStateMachine.Failure) async -> any Error {
        guard let trouble = await self.trouble() else { return self.error(of: failure, call: call) }
        return LockError(
            trouble.code,
            "'\(call.name)' was not granted within \((call.waitingAtMost ?? .zero).brief): \(trouble.message)",
            nodes: trouble.nodes,
            cause: trouble
        )
    }

    /// What the backend knows to be wrong. One that does not tell soon is in trouble: nobody waits longer for that.
    private func trouble() async -> LockError? {
        await withUnsafeContinuation { (continuation: UnsafeContinuation<LockError?, Never>) in
            let waiter = Mutex<UnsafeContinuation<LockError?, Never>?>(continuation)
            let asking = Task { [backend] in
                let trouble = await backend.trouble()
                waiter.withLock { $0.take() }?.resume(returning: trouble)
            }
            self.environment.threads.keeper.call(after: Self.patienceWithTrouble) {
                waiter.withLock { $0.take() }?.resume(returning: LockError(.unreachable, "the backend does not answer"))
                asking.cancel()
            }
        }
    }

    private static let patienceWithTrouble: Duration = .seconds(1)

    func error(of failure: AcquireStateMachine.Failure, call: Call) -> any Error {
        switch failure {
        case .error(let error):
            error
        case .cancelled:
            CancellationError()
        case .timedOut(let holders):
            LockError(
                .timedOut,
                "'\(call.name)' was not granted within \((call.waitingAtMost ?? .zero).brief)"
                    + (holders.isEmpty ? "" : ": it is held by " + OwnerMetadata.list(holders)),
                holder: holders.first
            )
        case .noAnswer:
            LockError(.unreachable, "the backend did not answer within \((call.waitingAtMost ?? .zero).brief)")
        case .clientStopped:
            self.stoppedError()
        }
    }

    func stoppedError() -> LockError {
        LockError(.clientNotRunning, "the lock client was stopped")
    }
}
