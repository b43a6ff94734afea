import DistributedLocks
import LockKernel

/// Which token a round proposes, by the clocks of the servers and by what is remembered of the lock. A part of
/// ``RedlockMachine``. Pure.
struct TokenProposals {
    typealias Instant = BootInstant

    private var recent = RecentLocks()
    private var times: ServerTimes

    init(instanceCount: Int, now: Instant) {
        self.times = ServerTimes(count: instanceCount, origin: now)
    }

    /// An instance has told its time.
    mutating func told(_ ticks: Int64, by instance: Int, sentAt: Instant) {
        self.times.told(ticks, by: instance, sentAt: sentAt)
    }

    /// What the next round proposes.
    ///
    /// - Parameters:
    ///   - lowest: it has to be above this.
    ///   - skew: how far a token may be ahead of an instance's clock.
    ///   - floor: of the instances that are open, the highest one that is not above the limit that it is given: a wild one is left
    ///     out. The others' are below the clock, unless they have been open for a short time.
    func proposal(
        for name: LockName, above lowest: Int64, skew: Int64, now: Instant, floor: (_ limit: Int64) -> Int64
    ) -> Int64 {
        let time = self.times.estimate(now: now) ?? 1
        return max(
            lowest + 1, self.recent[name].token + 1,
            Self.token(above: floor(time + skew), time: time, skew: skew))
    }

    /// What to propose, by the clocks and the floors of the instances alone.
    ///
    /// A floor is ahead of the clocks for as long as the skew, and all clients would propose the same token above it: then who has
    /// its turn would have to be told the last one. So above a floor tokens go on with the clock, at an eighth of its pace, until
    /// the clock is above them.
    static func token(above floor: Int64, time: Int64, skew: Int64) -> Int64 {
        max(time, floor + 1 + max(time - (floor - skew), 0) / 8)
    }

    /// Whether a fence is so far ahead of the clock that nobody would grant a token above it.
    func isWild(_ fence: Int64, skew: Int64, now: Instant) -> Bool {
        self.times.estimate(now: now).map { fence > $0 + skew } ?? true
    }

    // MARK: Locks

    mutating func granted(_ name: LockName, token: Int64) { self.recent.granted(name, token: token) }

    /// Others want the lock.
    mutating func contended(_ name: LockName, now: Instant) { self.recent.contended(name, now: now) }

    /// Whether others wanted it a moment ago.
    func isContended(_ name: LockName, now: Instant) -> Bool { self.recent.isContended(name, now: now) }
}
