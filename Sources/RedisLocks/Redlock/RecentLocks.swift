import DistributedLocks
import LockKernel

/// What a client remembers of locks that it has used: the last token, so that it proposes a higher one, and whether others
/// wanted the lock a moment ago. Forgetting costs a round trip, no more.
struct RecentLocks: Sendable {
    struct Entry: Sendable {
        var token: Int64 = 0
        var contendedUntil: BootInstant?
    }

    /// Others are taken to want a lock for so long after they were seen to.
    static let contention = Duration.seconds(1)
    /// As many as are kept at least; at most twice as many.
    static let capacity = 4_096

    private var new: [LockName: Entry] = [:]
    private var old: [LockName: Entry] = [:]

    subscript(name: LockName) -> Entry {
        get { self.new[name] ?? self.old[name] ?? Entry() }
        set {
            if self.new.count >= Self.capacity, self.new[name] == nil {
                self.old = self.new
                self.new = [:]
            }
            self.new[name] = newValue
        }
    }

    mutating func granted(_ name: LockName, token: Int64) {
        // Found once, as a rule: hashing a name is most of the work.
        if self.new.count < Self.capacity {
            self.new[name, default: self.old[name] ?? Entry()].token = token
        } else {
            self[name].token = token
        }
    }

    mutating func contended(_ name: LockName, now: BootInstant) {
        self[name].contendedUntil = now + Self.contention
    }

    func isContended(_ name: LockName, now: BootInstant) -> Bool {
        self[name].contendedUntil.map { now < $0 } ?? false
    }
}
