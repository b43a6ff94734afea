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
/// On Linux this is CLOCK_BOOTTIME, and on macOS CLOCK_MONOTONIC, the clocks under `ContinuousClock`.
struct BootTime: Comparable, Sendable {
    let nanoseconds: Int64

    static func now() -> BootTime {
        var time = timespec()
        #if os(Linux)
        clock_gettime(CLOCK_BOOTTIME, &time)
        #else
        clock_gettime(CLOCK_MONOTONIC, &time)
        #endif
        return BootTime(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
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

/// Where the machine's clocks and its boot come from; tests put others in their place.
struct EmbeddedEnvironment: Sendable {
    /// Names the present boot of the machine.
    var bootID: @Sendable () -> String
    /// Microseconds since 1970 by the wall clock.
    var wallClock: @Sendable () -> Int64

    static let system = EmbeddedEnvironment(
        bootID: { Self.readBootID() },
        wallClock: {
            var time = timespec()
            clock_gettime(CLOCK_REALTIME, &time)
            return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000
        }
    )

    private static func readBootID() -> String {
        #if os(Linux)
        guard let file = fopen("/proc/sys/kernel/random/boot_id", "re") else { return "unknown" }
        defer { fclose(file) }
        var buffer = [UInt8](repeating: 0, count: 64)
        let count = fread(&buffer, 1, buffer.count, file)
        return String(decoding: buffer.prefix(count).prefix { $0 != 0x0A }, as: UTF8.self)
        #else
        var buffer = [CChar](repeating: 0, count: 64)
        var size = buffer.count
        guard sysctlbyname("kern.bootsessionuuid", &buffer, &size, nil, 0) == 0 else { return "unknown" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        #endif
    }
}
#endif
