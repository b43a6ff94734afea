#if Embedded
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Nanoseconds since the machine booted, time asleep included. The same for every process of the machine, and untouched
/// by steps of the wall clock.
///
/// On Linux this is CLOCK_BOOTTIME less the offset of this process's time namespace, and on macOS CLOCK_MONOTONIC: the
/// clocks under `ContinuousClock`, which has the offset in it.
struct BootTime: Comparable, Sendable {
    let nanoseconds: Int64

    static func now() -> BootTime {
        var time = timespec()
        #if os(Linux)
        clock_gettime(CLOCK_BOOTTIME, &time)
        #else
        clock_gettime(CLOCK_MONOTONIC, &time)
        #endif
        return BootTime(
            nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec) - TimeNamespace.offsetInNanoseconds)
    }

    static func < (left: BootTime, right: BootTime) -> Bool { left.nanoseconds < right.nanoseconds }

    static func + (time: BootTime, duration: Duration) -> BootTime {
        BootTime(nanoseconds: time.nanoseconds + duration.wholeNanoseconds)
    }

    static func - (left: BootTime, right: BootTime) -> Duration {
        .nanoseconds(left.nanoseconds - right.nanoseconds)
    }

    /// The same instant on the clock that validity is judged by, never a later one: the other clock is read first, so
    /// that whatever passes between the two readings makes the result earlier.
    var instant: ContinuousClock.Instant {
        let continuous = ContinuousClock.now
        return continuous + (self - BootTime.now())
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
