import LockKernel

/// Releases that leave a little later, that are out, and that have to be tried again. Pure: `Claim` is what is released.
struct ReleaseOutbox<Claim> {
    typealias Instant = BootInstant

    private var delayed: [Claim] = []
    /// Releases that are out.
    private(set) var outCount = 0
    /// When connected instances are asked once more to release what they have refused to.
    private(set) var retryAt: Instant?

    init() {}

    var hasDelayed: Bool { !self.delayed.isEmpty }

    /// It leaves with the next request. True if a timer has to see to that.
    mutating func delay(_ claim: Claim) -> Bool {
        self.delayed.append(claim)
        return self.delayed.count == 1
    }

    mutating func takeDelayed() -> [Claim] {
        if self.delayed.isEmpty { return [] }
        let claims = self.delayed
        self.delayed = []
        return claims
    }

    /// - Parameter count: to so many instances.
    mutating func sent(_ count: Int = 1) { self.outCount += count }

    mutating func answered() {
        precondition(self.outCount > 0, "an answer to a release that was not sent")
        self.outCount -= 1
    }

    mutating func retry(at instant: Instant) {
        self.retryAt = self.retryAt.map { min($0, instant) } ?? instant
    }

    /// Whether it is time to try again; then it must be set anew.
    mutating func isRetryDue(at now: Instant) -> Bool {
        guard let retryAt, retryAt <= now else { return false }
        self.retryAt = nil
        return true
    }
}

/// What has to be released on one instance as soon as that can be reached, each until its lease is over. Pure.
struct Leftovers<Release> {
    typealias Instant = BootInstant

    /// More than this is not kept: those keys end with their leases.
    static var maximumCount: Int { 10_000 }

    private var entries: [(release: Release, until: Instant)] = []

    init() {}

    /// How many are left that have not ended by themselves.
    func count(at now: Instant) -> Int { self.entries.count { $0.until > now } }

    func isEmpty(at now: Instant) -> Bool { self.entries.allSatisfy { $0.until <= now } }

    /// False: it is over already, or there are too many.
    mutating func keep(_ release: Release, until: Instant, now: Instant) -> Bool {
        if self.entries.count >= Self.maximumCount { self.forgetEnded(now) }
        guard self.entries.count < Self.maximumCount, until > now else { return false }
        self.entries.append((release, until))
        return true
    }

    mutating func takeFirst(at now: Instant) -> Release? {
        self.forgetEnded(now)
        return self.entries.isEmpty ? nil : self.entries.removeFirst().release
    }

    mutating func takeAll(at now: Instant) -> [Release] {
        let entries = self.entries
        self.entries = []
        return entries.filter { $0.until > now }.map(\.release)
    }

    private mutating func forgetEnded(_ now: Instant) { self.entries.removeAll { $0.until <= now } }
}
