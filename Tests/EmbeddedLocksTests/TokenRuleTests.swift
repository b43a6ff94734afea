import Testing

@testable import EmbeddedLocks

@Suite struct TokenRuleTests {
    @Test func `a number is above the last one, the floor and not below the clock`() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<10_000 {
            let last = Int64.random(in: 0...1 << 40, using: &generator)
            let floor = Int64.random(in: 0...1 << 40, using: &generator)
            let now = Int64.random(in: 0...1 << 40, using: &generator)
            let next = TokenRule.next(last: last, floor: floor, now: now)
            #expect(next == max(last + 1, floor + 1, now))
        }
    }

    @Test func `the clock counts ticks of 16 microseconds since 2025`() {
        #expect(TokenRule.ticks(microsecondsSince1970: 1_735_689_600_000_000) == 0)
        #expect(TokenRule.ticks(microsecondsSince1970: 1_735_689_600_000_016) == 1)
        #expect(TokenRule.ticks(microsecondsSince1970: 0) == 0)
    }

    @Test func `numbers end after 47 bits instead of starting anew`() {
        #expect(TokenRule.next(last: TokenRule.maximum - 1, floor: 0, now: 0) == TokenRule.maximum)
        #expect(TokenRule.next(last: TokenRule.maximum, floor: 0, now: 0) == nil)
    }
}
