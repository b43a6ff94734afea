package import LockKernel

/// Where a client takes its time from.
///
/// Validity is judged by `ContinuousClock`, which goes on while the machine is suspended (on Linux it is
/// CLOCK_BOOTTIME). Tests drive a clock by hand: `ManualClock` in LockTesting.
///
/// By ``SystemLockClock`` leases are renewed even while the threads of the global pool are busy. A client with another clock
/// depends on how that one wakes who sleeps.
public protocol LockClock: Sendable {
    /// The present instant.
    func now() -> ContinuousClock.Instant

    /// Waits until an instant has been reached.
    ///
    /// - Throws: `CancellationError` when the task was cancelled first.
    func sleep(until instant: ContinuousClock.Instant) async throws
}

/// The machine's own clock.
public struct SystemLockClock: LockClock {
    /// Makes one; all are the same.
    public init() {}

    /// The present instant.
    public func now() -> ContinuousClock.Instant { SystemTime().now().continuous }

    /// Waits until an instant has been reached.
    public func sleep(until instant: ContinuousClock.Instant) async throws {
        try await SystemTime().sleep(until: BootInstant(instant))
    }
}

/// How long a grant may be relied on.
///
/// Validity counts from the instant *before* the first byte of the request that granted or renewed the lock left, less an
/// allowance for the drift between the client's clock and the server's: 1 % of the lease and 2 ms (the allowance of the
/// Redlock description, https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/).
public enum LockValidity {
    /// What is taken off a lease: 1 % of it and 2 ms.
    public static func driftAllowance(lease: Duration) -> Duration {
        lease.divided(by: 100) + .milliseconds(2)
    }

    /// The instant after which the holder must assume nothing.
    ///
    /// - Parameters:
    ///   - lease: How long the server keeps the grant.
    ///   - sentAt: The instant before the request left.
    public static func deadline(lease: Duration, sentAt: ContinuousClock.Instant) -> ContinuousClock.Instant {
        Self.deadline(lease: lease, sentAt: BootInstant(sentAt)).continuous
    }

    package static func deadline(lease: Duration, sentAt: BootInstant) -> BootInstant {
        sentAt + lease - Self.driftAllowance(lease: lease)
    }
}

extension Duration {
    /// What `/` gives, without its way through generic code.
    package func divided(by divisor: Int128) -> Duration { Duration(attoseconds: self.attoseconds / divisor) }
}
