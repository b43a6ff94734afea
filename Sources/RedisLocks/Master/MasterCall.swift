import LockKernel

/// One call of a script on a master, and when it is made again. Pure.
///
/// A server that is not the master any more has refused, and done nothing: the call is made again on the next connection, until its
/// deadline. Is the epoch of the connection too low, the master is looked up once more: an epoch that is too low after that is going to stay
/// so. What a server refuses for reasons that pass may be waited out, asked twice a second.
struct MasterCall {
    enum Step: Equatable {
        /// On the next connection.
        case again
        /// The server refuses for now: at this instant.
        case againAt(BootInstant)
        /// The server refuses for longer than the caller has time: it is told so at this instant.
        case failAt(BootInstant)
        case fail
    }

    private static let pauseAfterRefusal: Duration = .milliseconds(500)

    private let deadline: BootInstant
    private let waitsOutRefusals: Bool
    private var isEpochLookedUp = false

    init(deadline: BootInstant, waitsOutRefusals: Bool) {
        self.deadline = deadline
        self.waitsOutRefusals = waitsOutRefusals
    }

    /// - Parameter wasLeft: the server said that it is not the one that is looked for, and its connection was given up.
    mutating func failed(_ error: RedisError, wasLeft: Bool, now: BootInstant) -> Step {
        if wasLeft {
            if error.isEpochLow {
                if !self.isEpochLookedUp {
                    self.isEpochLookedUp = true
                    return .again
                }
            } else if now < self.deadline {
                return .again
            }
        }
        guard self.waitsOutRefusals, error.isPassingRefusal else { return .fail }
        // A little before the caller's own deadline, so that it hears why.
        let last = self.deadline - min(.milliseconds(250), (self.deadline - now) / 4)
        let next = now + Self.pauseAfterRefusal
        return next < last ? .againAt(next) : .failAt(last)
    }
}
