#if Embedded
import DistributedLocks
import LockKernel

/// Keeps track of what this client waits for in the file, and decides when to look at it.
///
/// States of a claim: *requesting* (its request is being done; its outcome may be unknown), *waiting*, *checking* (a look
/// at the file is being done). Events: a notice, the death of the one it waits for, a timer. A notice that comes while
/// something is being done is remembered, so that none is lost.
///
/// A claim watches its predecessor's client: the waiter ahead, or the holder if there is none. If that is this client
/// itself, there is nothing to watch: it tells itself. But what it would tell may have been told by others meanwhile, and
/// not have arrived: so these look, too, after a long while, and all at once when a claim of this client has lost its place
/// or what it held. One whose request or look is being done just then may have read the file before: it looks once more
/// when that is done, whatever lock it waits for.
struct WaitingStateMachine: Sendable {
    private enum State: Sendable {
        case requesting(noticed: Bool)
        case waiting
        case checking(noticed: Bool)
    }

    private struct Entry: Sendable {
        let claim: LockClaim
        var state: State
        var place: Int64 = 0
        var watches: ParticipantID?
        /// When to look without being told.
        var lookAt: BootInstant?
        /// ``lostPlaces`` when its request or look began.
        var lostPlacesBefore: UInt64
    }

    /// A look at the file.
    struct Look: Sendable {
        let claim: LockClaim
        let place: Int64
    }

    struct PlaceAction: Sendable {
        /// Look again at once.
        var look: Look?
        /// Whom to watch from now on, if nobody did before.
        var watch: ParticipantID?
        /// Whom nobody waits for any more.
        var unwatch: ParticipantID?
    }

    /// The client's own name.
    let own: ParticipantID
    private var entries: [AttemptID: Entry] = [:]
    private var watchers: [ParticipantID: Set<AttemptID>] = [:]
    /// The claims in the state *waiting*, by the lock that they wait for.
    private var waiting: [LockName: Set<AttemptID>] = [:]
    private var timers = Deadlines()
    /// How many claims have lost their place or what they held so far.
    private var lostPlaces: UInt64 = 0

    /// The first waiter looks right after the holder's lease has ended. Those behind look later: they are only there in
    /// case those ahead are stopped.
    static let headSlack: Duration = .milliseconds(1)
    static let backstopSlack: Duration = .milliseconds(250)
    /// Those behind a claim of this client look this often: a thousand of them cost 33 looks a second.
    static let ownBackstop: Duration = .seconds(30)
    /// No look sooner than this after the last one.
    static let minimumPause: Duration = .milliseconds(10)

    init(own: ParticipantID) {
        self.own = own
    }

    var count: Int { self.entries.count }
    var watchedCount: Int { self.watchers.count }

    func isWatched(_ participant: ParticipantID) -> Bool { self.watchers[participant] != nil }

    mutating func nextWakeup() -> BootInstant? { self.timers.next() }

    /// A request is about to be done. True if the same claim was requested before, with an unknown outcome.
    mutating func requested(_ claim: LockClaim) -> Bool {
        if self.entries[claim.attempt] != nil { return true }
        self.entries[claim.attempt] = Entry(
            claim: claim, state: .requesting(noticed: false), lostPlacesBefore: self.lostPlaces)
        return false
    }

    /// The claim has a place in the queue.
    mutating func placed(
        _ attempt: AttemptID,
        _ place: StoredPlace,
        leaseEnd: BootInstant,
        now: BootInstant
    ) -> PlaceAction {
        guard var entry = self.entries[attempt] else { return PlaceAction() }
        let noticed: Bool
        switch entry.state {
        case .requesting(let flag), .checking(let flag): noticed = flag || entry.lostPlacesBefore != self.lostPlaces
        case .waiting: noticed = false
        }
        entry.place = place.place
        var action = PlaceAction()
        let target = place.predecessor ?? place.holder
        let watches = target == self.own ? nil : target
        if watches != entry.watches {
            action.unwatch = self.removeWatch(of: attempt, entry.watches)
            if let watches {
                if self.watchers[watches] == nil { action.watch = watches }
                self.watchers[watches, default: []].insert(attempt)
            }
            entry.watches = watches
        }
        if place.predecessor != self.own {
            let slack = place.predecessor == nil ? Self.headSlack : Self.backstopSlack
            self.timers.set(attempt, to: max(leaseEnd + slack, now + Self.minimumPause), knownAs: &entry.lookAt)
        } else {
            let backstop = max(leaseEnd + Self.backstopSlack, now + Self.ownBackstop)
            self.timers.set(attempt, to: backstop, knownAs: &entry.lookAt)
        }
        if noticed {
            entry.state = .checking(noticed: false)
            entry.lostPlacesBefore = self.lostPlaces
            action.look = Look(claim: entry.claim, place: entry.place)
        } else {
            entry.state = .waiting
        }
        self.set(attempt, entry)
        return action
    }

