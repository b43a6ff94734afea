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
        /// Whether it was tried while another process was writing.
        case waiting(metWriter: Bool)
        case begun
        case givenUp
    }

    let deadline: BootInstant
    let state = Mutex(State.waiting(metWriter: false))
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

    /// It could not be begun, as another process was writing.
    func metWriter() {
        self.state.withLock { if case .waiting = $0 { $0 = .waiting(metWriter: true) } }
    }

    /// Its deadline has passed: it fails, if it has not been begun.
    func expire(path: String) {
        let metWriter = self.state.withLock { if case .waiting(let metWriter) = $0 { metWriter } else { false } }
        guard self.begin() else { return }
        self.fail(
            LockError(
                .unreachable,
                metWriter
                    ? "\(path) is being written by another process that does not end"
                    : "this process did not get to look at \(path) in time"))
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
