import DistributedLocks
import LockKernel

/// Decides what a client does for the claims that it has on one Redis master: when it touches those that wait, and what a
/// pushed grant is worth.
///
/// States of a claim: *requesting* (an acquire is out), *queued* (an answer said so; it has an anchor), *held*. It is
/// forgotten when it is released or withdrawn, and whatever is heard of it after that is ignored.
///
/// A grant by push counts from the anchor: the instant before the last request left that was *answered* "queued", on the
/// connection that the push came by. The grant came after that answer, so its lease began later; a touch that is still
/// out proves nothing, because the server may not have seen it.
struct WaitingStateMachine: Sendable {
    /// What to ask the server for a claim.
    struct Touch: Sendable, Equatable {
        let attempt: AttemptID
    }

    enum PushAction: Equatable, Sendable {
        case grant(AttemptID, FencingToken, validUntil: BootInstant)
        /// It is too old to be relied on: ask, which sets the lease anew.
        case touch(AttemptID)
        case lost(AttemptID)
        case ignore
    }

    enum TouchAction: Equatable, Sendable {
        case grant(FencingToken, validUntil: BootInstant)
        case gone
        case none
    }

    /// How a touch came to nothing.
    enum TouchFailure: Equatable, Sendable {
        /// It was not sent, or there was no answer.
        case noAnswer
        /// The server refused it, for reasons that pass.
        case passingRefusal
        /// The server refused it, and goes on refusing until somebody changes something.
        case lastingRefusal
    }

    enum TouchFailureAction: Equatable, Sendable {
        /// It is repeated.
        case wait
        /// The claim is forgotten: it cannot be granted.
        case giveUp
    }

    private struct Anchor {
        let sentAt: BootInstant
        let connection: RedisConnectionID
    }

    private struct Queued {
        var anchor: Anchor
        var isTouching = false
        var failures = 0
        /// Since when the server answers with refusals that do not pass by themselves.
        var refusedSince: BootInstant?
        var refusals = 0
    }

    /// A grant that was pushed before the answer that the claim is queued had been dealt with.
    private struct EarlyGrant {
        let message: PushedMessage
        let connection: RedisConnectionID
    }

    private enum State {
        case requesting(EarlyGrant?)
        case queued(Queued)
        case held
    }

    private struct Entry {
        let claim: LockClaim
        var state: State
        /// When it is touched next.
        var touchAt: BootInstant?
    }

    private var entries: [AttemptID: Entry] = [:]
    private var waiting: [LockOwner.Secret: AttemptID] = [:]
    private var wakeups = Deadlines()

    /// A waiter shows that it lives this often.
    static func touchInterval(lease: Duration) -> Duration { min(lease.divided(by: 3), .seconds(2)) }
    /// The server forgets a waiter that has not shown that it lives for this long.
    static func registration(lease: Duration) -> Duration {
        Duration(attoseconds: Self.touchInterval(lease: lease).attoseconds * 3)
    }
    /// What a server refuses for so long, and so often, is not asked any more. Somebody may be putting right what is wrong.
    static var patienceWithRefusals: Duration { .seconds(2) }
    static var toleratedRefusals: Int { 2 }

    /// How many claims are known. For tests of what is left behind.
    var count: Int { self.entries.count }
    var waitingCount: Int { self.waiting.count }

    func claim(_ attempt: AttemptID) -> LockClaim? { self.entries[attempt]?.claim }

    /// An acquire is about to leave. A claim that waits stays where it is: its anchor is still true.
    mutating func requested(_ claim: LockClaim) {
        let new = Entry(claim: claim, state: .requesting(nil))
        if let known = self.entries.updateValue(new, forKey: claim.attempt) { self.entries[claim.attempt] = known }
    }

    /// An acquire was answered with a grant. False if nobody wants it any more.
    mutating func granted(_ attempt: AttemptID) -> Bool {
        guard let index = self.entries.index(forKey: attempt) else { return false }
        var entry = self.entries.values[index]
        self.stopWaiting(&entry)
        entry.state = .held
        self.entries.values[index] = entry
        return true
    }

