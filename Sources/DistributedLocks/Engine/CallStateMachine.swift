import LockKernel

/// Decides whether a call asks anew when an attempt has come to nothing that another one may not, and after what pause.
struct CallStateMachine: Sendable {
    /// A call asks anew after so many grants that had ended by the time that they came. More of them are not bad luck: the lease
    /// is shorter than the way to the store and back.
    static let maximumEndedGrants = 5

    private let joinsQueue: Bool
    /// When the caller's time is over; `nil` if never.
    private let deadline: BootInstant?
    private var anews = 0
    private var endedGrants = 0

    init(joinsQueue: Bool, deadline: BootInstant?) {
        self.joinsQueue = joinsQueue
        self.deadline = deadline
    }

    /// The store has forgotten the place in the queue. Returns how long to wait before it is asked anew: not at all the first time,
    /// but a store that goes on forgetting must not be asked in a circle.
    mutating func placeWasLost(jitter: Double) -> Duration {
        self.anews += 1
        return self.anews > 1 ? AcquireStateMachine.pause(afterFailures: self.anews - 1, jitter: jitter) : .zero
    }

    /// A grant had ended by the time that it came. Returns how long to wait before the store is asked anew; `nil` if it is not.
    mutating func grantHadEnded(_ reason: LockError.LossReason, now: BootInstant, jitter: Double) -> Duration? {
        self.endedGrants += 1
        guard self.joinsQueue, !self.isOver(at: now), reason != .broken, self.endedGrants <= Self.maximumEndedGrants
        else {
            return nil
        }
        return self.placeWasLost(jitter: jitter)
    }

    func isOver(at now: BootInstant) -> Bool { self.deadline.map { now >= $0 } ?? false }
}
