import HeapModule
import LockKernel

/// The next instant of each of many attempts, and the earliest of all, for whoever does not know what an attempt is set to.
///
/// Setting and removing a key is cheap even when it happens a hundred thousand times a second and the instants are far
/// away. The few keys that were set last stand in a short list: most of them are removed before it is full, and never cost
/// more than that. The others are in a heap, where a removed entry stays until it comes up, or until there are more such
/// entries than live ones.
struct UnorderedDeadlines: Sendable {
    private struct Entry: Comparable, Sendable {
        let instant: BootInstant
        let key: AttemptID

        static func < (left: Entry, right: Entry) -> Bool {
            left.instant == right.instant ? left.key < right.key : left.instant < right.instant
        }
    }

    /// As many as can be looked through in the time that hashing a key takes.
    private static var maximumRecentCount: Int { 8 }

    /// The keys that were set last, in no order. None of them is in `instants`.
    private var recent: [Entry] = []
    private var heap = Heap<Entry>()
    /// The keys whose entry is in the heap, and which of their entries there counts.
    private var instants: [AttemptID: BootInstant] = [:]

    init() {}

    var count: Int { self.recent.count + self.instants.count }

    /// How many entries the heap has, live ones and others. For tests of the bound.
    var heapCount: Int { self.heap.count }

    /// The earliest instant of all keys.
    mutating func next() -> BootInstant? {
        var next: BootInstant?
        for entry in self.recent where next.map({ entry.instant < $0 }) ?? true { next = entry.instant }
        while let first = self.heap.min {
            if self.instants[first.key] == first.instant { return next.map { min($0, first.instant) } ?? first.instant }
            self.heap.removeMin()
        }
        return next
    }

    mutating func set(_ key: AttemptID, to instant: BootInstant) {
        let entry = Entry(instant: instant, key: key)
        if let index = self.recent.firstIndex(where: { $0.key == key }) {
            self.recent[index] = entry
            return
        }
        // Any entry that it has in the heap counts no more.
        if !self.instants.isEmpty { self.removeFromHeap(key) }
        if self.recent.count == Self.maximumRecentCount { self.moveRecentToHeap() }
        self.recent.append(entry)
    }

    mutating func remove(_ key: AttemptID) {
        if let index = self.recent.firstIndex(where: { $0.key == key }) {
            self.recent.swapAt(index, self.recent.count - 1)
            self.recent.removeLast()
        } else if !self.instants.isEmpty {
            self.removeFromHeap(key)
        }
    }

    /// Removes and returns the attempts whose instant is not after `now`, the earliest first.
    mutating func popDue(at now: BootInstant) -> [(instant: BootInstant, key: AttemptID)] {
        var due = self.recent.filter { $0.instant <= now }
        if !due.isEmpty { self.recent.removeAll { $0.instant <= now } }
        while let first = self.heap.min, first.instant <= now {
            self.heap.removeMin()
            if self.instants[first.key] == first.instant {
                self.instants[first.key] = nil
                due.append(first)
            }
        }
        return due.sorted().map { ($0.instant, $0.key) }
    }

    private mutating func moveRecentToHeap() {
        for entry in self.recent {
            self.instants[entry.key] = entry.instant
            self.heap.insert(entry)
        }
        self.recent.removeAll(keepingCapacity: true)
        self.compactIfMostlyStale()
    }

    private mutating func removeFromHeap(_ key: AttemptID) {
        if self.instants.removeValue(forKey: key) != nil {
            self.compactIfMostlyStale()
        }
    }

    private mutating func compactIfMostlyStale() {
        guard self.heap.count > 2 * self.instants.count + 64 else { return }
        self.heap = Heap(self.instants.map { Entry(instant: $0.value, key: $0.key) })
    }
}
