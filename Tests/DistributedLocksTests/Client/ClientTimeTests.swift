import LockKernel
import LockTesting
import TestKit
import Testing

@testable import DistributedLocks

/// Whose time a client goes by.
@Suite(.timeLimit(.minutes(1))) struct ClientTimeTests {
    /// Stands still; a sleep ends at once, and is noted.
    private final class StillTime: TimeSource {
        let instant = BootInstant(startInstant)
        let slept = Mutexed<[BootInstant]>([])

        func now() -> BootInstant { self.instant }
        func sleep(until instant: BootInstant) async throws { self.slept.withLock { $0.append(instant) } }
        func wallClock() -> Int64 { 0 }
        func bootTime() -> Int64 { 0 }
    }

    @Test func `with the system's clock it is the environment's time`() async throws {
        let still = StillTime()
        let time = ClientTime(SystemLockClock(), Environment(time: still))
        #expect(time.isOfEnvironment)
        #expect(time.now() == still.instant)
        try await time.sleep(until: still.instant + .seconds(9))
        #expect(still.slept.withLock { $0 } == [still.instant + .seconds(9)])
    }

    @Test func `with another clock it is that one's`() async throws {
        let still = StillTime()
        let clock = ManualClock(start: startInstant + .seconds(5))
        let time = ClientTime(clock, Environment(time: still))
        #expect(!time.isOfEnvironment)
        #expect(time.now() == still.instant + .seconds(5))
        let sleep = Task { try await time.sleep(until: still.instant + .seconds(6)) }
        try await clock.waitForSleeper(until: startInstant + .seconds(6))
        clock.advance(by: .seconds(1))
        try await sleep.value
        #expect(still.slept.withLock { $0.isEmpty })
    }
}
