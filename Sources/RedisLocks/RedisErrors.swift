import DistributedLocks

extension RedisError {
    /// With these a server says that it cannot do at the moment what it is asked.
    private static let passingCodes: Set<String> = [
        "OOM", "MISCONF", "LOADING", "BUSY", "READONLY", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN",
        "UNBLOCKED",
    ]

    /// The server answers and refuses, for reasons that pass without anybody doing anything about this client.
    var isPassingRefusal: Bool {
        self.code == .refused && self.serverCode.map { Self.passingCodes.contains($0) } ?? false
    }

    /// The server answers and refuses, and goes on refusing until somebody changes something.
    var isLastingRefusal: Bool {
        switch self.code {
        case .refused: !self.isPassingRefusal
        case .unusableServer: true
        case .notSent, .outcomeUnknown, .cancelled, .stopped: false
        }
    }

    /// This user may not do what it asked for. What a script may not do is told by texts that differ from version to version.
    var isPermission: Bool {
        self.serverCode == "NOPERM" || self.reason.contains("The user executing the script can't")
            || self.reason.contains("ACL failure in script")
    }

    /// With this the scripts refuse an epoch that is below what the data has seen. The connection is given up then, to look the
    /// master up anew: whoever waits for the next one meanwhile was refused all the same.
    static let epochIsLow = "DLOCKEPOCH"

    var isEpochLow: Bool { self.code == .refused && self.serverCode == Self.epochIsLow }

    fileprivate var place: String { self.endpoint.map { "\($0): " } ?? "" }

    /// The server says that it is not the master, or not any more.
    var isNoMaster: Bool {
        self.code == .refused && self.serverCode.map { ["READONLY", "MASTERDOWN", "UNBLOCKED"].contains($0) } ?? false
    }
}

extension LockError {
    /// What an error of the client means for a lock.
    init(_ error: RedisError) {
        switch error.code {
        case .notSent where error.serverCode == RedisError.epochIsLow:
            self = .epochIsLow(error)
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
            case _ where error.isPassingRefusal:
                // The server says that it will serve again, or that another one does.
                self = LockError(.unreachable, error.message)
            case RedisError.epochIsLow:
                self = .epochIsLow(error)
            case "WRONGTYPE":
                self = LockError(
                    .serverRefused,
                    "\(error.place)a key of this lock holds something that is no lock (WRONGTYPE): status shows which one; "
                        + "rename or delete it, or use another prefix"
                )
            case "NOAUTH":
                self = LockError(
                    .serverRefused,
                    "\(error.place)the server asks for a password (NOAUTH): give user and password in the URL, or the password by "
                        + "password-file or password-env"
                )
            case _ where error.isPermission:
                self = LockError(
                    .serverRefused, "\(error.message) (docs/redis.md lists what a user for locks needs)")
            default:
                self = LockError(.serverRefused, error.message)
            }
        }
    }

    /// What the latest error of a client that is not connected means.
    init(whileDisconnected error: RedisError) {
        if error.serverCode == RedisError.epochIsLow {
            self = .epochIsLow(error)
        } else {
            self = LockError(error.code == .unusableServer ? .serverRefused : .unreachable, error.message)
        }
    }

    private static func epochIsLow(_ error: RedisError) -> LockError {
        LockError(
            .serverRefused,
            "\(error.message): the Sentinels were set up anew, or lost what they knew; "
                + "`dlock init --raise-epoch` makes their epochs outrank those that the data has seen"
        )
    }

    /// What it means for a call of a script. An operator who denies EVAL has to load the scripts.
    init(_ error: RedisError, calling script: RedisScript) {
        self.init(error)
        guard error.code == .refused, error.serverCode == "NOPERM", error.reason.contains("'eval'") else { return }
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
