import LockKernel
import Testing

@testable import DistributedLocks

@Suite struct OrderedDeadlinesTests {
    private let origin = Moment(start)

    /// - Parameter jitter: by how much an instant may be earlier than the one before, in milliseconds.
    @Test(arguments: 0..<20, [0, 3, 40])
    func `it does what a plain dictionary does, for any operations`(seed: UInt64, jitter: Int) {
        var generator = SeededGenerator(seed: seed)
        var deadlines = OrderedDeadlines<Int>()
        var model: [Int: Moment] = [:]
        var now = self.origin
        for _ in 0..<2_000 {
            let key = Int.random(in: 0..<40, using: &generator)
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
            #expect(deadlines.nextMoment() == model.values.min())
            #expect(deadlines.count == model.count)
        }
    }

    @Test func `removing for ever behind one that stays takes bounded memory`() {
        var deadlines = OrderedDeadlines<Int>()
        deadlines.set(0, to: self.origin)
        for key in 1..<10_000 {
            deadlines.set(key, to: self.origin + .seconds(key))
            if key > 1 { deadlines.remove(key - 1, at: self.origin + .seconds(key - 1)) }
            #expect(deadlines.rowCount <= 2 * deadlines.count + 64)
        }
        #expect(deadlines.count == 2)
        #expect(deadlines.nextMoment() == self.origin)
    }

    @Test func `many that are due at one instant come in the order of their keys`() {
        var deadlines = OrderedDeadlines<Int>()
        for key in [3, 1, 2, 5, 4] { deadlines.set(key, to: self.origin) }
        deadlines.remove(2, at: self.origin)
        #expect(deadlines.popDue(at: self.origin) == [1, 3, 4, 5])
        #expect(deadlines.nextMoment() == nil)
    }
}