    /// An acquire was answered with a place in the queue. A grant that was pushed in between is dealt with now.
    mutating func queued(
        _ attempt: AttemptID,
        _ reply: ClaimReply.QueueReply,
        sentAt: BootInstant,
        connection: RedisConnectionID,
        now: BootInstant
    ) -> PushAction {
        guard var entry = self.entries[attempt] else { return .ignore }
        switch entry.state {
        case .held:
            // A push has answered an earlier request of the same claim meanwhile.
            return .ignore
        case .requesting(let early):
            let owner = entry.claim.owner.secret
            entry.state = .queued(Queued(anchor: Anchor(sentAt: sentAt, connection: connection)))
            let next = self.nextTouch(of: entry.claim, reply, now: now)
            self.wakeups.set(attempt, to: next, knownAs: &entry.touchAt)
            self.entries[attempt] = entry
            self.waiting[owner] = attempt
            guard let early else { return .ignore }
            return self.pushed(early.message, connection: early.connection, now: now)
        case .queued(var queued):
            // The same claim was asked for again, because the first answer was not seen.
            if connection >= queued.anchor.connection {
                queued.anchor = Anchor(sentAt: sentAt, connection: connection)
            }
            entry.state = .queued(queued)
            self.entries[attempt] = entry
            return .ignore
        }
    }

    /// A message arrived.
    mutating func pushed(
        _ message: PushedMessage,
        connection: RedisConnectionID,
        now: BootInstant
    ) -> PushAction {
        switch message {
        case .granted(let owner, let token):
            guard let attempt = self.waiting[owner] else {
                self.noteEarlyGrant(owner, message, connection)
                return .ignore
            }
            guard var entry = self.entries[attempt], case .queued(let queued) = entry.state,
                queued.anchor.connection == connection
            else { return .ignore }
            let lease = entry.claim.lease
            let validUntil = LockValidity.deadline(lease: lease, sentAt: queued.anchor.sentAt)
            // Half a lease is what is left after a touch that was due and a little late. Less means that this process
            // was stopped, or the network hung.
            if validUntil - now < lease / 2 { return self.ask(attempt) }
            self.stopWaiting(&entry)
            entry.state = .held
            self.entries[attempt] = entry
            return .grant(attempt, token, validUntil: validUntil)
        case .handedOver(let owner):
            guard let attempt = self.waiting[owner] else {
                self.noteEarlyGrant(owner, message, connection)
                return .ignore
            }
            return self.ask(attempt)
        case .broken(let owner):
            let held = self.entries.first { $0.value.claim.owner.secret == owner }
            return held.map { .lost($0.key) } ?? .ignore
        }
    }

    /// A touch that is out already was sent before the push came, and is answered after it: it finds the grant.
    private mutating func ask(_ attempt: AttemptID) -> PushAction {
        guard let touch = self.startTouch(attempt) else { return .ignore }
        return .touch(touch.attempt)
    }

    private mutating func noteEarlyGrant(
        _ owner: LockOwner.Secret, _ message: PushedMessage, _ connection: RedisConnectionID
    ) {
        guard let index = self.entries.firstIndex(where: { $0.value.claim.owner.secret == owner }) else {
            return
        }
        switch self.entries.values[index].state {
        case .requesting:
            self.entries.values[index].state = .requesting(EarlyGrant(message: message, connection: connection))
        case .queued, .held:
            break
        }
    }

    /// The claims to touch now.
    mutating func timerFired(now: BootInstant) -> [Touch] {
        self.wakeups.popDue(at: now).compactMap { self.startTouch($0) }
    }

    /// A connection was made: pushes were missed, and anchors on the old one count no more.
    mutating func connected() -> [Touch] {
        self.waiting.values.sorted().compactMap { self.startTouch($0) }
    }

    private mutating func startTouch(_ attempt: AttemptID) -> Touch? {
        guard var entry = self.entries[attempt], case .queued(var queued) = entry.state, !queued.isTouching else {
            return nil
        }
        queued.isTouching = true
        entry.state = .queued(queued)
        self.wakeups.remove(attempt, knownAs: &entry.touchAt)
        self.entries[attempt] = entry
        return Touch(attempt: attempt)
    }

