import Testing

@testable import DistributedLocks

@Suite struct TokenHighWaterTests {
    private func token(_ value: Int64) throws -> FencingToken { try #require(FencingToken(rawValue: value)) }

    @Test func `a token must be above the highest one of its name and domain`() throws {
        var highWater = TokenHighWater()
        let name = try LockName("a")
        #expect(highWater.refusal(of: try self.token(5), name: name, domain: .clock) == nil)
        #expect(highWater.refusal(of: try self.token(5), name: name, domain: .clock)?.rawValue == 5)
        #expect(highWater.refusal(of: try self.token(4), name: name, domain: .clock)?.rawValue == 5)
        #expect(highWater.refusal(of: try self.token(6), name: name, domain: .clock) == nil)
        #expect(highWater.refusal(of: try self.token(1), name: try LockName("b"), domain: .clock) == nil)
        let other = TokenDomain(rawValue: "zxid:1")
        #expect(highWater.refusal(of: try self.token(1), name: name, domain: other) == nil)
    }

    @Test func `memory is bounded, and the latest names are remembered`() throws {
        var highWater = TokenHighWater()
        let latest = TokenHighWater.namesPerGeneration
        let names = try (0..<(3 * latest)).map { try LockName("lock \($0)") }
        for name in names {
            #expect(highWater.refusal(of: try self.token(7), name: name, domain: .clock) == nil)
        }
        #expect(highWater.count <= 2 * latest)
        for name in names.suffix(latest) {
            #expect(highWater.refusal(of: try self.token(7), name: name, domain: .clock)?.rawValue == 7)
        }
    }

    @Test func `a name that stays in use is never forgotten`() throws {
        var highWater = TokenHighWater()
        let name = try LockName("hot")
        var last: Int64 = 0
        for index in 0..<(3 * TokenHighWater.namesPerGeneration) {
            _ = highWater.refusal(of: try self.token(1), name: try LockName("cold \(index)"), domain: .clock)
            guard index.isMultiple(of: 1_000) else { continue }
            if last > 0 {
                #expect(highWater.refusal(of: try self.token(last), name: name, domain: .clock)?.rawValue == last)
            }
            last += 1
            #expect(highWater.refusal(of: try self.token(last), name: name, domain: .clock) == nil)
        }
    }
}
