import LockKernel

/// Decides when grants are renewed and when they are lost. It never needs a reply to declare a grant lost.
///
/// States of a grant: *idle* until its next renewal, *renewing* while a request is out. Events: `held`, `timerFired`,
/// `renewed`, `renewalFailed`, `renewalsWanted`, `extended`, `removed`. A grant leaves the keeper when it is lost or released.
struct KeeperStateMachine: Sendable {
    private struct Entry: Sendable {
        let claim: LockClaim
        var validUntil: BootInstant
        /// When to renew next; `nil` while a renewal is out, or where leases belong to the session.
        var renewAt: BootInstant?
        /// When to stop whatever the holder does.
        let holdUntil: BootInstant?

        var nextEvent: BootInstant {
            var next = self.validUntil
            if let renewAt = self.renewAt { next = min(next, renewAt) }
            if let holdUntil = self.holdUntil { next = min(next, holdUntil) }
            return next
        }
    }

    /// What the shell has to do when the timer fired.
    struct TimerAction: Sendable {
        var renew: [LockRenewal] = []
        var lost: [(attempt: AttemptID, reason: LockError.LossReason)] = []
    }

    private let renews: Bool
    private var entries: [AttemptID: Entry] = [:]
    private var timers = Deadlines()

    /// Renewals that are due soon leave together with those that are due now: within this part of the lease.
    private static let batchingDivisor = 20
    /// A renewal every third of the lease.
    private static let renewalDivisor: Int128 = 3
    /// After a failed renewal the next one follows within a twelfth of the lease.
    private static let retryDivisor = 12

    init(leaseScope: LockCapabilities.LeaseScope) {
        switch leaseScope {
        case .grant: self.renews = true
        case .session: self.renews = false
        }
    }

    var count: Int { self.entries.count }

    /// All attempts that hold a lock.
    var attempts: [AttemptID] { Array(self.entries.keys) }

    mutating func nextWakeup() -> BootInstant? { self.timers.next() }

    mutating func held(_ claim: LockClaim, validUntil: BootInstant, holdUntil: BootInstant?, now: BootInstant) {
        let entry = Entry(
            claim: claim,
            validUntil: validUntil,
            renewAt: self.renews ? Self.nextRenewal(lease: claim.lease, validUntil: validUntil, now: now) : nil,
            holdUntil: holdUntil
        )
        precondition(
            self.entries.updateValue(entry, forKey: claim.attempt) == nil, "attempt \(claim.attempt) is held twice")
        self.timers.set(claim.attempt, to: entry.nextEvent)
    }

    /// Until when a grant is valid, as far as is known; `nil` if it was removed, or found to be lost.
    func validUntil(of attempt: AttemptID) -> BootInstant? { self.entries[attempt]?.validUntil }

    /// Forgets a grant that was released or declared lost elsewhere.
    mutating func removed(_ attempt: AttemptID) {
        guard let entry = self.entries.removeValue(forKey: attempt) else { return }
        self.timers.remove(attempt, at: entry.nextEvent)
    }

    mutating func timerFired(now: BootInstant) -> TimerAction {
        var action = TimerAction()
        var renewing: [AttemptID] = []
        let due = self.timers.popDue(at: now)
        for attempt in due {
            guard let entry = self.entries[attempt] else { continue }
            if now >= entry.validUntil {
                self.entries[attempt] = nil
                action.lost.append((attempt, .leaseExpired))
            } else if let holdUntil = entry.holdUntil, now >= holdUntil {
                self.entries[attempt] = nil
                action.lost.append((attempt, .holdLimitReached))
            } else if let renewAt = entry.renewAt, now >= renewAt {
                renewing.append(attempt)
            } else {
                self.timers.set(attempt, to: entry.nextEvent)
            }
        }
        if !renewing.isEmpty {
            // One exchange for many: whoever is due within a small part of its lease goes along.
            let latest = { (entry: Entry) in now + entry.claim.lease / Self.batchingDivisor }
            renewing += self.attempts { entry in
                entry.renewAt.map { $0 > now && $0 <= latest(entry) } ?? false
            }
        }
        for attempt in renewing {
            guard let entry = self.update(attempt, { $0.renewAt = nil }) else { continue }
            action.renew.append(LockRenewal(claim: entry.claim, latest: entry.validUntil))
        }
        return action
    }

    /// A renewal was answered: the validity deadline from now on; `nil` if the grant is lost.
    ///
    /// An answer that comes after the validity deadline comes too late, whether or not the timer has fired yet.
    mutating func renewed(
        _ attempt: AttemptID,
        until: BootInstant,
        now: BootInstant
    ) -> BootInstant? {
        guard let known = self.entries[attempt], now < known.validUntil else { return nil }
        let renews = self.renews
        return self.update(attempt) { entry in
            entry.validUntil = max(entry.validUntil, until)
            if renews {
                entry.renewAt = Self.nextRenewal(lease: entry.claim.lease, validUntil: entry.validUntil, now: now)
            }
        }?.validUntil
    }

    /// A renewal got no answer that helps: it is tried again while the grant is valid.
    mutating func renewalFailed(_ attempt: AttemptID, now: BootInstant) {
        self.update(attempt) { $0.renewAt = now + $0.claim.lease / Self.retryDivisor }
    }

    /// The store may have forgotten what is held: all renewals that are not out are due now.
    mutating func renewalsWanted(now: BootInstant) {
        for attempt in self.attempts(where: { $0.renewAt.map { $0 > now } ?? false }) {
            self.update(attempt) { $0.renewAt = now }
        }
    }

    /// In order: what is decided follows no dictionary's.
    private func attempts(where isWanted: (Entry) -> Bool) -> [AttemptID] {
        self.entries.filter { isWanted($0.value) }.keys.sorted()
    }

    /// The backend extended the validity of one grant by itself.
    mutating func extended(
        _ attempt: AttemptID,
        until: BootInstant,
        now: BootInstant
    ) -> BootInstant? {
        guard let known = self.entries[attempt], now < known.validUntil else { return nil }
        return self.update(attempt) { $0.validUntil = max($0.validUntil, until) }?.validUntil
    }

    /// Changes an entry, and when its next event is due.
    @discardableResult
    private mutating func update(_ attempt: AttemptID, _ change: (inout Entry) -> Void) -> Entry? {
        guard var entry = self.entries[attempt] else { return nil }
        let old = entry.nextEvent
        change(&entry)
        self.entries[attempt] = entry
        self.timers.set(attempt, to: entry.nextEvent, insteadOf: old)
        return entry
    }

    /// A third of the lease from now, and never so late that no time is left to try a second time.
    private static func nextRenewal(
        lease: Duration,
        validUntil: BootInstant,
        now: BootInstant
    ) -> BootInstant {
        let part = lease.divided(by: Self.renewalDivisor)
        return min(now + part, max(now, validUntil - part))
    }
}
