import LockTesting
import Testing

@Suite(.timeLimit(.minutes(1))) struct ManualClockTests {
    private let clock = ManualClock(start: startInstant)

    @Test func `it stands still until it is moved`() {
        #expect(self.clock.now() == startInstant)
        self.clock.advance(by: .seconds(1))
        #expect(self.clock.now() == startInstant + .seconds(1))
        self.clock.advance(to: startInstant)
        #expect(self.clock.now() == startInstant + .seconds(1))
    }

    @Test func `a sleep is over when its instant has been reached, not before`() async throws {
        let sleep = Task { try await self.clock.sleep(until: startInstant + .seconds(2)) }
        try await self.clock.waitForSleeper(until: startInstant + .seconds(2))
        self.clock.advance(by: .seconds(1))
        #expect(self.clock.sleepers == [startInstant + .seconds(2)])
        self.clock.advance(by: .seconds(1))
        try await sleep.value
        #expect(self.clock.sleeperCount == 0)
        try await self.clock.sleep(until: startInstant)
    }

    @Test func `a sleeper that is cancelled wakes at once, whenever that is`() async throws {
        for yields in 0..<50 {
            let sleep = Task { try await self.clock.sleep(until: startInstant + .seconds(1)) }
            for _ in 0..<yields { await Task.yield() }
            sleep.cancel()
            await #expect(throws: CancellationError.self) { try await sleep.value }
        }
        #expect(self.clock.sleeperCount == 0)
    }

    @Test func `waiting for sleepers ends when they are there, or with the waiting task`() async throws {
        let sleeps = (1...3).map { second in Task { try await self.clock.sleep(until: startInstant + .seconds(second)) }
        }
        try await self.clock.waitForSleepers(count: 3)
        #expect(try await self.clock.waitForSleeper { $0 > startInstant + .seconds(1) } == startInstant + .seconds(2))
        let never = Task { try await self.clock.waitForSleepers(count: 4) }
        never.cancel()
        await #expect(throws: CancellationError.self) { try await never.value }
        for sleep in sleeps { sleep.cancel() }
    }
}
