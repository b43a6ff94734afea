package import LockKernel

/// The next instant of each of many attempts, for backends: a ``DeadlineQueue``.
///
/// Not generic, as that is: outside of its module a generic type goes by tables that are looked up at run time, which made up a
/// quarter of what a lock on a Redlock cost its client.
package struct AttemptDeadlines: Sendable {
    private var queue = DeadlineQueue<AttemptID>()

    package init() {}

    /// The earliest instant of all attempts.
    package mutating func nextMoment() -> Moment? { self.queue.nextMoment() }

    package mutating func set(_ attempt: AttemptID, to moment: Moment) { self.queue.set(attempt, to: moment) }

    package mutating func remove(_ attempt: AttemptID) { self.queue.remove(attempt) }

    /// Removes and returns the attempts whose instant is not after `now`, the earliest first.
    package mutating func popDue(at now: Moment) -> [AttemptID] { self.queue.popDue(through: now).map(\.key) }
}
