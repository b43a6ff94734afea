import DistributedLocks

extension ExitStatus {
    /// A lock did what it must never do (EX_SOFTWARE of sysexits.h).
    static let violation: Int32 = 70
}

enum BenchFailure {
    /// How a measurement that failed ends the command.
    static func failure(of error: any Error) -> Failure {
        switch error {
        case let failure as Failure: failure
        case let violation as Violation:
            Failure(
                status: ExitStatus.violation,
                message: "\(violation): this must never happen, whatever the load; please report it"
            )
        case let error as LockError:
            // A worker that is not granted its lock in all that time is no busy lock.
            Failure(error, busyStatus: ExitStatus.unavailable)
        default:
            Failure(status: ExitStatus.unavailable, message: "the measurement failed: \(error)")
        }
    }
}
