import HeapModule

/// The next instant of each of many keys, and the earliest of all.
///
/// Setting and removing a key is cheap even when it happens a hundred thousand times a second and the instants are far
/// away: a removed entry stays in the heap until it comes up, or until there are more such entries than live ones.
package struct DeadlineQueue<Key: Hashable & Comparable & Sendable>: Sendable {
    private struct Entry: Comparable, Sendable {
        let instant: ContinuousClock.Instant
        let key: Key

        static func < (left: Entry, right: Entry) -> Bool {
            (left.instant, left.key) < (right.instant, right.key)
        }
    }

    private var heap = Heap<Entry>()
    private var instants: [Key: ContinuousClock.Instant] = [:]

    package init() {}

    package var count: Int { self.instants.count }

    /// How many entries the heap has, live ones and others. For tests of the bound.
    package var heapCount: Int { self.heap.count }

    /// The earliest instant of all keys.
    package mutating func next() -> ContinuousClock.Instant? {
        while let first = self.heap.min {
            if self.instants[first.key] == first.instant { return first.instant }
            self.heap.removeMin()
        }
        return nil
    }

    package mutating func set(_ key: Key, to instant: ContinuousClock.Instant) {
        if self.instants.updateValue(instant, forKey: key) == instant { return }
        self.heap.insert(Entry(instant: instant, key: key))
        self.compactIfMostlyStale()
    }

    package mutating func remove(_ key: Key) {
        if self.instants.removeValue(forKey: key) != nil {
            self.compactIfMostlyStale()
        }
    }

    /// Removes and returns the keys whose instant is not after `now`, the earliest first.
    package mutating func popDue(at now: ContinuousClock.Instant) -> [Key] {
        var due: [Key] = []
        while let first = self.heap.min, first.instant <= now {
            self.heap.removeMin()
            if self.instants[first.key] == first.instant {
                self.instants[first.key] = nil
                due.append(first.key)
            }
        }
        return due
    }

    private mutating func compactIfMostlyStale() {
        guard self.heap.count > 2 * self.instants.count + 64 else { return }
        self.heap = Heap(self.instants.map { Entry(instant: $0.value, key: $0.key) })
    }
}