    /// A touch was answered.
    mutating func touchAnswered(
        _ attempt: AttemptID,
        _ reply: ClaimReply,
        sentAt: BootInstant,
        connection: RedisConnectionID,
        now: BootInstant
    ) -> TouchAction {
        guard var entry = self.entries[attempt], case .queued(var queued) = entry.state else { return .none }
        switch reply {
        case .granted(let token):
            self.stopWaiting(&entry)
            entry.state = .held
            self.entries[attempt] = entry
            return .grant(token, validUntil: LockValidity.deadline(lease: entry.claim.lease, sentAt: sentAt))
        case .queued(let place):
            // Replies of one connection come in order; one of an earlier connection must not replace a later anchor.
            if connection >= queued.anchor.connection {
                queued.anchor = Anchor(sentAt: sentAt, connection: connection)
            }
            queued.isTouching = false
            queued.failures = 0
            queued.refusedSince = nil
            queued.refusals = 0
            entry.state = .queued(queued)
            let next = self.nextTouch(of: entry.claim, place, now: now)
            self.wakeups.set(attempt, to: next, knownAs: &entry.touchAt)
            self.entries[attempt] = entry
            return .none
        case .gone, .busy, .full:
            self.stopWaiting(&entry)
            self.entries[attempt] = nil
            return .gone
        }
    }

    /// A touch was not answered, or refused. It is repeated: soon at first, then at the usual interval. Not for ever, if it is
    /// refused for reasons that do not pass: the caller, who waits, has to hear them.
    mutating func touchFailed(
        _ attempt: AttemptID,
        _ failure: TouchFailure,
        now: BootInstant
    ) -> TouchFailureAction {
        guard var entry = self.entries[attempt], case .queued(var queued) = entry.state else { return .wait }
        queued.isTouching = false
        queued.failures += 1
        switch failure {
        case .noAnswer:
            // It says nothing about what the server would have answered.
            break
        case .passingRefusal:
            queued.refusedSince = nil
            queued.refusals = 0
        case .lastingRefusal:
            let since = queued.refusedSince ?? now
            queued.refusals += 1
            guard queued.refusals <= Self.toleratedRefusals || now < since + Self.patienceWithRefusals else {
                self.stopWaiting(&entry)
                self.entries[attempt] = nil
                return .giveUp
            }
            queued.refusedSince = since
        }
        entry.state = .queued(queued)
        let soon = Duration.milliseconds(50 << min(queued.failures, 5))
        let next = now + min(soon, Self.touchInterval(lease: entry.claim.lease))
        self.wakeups.set(attempt, to: next, knownAs: &entry.touchAt)
        self.entries[attempt] = entry
        return .wait
    }

    /// A claim is released or withdrawn.
    mutating func ended(_ attempt: AttemptID) {
        guard var entry = self.entries.removeValue(forKey: attempt) else { return }
        self.stopWaiting(&entry)
    }

    /// When `timerFired` has something to do.
    mutating func nextWakeup() -> BootInstant? { self.wakeups.next() }

    private mutating func stopWaiting(_ entry: inout Entry) {
        switch entry.state {
        case .requesting, .held:
            break
        case .queued:
            self.waiting[entry.claim.owner.secret] = nil
            self.wakeups.remove(entry.claim.attempt, knownAs: &entry.touchAt)
        }
    }

    /// The next one looks when the holder's lease must have passed: the holder may have died.
    private func nextTouch(
        of claim: LockClaim,
        _ reply: ClaimReply.QueueReply,
        now: BootInstant
    ) -> BootInstant {
        let usual = now + Self.touchInterval(lease: claim.lease)
        switch reply.remaining {
        case .notLookedUp, .unlimited: return usual
        // Redis counts whole milliseconds, and the key is there until one more has passed.
        case .milliseconds(let left): return min(usual, now + .milliseconds(left + 1))
        }
    }
}
