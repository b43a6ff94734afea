package import LockKernel

/// The next instant of each of many attempts, for backends that know what they have set an attempt to: ``OrderedDeadlines``.
///
/// Not generic, for the reason that ``AttemptDeadlines`` is not.
package struct OrderedAttemptDeadlines: Sendable {
    private var deadlines = OrderedDeadlines<AttemptID>()

    package init() {}

    /// The earliest instant of all attempts.
    package mutating func nextMoment() -> Moment? { self.deadlines.nextMoment() }

    /// - Parameter old: what the attempt is set to so far; `nil` if it is not set. It is then set to `moment`.
    package mutating func set(_ attempt: AttemptID, to moment: Moment, insteadOf old: inout Moment?) {
        self.deadlines.set(attempt, to: moment, insteadOf: old)
        old = moment
    }

    /// - Parameter moment: what the attempt is set to; `nil` if it is not set, as afterwards.
    package mutating func remove(_ attempt: AttemptID, at moment: inout Moment?) {
        guard let old = moment else { return }
        self.deadlines.remove(attempt, at: old)
        moment = nil
    }

    /// Removes and returns the attempts whose instant is not after `now`, the earliest first.
    package mutating func popDue(at now: Moment) -> [AttemptID] { self.deadlines.popDue(at: now) }
}
