/// An instant of `ContinuousClock`, in a form whose size the compiler knows.
///
/// The layout of `ContinuousClock.Instant` is the standard library's own affair. Whatever stores one is therefore copied
/// and destroyed through tables that are built and looked up at run time, and so is all that stores that in turn. What
/// changes with every grant or request stores this instead, and speaks `ContinuousClock.Instant` to the outside. Nothing is
/// rounded.
package struct BootInstant: Hashable, Comparable, Sendable {
    // Not one Int128, which is aligned to 16 bytes: with one, release builds of Swift 6.3.1 (Linux, x86-64) jumped to 0 when
    // RedisClient.send was resumed with a reply that holds one. A small program does not show it.
    @usableFromInline let high: Int64
    @usableFromInline let low: UInt64

    package init(_ instant: ContinuousClock.Instant) {
        self.init(attoseconds: ContinuousClock().systemEpoch.duration(to: instant).attoseconds)
    }

    package init?(_ instant: ContinuousClock.Instant?) {
        guard let instant else { return nil }
        self.init(instant)
    }

    @inlinable init(attoseconds: Int128) {
        self.high = Int64(truncatingIfNeeded: attoseconds >> 64)
        self.low = UInt64(truncatingIfNeeded: attoseconds)
    }

    @inlinable var attoseconds: Int128 { Int128(self.high) << 64 | Int128(self.low) }

    /// So long after the clock's epoch, for a time of one's own.
    package init(nanoseconds: Int64) { self.init(attoseconds: Int128(nanoseconds) * 1_000_000_000) }

    /// The present one.
    package static var now: BootInstant { BootInstant(ContinuousClock.now) }

    package var continuous: ContinuousClock.Instant {
        ContinuousClock().systemEpoch.advanced(by: Duration(attoseconds: self.attoseconds))
    }

    @inlinable package func advanced(by duration: Duration) -> BootInstant { self + duration }

    @inlinable package func duration(to other: BootInstant) -> Duration { other - self }

    @inlinable package static func < (left: BootInstant, right: BootInstant) -> Bool {
        left.high == right.high ? left.low < right.low : left.high < right.high
    }

    @inlinable package static func == (left: BootInstant, right: BootInstant) -> Bool {
        left.low == right.low && left.high == right.high
    }

    @inlinable package static func + (moment: BootInstant, duration: Duration) -> BootInstant {
        BootInstant(attoseconds: moment.attoseconds + duration.attoseconds)
    }

    @inlinable package static func - (moment: BootInstant, duration: Duration) -> BootInstant {
        BootInstant(attoseconds: moment.attoseconds - duration.attoseconds)
    }

    @inlinable package static func - (left: BootInstant, right: BootInstant) -> Duration {
        Duration(attoseconds: left.attoseconds - right.attoseconds)
    }

    @inlinable package static func += (moment: inout BootInstant, duration: Duration) { moment = moment + duration }
}
