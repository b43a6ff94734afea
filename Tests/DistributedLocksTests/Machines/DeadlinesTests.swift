import LockKernel
import TestKit
import Testing

@testable import DistributedLocks

@Suite struct DeadlinesTests {
    private func key(_ number: Int) -> AttemptID { AttemptID(rawValue: UInt64(number)) }

    /// - Parameter jitter: by how much an instant may be earlier than the one before, in milliseconds.
    @Test(arguments: 0..<20, [0, 3, 40])
    func `it does what a plain dictionary does, for any operations`(seed: UInt64, jitter: Int) {
        var generator = SeededGenerator(seed: seed)
        var deadlines = Deadlines()
        var model: [AttemptID: BootInstant] = [:]
        var now = start
        for _ in 0..<2_000 {
            let key = self.key(Int.random(in: 0..<40, using: &generator))
            switch Int.random(in: 0..<10, using: &generator) {
            case 0..<5:
                let instant = now + .milliseconds(50 + Int.random(in: -jitter...0, using: &generator))
                deadlines.set(key, to: instant, insteadOf: model[key])
                model[key] = instant
            case 5..<8:
                if let instant = model.removeValue(forKey: key) { deadlines.remove(key, at: instant) }
            default:
                now = now + .milliseconds(Int.random(in: 0..<20, using: &generator))
                let due = model.filter { $0.value <= now }.sorted { ($0.value, $0.key) < ($1.value, $1.key) }
                for (key, _) in due { model[key] = nil }
                #expect(deadlines.popDue(at: now) == due.map(\.key))
            }
            #expect(deadlines.next() == model.values.min())
            #expect(deadlines.count == model.count)
        }
    }

    @Test func `removing for ever behind one that stays takes bounded memory`() {
        var deadlines = Deadlines()
        deadlines.set(self.key(0), to: start)
        for key in 1..<10_000 {
            deadlines.set(self.key(key), to: start + .seconds(key))
            if key > 1 { deadlines.remove(self.key(key - 1), at: start + .seconds(key - 1)) }
            #expect(deadlines.rowCount <= 2 * deadlines.count + 64)
        }
        #expect(deadlines.count == 2)
        #expect(deadlines.next() == start)
    }

    @Test func `many that are due at one instant come in the order of their keys`() {
        var deadlines = Deadlines()
        for key in [3, 1, 2, 5, 4] { deadlines.set(self.key(key), to: start) }
        deadlines.remove(self.key(2), at: start)
        #expect(deadlines.popDue(at: start) == [1, 3, 4, 5].map(self.key))
        #expect(deadlines.next() == nil)
    }

    @Test func `what an attempt is set to is kept for its owner, and setting it twice leaves one`() {
        var deadlines = Deadlines()
        var known: BootInstant?
        deadlines.remove(self.key(1), knownAs: &known)
        deadlines.set(self.key(1), to: start + .seconds(2), knownAs: &known)
        deadlines.set(self.key(1), to: start + .seconds(1), knownAs: &known)
        #expect(known == start + .seconds(1))
        #expect(deadlines.count == 1)
        deadlines.remove(self.key(1), knownAs: &known)
        #expect(known == nil)
        #expect(deadlines.next() == nil)
    }
}
