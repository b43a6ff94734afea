import LockKernel
import TestKit
import Testing

@testable import DistributedLocks

@Suite struct BootInstantTests {
    @Test func `it is the instant that it was made of, to the attosecond`() {
        for step in 0..<1_000 {
            let instant = startInstant + Duration(attoseconds: Int128(step) * 1_234_567_890_123) - .seconds(500)
            #expect(BootInstant(instant).continuous == instant)
            #expect(BootInstant(instant + Duration(attoseconds: 1)) > BootInstant(instant))
        }
        #expect(BootInstant(nil as ContinuousClock.Instant?) == nil)
    }

    @Test func `it counts as instants do`() {
        var generator = SeededGenerator(seed: 1)
        for _ in 0..<1_000 {
            let left = startInstant + .nanoseconds(Int64.random(in: -1_000_000...1_000_000, using: &generator))
            let right = startInstant + .nanoseconds(Int64.random(in: -1_000_000...1_000_000, using: &generator))
            #expect((BootInstant(left) < BootInstant(right)) == (left < right))
            #expect((BootInstant(left) == BootInstant(right)) == (left == right))
            #expect(BootInstant(left) - BootInstant(right) == left - right)
            #expect((BootInstant(left) + .seconds(3)).continuous == left + .seconds(3))
            #expect((BootInstant(left) - .seconds(3)).continuous == left - .seconds(3))
        }
    }

    @Test func `a duration is divided as by the operator`() {
        for lease in [Duration.zero, .milliseconds(50), .seconds(10), .seconds(86_400), .nanoseconds(7)] {
            #expect(lease.divided(by: 3) == lease / 3)
            #expect(lease.divided(by: 100) == lease / 100)
        }
    }
}
