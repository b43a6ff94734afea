#if Embedded
import DistributedLocks
import LockKernel
import Synchronization

/// Whose transactions these are.
protocol TransactionQueueOwner: AnyObject, Sendable {
    /// Opens the file; called again when it was replaced.
    func openFile(deadline: BootInstant) throws(LockError) -> LockFile

    /// Tells what has to be told after a commit.
    func deliver(_ notices: [Notice])
}

/// Work that was submitted. It is begun once, or given up before.
final class TransactionJob: Sendable {
    enum State {
        case waiting
        case begun
        case givenUp
    }

    let deadline: BootInstant
    let state = Mutex(State.waiting)
    let run: @Sendable (LockTable) throws -> @Sendable (LockError?) -> Void
    let fail: @Sendable (LockError) -> Void

    init(
        deadline: BootInstant,
        run: @escaping @Sendable (LockTable) throws -> @Sendable (LockError?) -> Void,
        fail: @escaping @Sendable (LockError) -> Void
    ) {
        self.deadline = deadline
        self.run = run
        self.fail = fail
    }

    var isWaiting: Bool {
        self.state.withLock { if case .waiting = $0 { true } else { false } }
    }

    func begin() -> Bool {
        self.state.withLock { state in
            guard case .waiting = state else { return false }
            state = .begun
            return true
        }
    }

    /// False if it has been begun.
    func giveUp() -> Bool {
        self.state.withLock { state in
            guard case .waiting = state else { return false }
            state = .givenUp
            return true
        }
    }
}
#endif
