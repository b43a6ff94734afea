import DequeModule
package import LockKernel

/// The next instant of each of many attempts, and the earliest of all, for an owner who knows what it has set an attempt to.
///
/// As a rule an attempt is set to a later instant than all before it: grants of equal leases come one after another. Those stand
/// in a row in the order of their instants, where an attempt is found by its instant, and nothing has to be hashed. The
/// exceptions are kept by ``UnorderedDeadlines``.
///
/// Not generic: outside of its module a generic type goes by tables that are looked up at run time, which made up a quarter
/// of what a lock on a Redlock cost its client.
package struct Deadlines: Sendable {
    private struct Entry: Sendable {
        let instant: BootInstant
        let key: AttemptID
        var isRemoved = false

        func isBefore(_ instant: BootInstant, _ key: AttemptID) -> Bool {
            self.instant == instant ? self.key < key : self.instant < instant
        }
    }

    /// In the order of their instants, and of their keys where those are equal. Neither end is a removed one; of the others about
    /// half are at most, and some.
    private var row: Deque<Entry> = []
    private var removedCount = 0
    private var others = UnorderedDeadlines()

    package init() {}

    var count: Int { self.row.count - self.removedCount + self.others.count }

    /// How long the row is, with the removed ones. For tests of the bound.
    var rowCount: Int { self.row.count }

    /// The earliest instant of all attempts.
    package mutating func next() -> BootInstant? {
        let other = self.others.next()
        guard let first = self.row.first?.instant else { return other }
        return other.map { min($0, first) } ?? first
    }

    /// - Parameter old: what the attempt is set to so far; `nil` if it is not set.
    package mutating func set(_ key: AttemptID, to instant: BootInstant, insteadOf old: BootInstant? = nil) {
        if let old { self.remove(key, at: old) }
        if self.row.last?.isBefore(instant, key) ?? true {
            self.row.append(Entry(instant: instant, key: key))
        } else {
            self.others.set(key, to: instant)
        }
    }

    /// - Parameter instant: what the attempt is set to.
    package mutating func remove(_ key: AttemptID, at instant: BootInstant) {
        guard let index = self.index(of: key, at: instant) else { return self.others.remove(key) }
        self.row[index].isRemoved = true
        self.removedCount += 1
        self.tidy()
    }

    /// - Parameter known: what the attempt is set to so far, and from now on.
    package mutating func set(_ key: AttemptID, to instant: BootInstant, knownAs known: inout BootInstant?) {
        self.set(key, to: instant, insteadOf: known)
        known = instant
    }

    /// - Parameter known: what the attempt is set to; `nil` if it is not set, as afterwards.
    package mutating func remove(_ key: AttemptID, knownAs known: inout BootInstant?) {
        guard let instant = known else { return }
        self.remove(key, at: instant)
        known = nil
    }

    /// Removes and returns the attempts whose instant is not after `now`, the earliest first.
    package mutating func popDue(at now: BootInstant) -> [AttemptID] {
        var due: [(instant: BootInstant, key: AttemptID)] = []
        while let first = self.row.first, first.instant <= now {
            due.append((first.instant, first.key))
            self.row.removeFirst()
            self.dropRemoved()
        }
        let others = self.others.popDue(at: now)
        guard !others.isEmpty else { return due.map(\.key) }
        return (due + others).sorted { $0.instant == $1.instant ? $0.key < $1.key : $0.instant < $1.instant }.map(\.key)
    }

    private func index(of key: AttemptID, at instant: BootInstant) -> Int? {
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
