import LockKernel
import TestKit
import Testing

@testable import DistributedLocks

@Suite struct UnorderedDeadlinesTests {
    private static let one = AttemptID(rawValue: 1)

    /// What the queue should do, done slowly.
    private struct Model {
        var instants: [AttemptID: BootInstant] = [:]

        var next: BootInstant? { self.instants.values.min() }

        mutating func popDue(at now: BootInstant) -> [AttemptID] {
            let due = self.instants.filter { $0.value <= now }.sorted { ($0.value, $0.key) < ($1.value, $1.key) }
            for (key, _) in due { self.instants[key] = nil }
            return due.map(\.key)
        }
    }

    @Test(arguments: 0..<20)
    func `it does what a plain dictionary does, for any operations`(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var queue = UnorderedDeadlines()
        var model = Model()
        var now = start
        for _ in 0..<3_000 {
            let key = AttemptID(rawValue: UInt64.random(in: 0..<40, using: &generator))
            switch Int.random(in: 0..<10, using: &generator) {
            case 0..<5:
                let instant = now + .milliseconds(Int.random(in: -5..<50, using: &generator))
                queue.set(key, to: instant)
                model.instants[key] = instant
            case 5..<8:
                queue.remove(key)
                model.instants[key] = nil
            default:
                now += .milliseconds(Int.random(in: 0..<20, using: &generator))
                #expect(queue.popDue(at: now).map(\.key) == model.popDue(at: now))
            }
            #expect(queue.next() == model.next)
            #expect(queue.count == model.instants.count)
        }
    }

    @Test func `setting one key for ever takes bounded memory`() {
        var queue = UnorderedDeadlines()
        for step in 0..<10_000 {
            queue.set(Self.one, to: start + .milliseconds(step))
            #expect(queue.heapCount <= 2 * queue.count + 64)
        }
    }

    @Test func `setting and removing for ever takes bounded memory`() {
        var queue = UnorderedDeadlines()
        for number in 0..<10_000 {
            let key = AttemptID(rawValue: UInt64(number))
            queue.set(key, to: start + .seconds(3_600))
            queue.remove(key)
            #expect(queue.heapCount <= 64)
        }
        #expect(queue.next() == nil)
    }

    @Test func `a key that is set twice for the same instant is due once`() {
        var queue = UnorderedDeadlines()
        queue.set(Self.one, to: start + .seconds(1))
        queue.set(Self.one, to: start + .seconds(2))
        queue.set(Self.one, to: start + .seconds(1))
        #expect(queue.popDue(at: start + .seconds(5)).map(\.key) == [Self.one])
        #expect(queue.popDue(at: start + .seconds(5)).map(\.key) == [])
    }
}
