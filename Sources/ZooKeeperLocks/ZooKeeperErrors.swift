import DistributedLocks

extension LockError {
    /// What an error of the client means for a lock.
    init(_ error: ZooKeeperError) {
        switch error.code {
        case .notSent: self = LockError(.unreachable, error.message)
        case .outcomeUnknown: self = LockError(.outcomeUnknown, error.message)
        case .stopped: self = LockError(.clientNotRunning, error.message)
        case .unusableServer: self = LockError(.serverRefused, error.message)
        case .refused(let code):
            switch code {
            case .throttled: self = LockError(.unreachable, error.message)
            case .noAuth:
                self = LockError(
                    .serverRefused,
                    "\(error.message) (these nodes belong to another user: the user or the password may be wrong)"
                )
            case .invalidACL:
                self = LockError(.serverRefused, "\(error.message) (the server does not know this user)")
            case .quotaExceeded:
                self = LockError(.serverRefused, "\(error.message) (an operator has set a limit to these nodes)")
            default: self = LockError(.serverRefused, error.message)
            }
        }
    }
}
