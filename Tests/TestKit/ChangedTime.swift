package import LockKernel
import Synchronization

/// The machine's time, which a test can put forward, with a wall clock of the test's own if it wants one.
package final class ChangedTime: TimeSource {
    private let added = Mutex<Duration>(.zero)
    private let microseconds: @Sendable () -> Int64

    /// - Parameter wallClock: microseconds since 1970.
    package init(wallClock: @escaping @Sendable () -> Int64 = { SystemTime().wallClock() }) {
        self.microseconds = wallClock
    }

    package func advance(by duration: Duration) { self.added.withLock { $0 += duration } }

    package func now() -> BootInstant { SystemTime().now() + self.added.withLock { $0 } }
    package func sleep(until instant: BootInstant) async throws {
        try await SystemTime().sleep(until: instant)
    }
    package func wallClock() -> Int64 { self.microseconds() }
    package func bootTime() -> Int64 { SystemTime().bootTime() }
}
