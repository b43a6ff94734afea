import LockKernel
import Testing

@testable import DistributedLocks

@Suite struct MomentTests {
    @Test func `it is the instant that it was made of, to the attosecond`() {
        for step in 0..<1_000 {
            let instant = start + Duration(attoseconds: Int128(step) * 1_234_567_890_123) - .seconds(500)
            #expect(Moment(instant).instant == instant)
            #expect(Moment(instant + Duration(attoseconds: 1)) > Moment(instant))
        }
        #expect(Moment(nil as ContinuousClock.Instant?) == nil)
    }

    @Test func `it counts as instants do`() {
        var generator = SeededGenerator(seed: 1)
        for _ in 0..<1_000 {
            let left = start + .nanoseconds(Int64.random(in: -1_000_000...1_000_000, using: &generator))
            let right = start + .nanoseconds(Int64.random(in: -1_000_000...1_000_000, using: &generator))
            #expect((Moment(left) < Moment(right)) == (left < right))
            #expect((Moment(left) == Moment(right)) == (left == right))
            #expect(Moment(left) - Moment(right) == left - right)
            #expect((Moment(left) + .seconds(3)).instant == left + .seconds(3))
            #expect((Moment(left) - .seconds(3)).instant == left - .seconds(3))
        }
    }

    @Test func `a duration is divided as by the operator`() {
        for lease in [Duration.zero, .milliseconds(50), .seconds(10), .seconds(86_400), .nanoseconds(7)] {
            #expect(lease.divided(by: 3) == lease / 3)
            #expect(lease.divided(by: 100) == lease / 100)
        }
    }
}
