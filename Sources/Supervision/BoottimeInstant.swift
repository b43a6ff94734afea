internal import CSupervision

/// The clock by which the watchdog measures deadlines: that of `ContinuousClock`, as nanoseconds.
package enum BoottimeInstant {
    /// Never later than the instant itself: the time between the two readings is taken off.
    package static func nanoseconds(at instant: ContinuousClock.Instant) -> Int64 {
        let raw = csup_now_ns()
        return raw.addingSaturated(nanoseconds(in: ContinuousClock.now.duration(to: instant)))
    }

    /// Rounded towards the past, and limited to what 64 bits hold (292 years).
    package static func nanoseconds(in duration: Duration) -> Int64 {
        let (seconds, attoseconds) = duration.components
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return seconds < 0 ? .min : .max }
        var part = attoseconds / 1_000_000_000
        if attoseconds % 1_000_000_000 < 0 { part -= 1 }
        return whole.addingSaturated(part)
    }
}

extension Int64 {
    fileprivate func addingSaturated(_ other: Int64) -> Int64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? (other < 0 ? .min : .max) : sum
    }
}
