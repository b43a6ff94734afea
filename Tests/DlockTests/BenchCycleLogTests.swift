import DistributedLocks
import Testing

@testable import dlock

@Suite struct BenchCycleLogTests {
    private func cycle(_ token: Int64, asked: UInt64, entered: UInt64, left: UInt64) -> LoggedCycle {
        LoggedCycle(token: token, asked: asked, entered: entered, left: left, done: left + 1)
    }

    @Test func `grants that follow each other with rising tokens are in order`() throws {
        let log = try CycleLog(
            [
                self.cycle(9, asked: 12, entered: 40, left: 50), self.cycle(3, asked: 10, entered: 20, left: 30),
                self.cycle(5, asked: 11, entered: 30, left: 40),
            ],
            name: "a"
        )
        #expect(log.cycles.map(\.token) == [3, 5, 9])
        #expect(log.outOfOrder == 0)
    }

    @Test func `two grants with one token are a violation`() {
        let cycles = [self.cycle(3, asked: 1, entered: 2, left: 3), self.cycle(3, asked: 4, entered: 5, left: 6)]
        #expect(throws: Violation(description: "the token 3 of 'a' was given to two grants")) {
            try CycleLog(cycles, name: "a")
        }
    }

    @Test func `two that hold at the same time are a violation`() {
        let cycles = [self.cycle(3, asked: 1, entered: 2, left: 6), self.cycle(4, asked: 4, entered: 5, left: 9)]
        #expect(throws: Violation(description: "two held 'a' at the same time, with the tokens 3 and 4")) {
            try CycleLog(cycles, name: "a")
        }
    }

    @Test func `a token that is lower than that of an earlier grant is a violation`() {
        let cycles = [self.cycle(4, asked: 1, entered: 2, left: 3), self.cycle(3, asked: 4, entered: 5, left: 6)]
        #expect(throws: Violation(description: "a later grant of 'a' had the lower token: 3 came after 4")) {
            try CycleLog(cycles, name: "a")
        }
    }

    @Test func `a grant is out of order if somebody who asked earlier was granted later`() throws {
        let log = try CycleLog(
            [
                self.cycle(1, asked: 15, entered: 20, left: 30), self.cycle(2, asked: 16, entered: 30, left: 40),
                self.cycle(3, asked: 10, entered: 40, left: 50), self.cycle(4, asked: 41, entered: 50, left: 60),
            ],
            name: "a"
        )
        #expect(log.outOfOrder == 2)
    }

    @Test func `waits and cycles are measured from the asking`() throws {
        let log = try CycleLog([self.cycle(1, asked: 1_000, entered: 3_000, left: 4_999)], name: "a")
        #expect(Percentiles(log.waits)?.p50 == 2)
        #expect(Percentiles(log.cycleTimes)?.max == 4)
    }

    @Test func `a hand-over is from one holder to the next that was waiting already`() throws {
        let log = try CycleLog(
            [
                self.cycle(1, asked: 0, entered: 1_000, left: 2_000),
                self.cycle(2, asked: 1_500, entered: 5_000, left: 6_000),
                // Nobody was waiting: what passed until somebody asked is no hand-over.
                self.cycle(3, asked: 900_000, entered: 901_000, left: 902_000),
            ],
            name: "a"
        )
        #expect(Percentiles(log.handOvers)?.max == 3)
        #expect(Percentiles(try CycleLog([], name: "a").handOvers) == nil)
    }

    @Test func `cycles pass through a pipe unchanged`() {
        let cycles = [
            self.cycle(1, asked: 2, entered: 3, left: 4),
            self.cycle(.max, asked: 1 << 40, entered: 1 << 50, left: 1 << 60),
        ]
        #expect(LoggedCycle.decode(LoggedCycle.encode(cycles)) == cycles)
        #expect(LoggedCycle.decode([]) == [])
        #expect(LoggedCycle.decode(Array(LoggedCycle.encode(cycles).dropLast())) == nil)
    }

    @Test func `tokens that do not rise for one worker are a violation`() throws {
        var check = TokenCheck(name: "a")
        try check.granted(try #require(FencingToken(rawValue: 5)))
        try check.granted(try #require(FencingToken(rawValue: 7)))
        for token: Int64 in [7, 6] {
            #expect(throws: Violation.self) { try check.granted(try #require(FencingToken(rawValue: token))) }
        }
        #expect(check.last?.rawValue == 7)
    }

    @Test func `two inside at once are seen`() {
        let exclusion = Exclusion()
        #expect(exclusion.enter())
        #expect(!exclusion.enter())
        exclusion.leave()
        exclusion.leave()
        #expect(exclusion.enter())
    }

    @Test func `a violation ends the command with 70 and a request to report it`() {
        let failure = BenchFailure.failure(of: Violation(description: "two held 'a'"))
        #expect(failure.status == 70)
        #expect(failure.message.hasPrefix("two held 'a'"))
        #expect(BenchFailure.failure(of: LockError(.timedOut, "late")).status == 69)
    }
}
