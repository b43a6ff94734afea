import DistributedLocks
import RedisClient

extension LockError {
    /// What an error of the client means for a lock.
    init(_ error: RedisError) {
        switch error.code {
        case .notSent:
            self = LockError(.unreachable, error.message)
        case .outcomeUnknown:
            self = LockError(.outcomeUnknown, error.message)
        case .cancelled:
            self = LockError(.cancelled, error.message)
        case .stopped:
            self = LockError(.clientNotRunning, error.message)
        case .unusableServer:
            self = LockError(.serverRefused, error.message)
        case .refused:
            switch error.serverCode {
            case "LOADING", "BUSY", "TRYAGAIN", "MASTERDOWN", "CLUSTERDOWN":
                // The server says that it will serve again.
                self = LockError(.unreachable, error.message)
            case "DLOCKEPOCH":
                self = LockError(
                    .serverRefused,
                    "\(error.message): the Sentinels were set up anew, or lost what they knew; "
                        + "`dlock init --raise-epoch` makes their epochs outrank those that the data has seen"
                )
            case "WRONGTYPE":
                self = LockError(
                    .serverRefused,
                    "\(error.message) (the key of this lock holds something that is no lock)"
                )
            default:
                self = LockError(.serverRefused, error.message)
            }
        }
    }

    /// What it means for a call of a script. An operator who denies EVAL has to load the scripts.
    init(_ error: RedisError, calling script: RedisScript) {
        self.init(error)
        guard error.code == .refused, error.serverCode == "NOPERM" else { return }
        self = LockError(
            .serverRefused,
            "\(error.message) (the script '\(script.name)' is not loaded on the server, and this user may not use EVAL: "
                + "load the scripts with `dlock scripts load`)"
        )
    }

    static func strangeReply(_ script: RedisScript) -> LockError {
        LockError(.serverRefused, "the server's answer to the script '\(script.name)' makes no sense")
    }
}
