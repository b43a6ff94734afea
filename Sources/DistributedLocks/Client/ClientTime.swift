import LockKernel

/// A client's time: that of its environment, or of a clock that its user has put in place of it.
struct ClientTime: Sendable {
    /// `nil`: the environment's.
    private let clock: (any LockClock)?
    let environment: Environment

    init(_ clock: any LockClock, _ environment: Environment) {
        self.clock = clock is SystemLockClock ? nil : clock
        self.environment = environment
    }

    /// Whoever sleeps by the environment is woken on the keeper's thread: see ``Alarm``.
    var isOfEnvironment: Bool { self.clock == nil }

    func now() -> BootInstant {
        if let clock { BootInstant(clock.now()) } else { self.environment.now }
    }

    /// - Throws: `CancellationError` when the task was cancelled first.
    func sleep(until instant: BootInstant) async throws {
        if let clock {
            try await clock.sleep(until: instant.continuous)
        } else {
            try await self.environment.time.sleep(until: instant)
        }
    }
}
