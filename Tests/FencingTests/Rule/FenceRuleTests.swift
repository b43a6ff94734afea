import DistributedLocks
import Fencing
import Testing

@Suite struct FenceRuleTests {
    @Test func `the first token is accepted, whatever it is`() {
        for number in [1, 7, Int64.max] {
            var rule = FenceRule()
            #expect(rule.presented(stamp(number)) == .first)
            #expect(rule.highest == stamp(number))
        }
    }

    @Test func `an equal token is accepted again, a higher one is remembered, a lower one is refused`() {
        var rule = FenceRule(highest: stamp(5))
        #expect(rule.presented(stamp(5)) == .same)
        #expect(rule.presented(stamp(6)) == .raised(from: stamp(5)))
        #expect(rule.presented(stamp(5)) == .stale(highest: stamp(6)))
        #expect(rule.highest == stamp(6))
    }

    @Test func `another domain's token is refused, higher or lower, until it is adopted`() {
        var rule = FenceRule(highest: stamp(5))
        #expect(rule.presented(stamp(9, "zxid")) == .otherDomain(highest: stamp(5)))
        #expect(rule.presented(stamp(1, "zxid")) == .otherDomain(highest: stamp(5)))
        #expect(rule.highest == stamp(5))
        #expect(rule.adopt(stamp(1, "zxid")) == .adopted(from: stamp(5)))
        #expect(rule.presented(stamp(2, "zxid")) == .raised(from: stamp(1, "zxid")))
        #expect(rule.presented(stamp(99)) == .otherDomain(highest: stamp(2, "zxid")))
    }

    @Test func `adopting within one domain lowers nothing`() {
        var rule = FenceRule(highest: stamp(5))
        #expect(rule.adopt(stamp(4)) == .stale(highest: stamp(5)))
        #expect(rule.adopt(stamp(5)) == .same)
        #expect(rule.adopt(stamp(6)) == .raised(from: stamp(5)))
        var fresh = FenceRule()
        #expect(fresh.adopt(stamp(6)) == .first)
    }

    @Test func `in every sequence of steps, what was accepted since the last adoption never falls`() {
        let stamps = [1, 2, 3].flatMap { [stamp($0, "a"), stamp($0, "b")] }
        let steps = stamps.flatMap { [Step(stamp: $0), Step(stamp: $0, isAdoption: true)] }
        var sequences = 0
        func extend(_ rule: FenceRule, accepted: [FencingStamp], depth: Int) {
            guard depth < 3 else {
                sequences += 1
                return
            }
            for step in steps {
                var next = rule
                let decision = step.apply(to: &next)
                var seen = accepted
                switch decision {
                case .first:
                    #expect(accepted.isEmpty)
                case .same:
                    #expect(accepted.last == step.stamp)
                case .raised(let from):
                    #expect(accepted.last == from && from.domain == step.stamp.domain)
                    #expect(from.token < step.stamp.token)
                case .adopted(let from):
                    #expect(step.isAdoption && accepted.last == from && from.domain != step.stamp.domain)
                case .stale(let highest):
                    #expect(accepted.last == highest && highest.domain == step.stamp.domain)
                    #expect(step.stamp.token < highest.token)
                case .otherDomain(let highest):
                    #expect(!step.isAdoption && accepted.last == highest && highest.domain != step.stamp.domain)
                }
                if decision.isAccepted { seen.append(step.stamp) }
                // What is remembered is what was accepted last, and nothing that was refused.
                #expect(next.highest == seen.last)
                extend(next, accepted: seen, depth: depth + 1)
            }
        }
        // Every sequence of three, and some long ones.
        extend(FenceRule(), accepted: [], depth: 0)
        #expect(sequences == steps.count * steps.count * steps.count)
        for seed in 0..<200 as Range<UInt64> {
            var rule = FenceRule()
            var last: FencingStamp?
            for step in Step.random(50, seed: seed) {
                let decision = step.apply(to: &rule)
                if decision.isAccepted { last = step.stamp }
                #expect(rule.highest == last, "seed \(seed), \(step)")
            }
        }
    }

    @Test func `a refusal says who refused what, and why`() throws {
        var rule = FenceRule(highest: stamp(9))
        let refusal = #expect(throws: FenceRefusal.self) {
            try rule.presented(stamp(8)).accepted(stamp(8), by: name("inventory/42"))
        }
        #expect(refusal?.reason == .stale && refusal?.highest == stamp(9) && refusal?.presented == stamp(8))
        #expect(refusal?.description.contains("'inventory/42' refused the fencing token 8: it has seen 9") == true)
        let other = #expect(throws: FenceRefusal.self) {
            try rule.presented(stamp(10, "zxid")).accepted(stamp(10, "zxid"), by: name("a"))
        }
        #expect(other?.reason == .otherDomain)
        #expect(try rule.presented(stamp(9)).accepted(stamp(9), by: name("a")) == .same)
    }
}
