#if Embedded
/// Nanoseconds since the machine booted, time asleep included. The same for every process of the machine, and untouched
/// by steps of the wall clock.
///
/// On Linux this is CLOCK_BOOTTIME less the offset of this process's time namespace, and on macOS CLOCK_MONOTONIC: the
/// clocks under `ContinuousClock`, which has the offset in it.
struct BootTime: Comparable, Sendable {
    let nanoseconds: Int64

    static func < (left: BootTime, right: BootTime) -> Bool { left.nanoseconds < right.nanoseconds }

    static func + (time: BootTime, duration: Duration) -> BootTime {
        BootTime(nanoseconds: time.nanoseconds + duration.wholeNanoseconds)
    }

    static func - (left: BootTime, right: BootTime) -> Duration {
        .nanoseconds(left.nanoseconds - right.nanoseconds)
    }
}

extension Duration {
    /// The duration in nanoseconds; what is beyond 64 bits is cut off at the ends.
    var wholeNanoseconds: Int64 {
        let (seconds, attoseconds) = self.components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return seconds > 0 ? .max : .min }
        let (sum, sumOverflow) = product.addingReportingOverflow(attoseconds / 1_000_000_000)
        return sumOverflow ? (seconds > 0 ? .max : .min) : sum
    }
}
#endif
