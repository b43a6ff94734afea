import DequeModule
import LockKernel

/// The next instant of each of many keys, for an owner who knows what it has set a key to.
///
/// As a rule a key is set to a later instant than all before it: grants of equal leases come one after another. Those stand in
/// a row in the order of their instants, where a key is found by its instant, and nothing has to be hashed. The exceptions
/// are kept by a ``DeadlineQueue``.
struct OrderedDeadlines<Key: Hashable & Comparable & Sendable>: Sendable {
    private struct Entry: Sendable {
        let instant: Moment
        let key: Key
        var isRemoved = false

        func isBefore(_ instant: Moment, _ key: Key) -> Bool {
            self.instant == instant ? self.key < key : self.instant < instant
        }
    }

    /// In the order of their instants, and of their keys where those are equal. Neither end is a removed one; of the others about
    /// half are at most, and some.
    private var row: Deque<Entry> = []
    private var removedCount = 0
    private var others = DeadlineQueue<Key>()

    init() {}

    var count: Int { self.row.count - self.removedCount + self.others.count }

    /// How long the row is, with the removed ones. For tests of the bound.
    var rowCount: Int { self.row.count }

    /// The earliest instant of all keys.
    mutating func nextMoment() -> Moment? {
        let other = self.others.nextMoment()
        guard let first = self.row.first?.instant else { return other }
        return other.map { min($0, first) } ?? first
    }

    /// Sets a key.
    ///
    /// - Parameter old: what the key is set to so far; `nil` if it is not set.
    mutating func set(_ key: Key, to instant: Moment, insteadOf old: Moment? = nil) {
        if let old { self.remove(key, at: old) }
        if self.row.last?.isBefore(instant, key) ?? true {
            self.row.append(Entry(instant: instant, key: key))
        } else {
            self.others.set(key, to: instant)
        }
    }

    /// - Parameter instant: what the key is set to.
    mutating func remove(_ key: Key, at instant: Moment) {
        guard let index = self.index(of: key, at: instant) else { return self.others.remove(key) }
        self.row[index].isRemoved = true
        self.removedCount += 1
        self.tidy()
    }

    /// Removes and returns the keys whose instant is not after `now`, the earliest first.
    mutating func popDue(at now: Moment) -> [Key] {
        var due: [(instant: Moment, key: Key)] = []
        while let first = self.row.first, first.instant <= now {
            due.append((first.instant, first.key))
            self.row.removeFirst()
            self.dropRemoved()
        }
        let others = self.others.popDue(through: now)
        guard !others.isEmpty else { return due.map(\.key) }
        return (due + others).sorted { $0.instant == $1.instant ? $0.key < $1.key : $0.instant < $1.instant }.map(\.key)
    }

    private func index(of key: Key, at instant: Moment) -> Int? {
        var low = 0
        var high = self.row.count
        while low < high {
            let middle = (low + high) / 2
            if self.row[middle].isBefore(instant, key) { low = middle + 1 } else { high = middle }
        }
        guard low < self.row.count else { return nil }
        let found = self.row[low]
        return found.instant == instant && found.key == key && !found.isRemoved ? low : nil
    }

    private mutating func tidy() {
        self.dropRemoved()
        guard self.removedCount > self.row.count / 2 + 32 else { return }
        self.row.removeAll { $0.isRemoved }
        self.removedCount = 0
    }

    private mutating func dropRemoved() {
        while self.row.first?.isRemoved == true {
            self.row.removeFirst()
            self.removedCount -= 1
        }
        while self.row.last?.isRemoved == true {
            self.row.removeLast()
            self.removedCount -= 1
        }
    }
}
