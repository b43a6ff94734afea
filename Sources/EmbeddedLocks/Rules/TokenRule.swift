#if Embedded
/// Which number the next grant gets.
///
/// `s = max(s + 1, now)`: the counter makes tokens rise while it is there, and the clock makes them rise after it was
/// lost. Time is in ticks of 16 µs since 2025-01-01 UTC, which leaves room for 71 years in 47 bits.
///
/// After a power cut the last grants may be missing from the file. Then the clock outranks them; in case the clock is
/// behind, a block of numbers is reserved durably before any of it is used, and after a reboot numbers go on above it.
enum TokenRule {
    static let bits = 47
    static let maximum: Int64 = 1 << 47 - 1
    static let microsecondsPerTick: Int64 = 16
    /// 2025-01-01T00:00:00Z in microseconds since 1970.
    static let epochInMicroseconds: Int64 = 1_735_689_600_000_000
    /// How far ahead a block reaches: 2^20 ticks, about 17 seconds.
    static let blockInTicks: Int64 = 1 << 20
    /// When less than this is left of a block, the next one is reserved: a quarter.
    static let reserveInTicks: Int64 = blockInTicks / 4
    /// How long to wait after a reservation that failed: a second.
    static let retryInTicks: Int64 = 1_000_000 / microsecondsPerTick
    /// How long the number of a name is remembered after its last grant: 24 hours, after which the clock suffices.
    static let retentionInTicks: Int64 = 24 * 3600 * 1_000_000 / microsecondsPerTick

    /// Ticks at an instant of the wall clock; at least 0.
    static func ticks(microsecondsSince1970: Int64) -> Int64 {
        max(0, (microsecondsSince1970 - Self.epochInMicroseconds) / Self.microsecondsPerTick)
    }

    /// The number of the next grant; `nil` when there are no more numbers.
    ///
    /// - Parameters:
    ///   - last: The number of the last grant of this name; 0 if there was none or it was forgotten.
    ///   - floor: No number of a forgotten grant, nor one that a power cut may have taken, is above this.
    ///   - now: The present ticks.
    static func next(last: Int64, floor: Int64, now: Int64) -> Int64? {
        let next = max(last + 1, floor + 1, now)
        return next <= Self.maximum ? next : nil
    }
}
#endif
