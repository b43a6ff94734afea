import CKernel

/// Where the time comes from.
package protocol TimeSource: Sendable {
    /// The present instant of the clock that validity is judged by. It goes on while the machine is suspended.
    func now() -> BootInstant

    /// Waits until an instant has been reached.
    ///
    /// - Throws: `CancellationError` when the task was cancelled first.
    func sleep(until instant: BootInstant) async throws

    /// Microseconds since 1970 by the wall clock, which may be set.
    func wallClock() -> Int64

    /// Nanoseconds since the machine booted, time asleep included, as this process sees them: on Linux a time namespace may
    /// have an offset (time_namespaces(7)).
    func bootTime() -> Int64
}

/// The machine's own clocks.
package struct SystemTime: TimeSource {
    @inlinable package init() {}

    @inlinable package func now() -> BootInstant { .now }

    package func sleep(until instant: BootInstant) async throws {
        try await ContinuousClock().sleep(until: instant.continuous, tolerance: .zero)
    }

    package func wallClock() -> Int64 { ckernel_wall_clock() }

    /// The clock under `ContinuousClock`.
    package func bootTime() -> Int64 { ckernel_boot_time() }
}