    /// Every change of an entry's state goes through here.
    private mutating func set(_ attempt: AttemptID, _ entry: Entry?) {
        if let old = self.entries[attempt], case .waiting = old.state { self.forgetWaiting(old.claim) }
        self.entries[attempt] = entry
        if let entry, case .waiting = entry.state { self.waiting[entry.claim.name, default: []].insert(attempt) }
    }

    private mutating func forgetWaiting(_ claim: LockClaim) {
        guard let index = self.waiting.index(forKey: claim.name) else { return }
        self.waiting.values[index].remove(claim.attempt)
        if self.waiting.values[index].isEmpty { self.waiting.remove(at: index) }
    }

    /// The claim has lost its place or what it held, and this client did not do that. Returns whom nobody waits for any more,
    /// and looks for the others that wait for the same lock: what was told of them meanwhile may have been lost, too.
    mutating func foundGone(_ claim: LockClaim) -> (unwatch: ParticipantID?, looks: [Look]) {
        self.lostPlaces += 1
        let unwatch = self.ended(claim.attempt)
        guard let others = self.waiting[claim.name] else { return (unwatch, []) }
        return (unwatch, others.sorted().compactMap { self.noticed($0) })
    }

    /// Somebody said to look.
    mutating func noticed(_ attempt: AttemptID) -> Look? {
        guard var entry = self.entries[attempt] else { return nil }
        defer { self.set(attempt, entry) }
        switch entry.state {
        case .requesting:
            entry.state = .requesting(noticed: true)
            return nil
        case .checking:
            entry.state = .checking(noticed: true)
            return nil
        case .waiting:
            entry.state = .checking(noticed: false)
            entry.lostPlacesBefore = self.lostPlaces
            return Look(claim: entry.claim, place: entry.place)
        }
    }

    /// A look could not be done: it is done again soon.
    mutating func lookFailed(_ attempt: AttemptID, now: BootInstant) {
        guard var entry = self.entries[attempt] else { return }
        entry.state = .waiting
        self.timers.set(attempt, to: now + Self.backstopSlack, knownAs: &entry.lookAt)
        self.set(attempt, entry)
    }

    /// A client died. Returns the claims that waited for it: it is to be buried in their queues.
    mutating func died(_ participant: ParticipantID) -> [LockClaim] {
        let attempts = self.watchers.removeValue(forKey: participant) ?? []
        return attempts.sorted().compactMap { attempt in
            guard let entry = self.entries[attempt] else { return nil }
            self.entries[attempt]?.watches = nil
            return entry.claim
        }
    }

    mutating func timerFired(now: BootInstant) -> [Look] {
        self.timers.popDue(at: now).compactMap { attempt in
            self.entries[attempt]?.lookAt = nil
            return self.noticed(attempt)
        }
    }

    /// The claim was granted, withdrawn or refused. Returns whom nobody waits for any more.
    mutating func ended(_ attempt: AttemptID) -> ParticipantID? {
        // Most grants were never waited for.
        guard !self.entries.isEmpty, var entry = self.entries[attempt] else { return nil }
        self.set(attempt, nil)
        self.timers.remove(attempt, knownAs: &entry.lookAt)
        return self.removeWatch(of: attempt, entry.watches)
    }

    private mutating func removeWatch(of attempt: AttemptID, _ participant: ParticipantID?) -> ParticipantID? {
        guard let participant, var attempts = self.watchers[participant] else { return nil }
        attempts.remove(attempt)
        if attempts.isEmpty {
            self.watchers[participant] = nil
            return participant
        }
        self.watchers[participant] = attempts
        return nil
    }
}
#endif
