import DistributedLocks
import LockKernel

/// Decides what a client knows of one master, and what it does about the claims that it has there.
///
/// States of the server: *away* (there is no connection), *serving*, *refusing* (it answers, and does not do what those who wait
/// have asked). States of a claim: see ``WaitingStateMachine``. Events are named in the past tense, and return what is to be done
/// in order; the shell carries it out when it has left the mutex.
struct MasterMachine: Sendable {
    enum Effect: Equatable, Sendable {
        /// Ask the server what has become of a claim that waits.
        case touch(AttemptID)
        /// A queued claim was granted.
        case grant(AttemptID, FencingToken, validUntil: BootInstant)
        /// A queued claim was granted, on this connection: tell it when enough replicas have it.
        case confirm(AttemptID, FencingToken, validUntil: BootInstant, RedisConnectionID)
        /// A queued claim waits on, and the server told for whom.
        case held(AttemptID, by: String)
        case gone(AttemptID)
        case lost(AttemptID)
        /// It cannot be granted: the caller hears that it is for this reason.
        case fail(AttemptID, Reason)
        /// The server may have forgotten what is held: all of it is renewed.
        case renewAll
        case lookAtSettings(RedisConnectionID)
        /// Log that the server refuses what it is asked.
        case warnOfRefusal(Reason)
        /// Log that the server's clock was stepped by so much.
        case warnOfClock(step: Duration)
        /// The timer loop sleeps longer than it may.
        case wake
    }

    /// What one event has done, in order. Most have one effect, or none: that needs no memory of its own.
    struct Effects: Equatable, Sendable, ExpressibleByArrayLiteral {
        private var first: Effect?
        private var others: [Effect] = []

        init(_ effect: Effect? = nil) { self.first = effect }

        init(arrayLiteral effects: Effect...) {
            for effect in effects { self.append(effect) }
        }

        mutating func append(_ effect: Effect) {
            if self.first == nil { self.first = effect } else { self.others.append(effect) }
        }

        func forEach(_ body: (Effect) -> Void) {
            guard let first = self.first else { return }
            body(first)
            for effect in self.others { body(effect) }
        }
    }

    /// An error, compared by what it says.
    struct Reason: Equatable, Sendable {
        let error: LockError

        static func == (left: Reason, right: Reason) -> Bool {
            left.error.code == right.error.code && left.error.message == right.error.message
        }
    }

    /// How something that was asked for those who wait came to nothing.
    typealias Failure = WaitingStateMachine.TouchFailure

    /// Grants are told when replicas have them.
    private let confirmsGrants: Bool
    private var waiting = WaitingStateMachine()
    private var clock: ServerClock
    /// The one that carries requests now.
    private var connection: RedisConnectionID?
    /// The next connection may be to another server.
    private var mayBeAnother = false
    /// It was logged that the server refuses, and it has not served since.
    private var isRefusalLogged = false
    /// Why the server did not do what it was asked last for those who wait; `nil` if it did.
    private(set) var trouble: LockError?
    /// Where the server knows the script of releases.
    private var releaseScriptIsKnownOn: RedisConnectionID?
    private var settings = SettingsWarnings()
    /// For when the timer loop has set its alarm, or is about to; `nil` if it sleeps without end.
    private var wakesAt: BootInstant?

    init(confirmsGrants: Bool, now: BootInstant) {
        self.confirmsGrants = confirmsGrants
        self.clock = ServerClock(origin: now)
    }

    /// How many claims are known. For tests of what is left behind.
    var count: Int { self.waiting.count }
    var waitingCount: Int { self.waiting.waitingCount }

    func claim(_ attempt: AttemptID) -> LockClaim? { self.waiting.claim(attempt) }

    // MARK: The connection

    /// - Parameter isFound: whose place is looked up with each connection, which may be another one's each time.
    mutating func connected(_ id: RedisConnectionID, isFound: Bool, now: BootInstant) -> Effects {
        self.connection = id
        // Another server has another clock, which nobody has stepped.
        if isFound || self.mayBeAnother { self.clock = ServerClock(origin: now) }
        self.mayBeAnother = false
        var effects = Effects()
        for touch in self.waiting.connected() { effects.append(.touch(touch.attempt)) }
        // The server may have been restarted without its data, or be another one.
        effects.append(.renewAll)
        if !self.settings.areRefused { effects.append(.lookAtSettings(id)) }
        return effects
    }

    mutating func disconnected() { self.connection = nil }

    /// A server said that it is not the master any more: it is left.
    mutating func wasLeft() { self.mayBeAnother = true }

    /// The server does not tell its settings, and is not asked for them any more.
    mutating func settingsRefused() { self.settings.areRefused = true }

    /// The server has a setting with which it forgets locks. False if that was warned of before.
    mutating func settingFound(_ setting: String) -> Bool { self.settings.warned.insert(setting).inserted }

    // MARK: Claims

    mutating func requested(_ claim: LockClaim) { self.waiting.requested(claim) }

    /// An acquire was answered with a grant. Returns until when that is valid.
    mutating func acquireGranted(_ claim: LockClaim, sentAt: BootInstant) -> BootInstant {
        self.served()
        _ = self.waiting.granted(claim.attempt)
        return LockValidity.deadline(lease: claim.lease, sentAt: sentAt)
    }

    /// An acquire was answered with a place in the queue.
    mutating func acquireQueued(
        _ attempt: AttemptID, _ place: ClaimReply.QueueReply, sentAt: BootInstant, connection: RedisConnectionID,
        now: BootInstant
    ) -> Effects {
        self.served()
        let action = self.waiting.queued(attempt, place, sentAt: sentAt, connection: connection, now: now)
        return self.waking(self.effect(of: action))
    }

    /// A claim is over as far as this client is concerned.
    mutating func ended(_ attempt: AttemptID) { self.waiting.ended(attempt) }

    /// A release would leave in order: this client's next request could not overtake it. As long as the server knows the script,
    /// whose text would come after what was sent meanwhile.
    var canReleaseInOrder: Bool {
        self.releaseScriptIsKnownOn != nil && self.releaseScriptIsKnownOn == self.connection
    }

    mutating func releaseAnswered(on connection: RedisConnectionID) {
        if self.connection == connection { self.releaseScriptIsKnownOn = connection }
    }

    // MARK: Those who wait

    mutating func pushed(_ message: PushedMessage, connection: RedisConnectionID, now: BootInstant) -> Effects {
        var message = message
        // What was pushed is not confirmed: only the asking connection's own writes can be.
        if self.confirmsGrants, case .granted(let owner, _) = message { message = .handedOver(owner) }
        return self.waking(self.effect(of: self.waiting.pushed(message, connection: connection, now: now)))
    }

    mutating func touchAnswered(
        _ attempt: AttemptID, _ reply: ClaimReply, sentAt: BootInstant, connection: RedisConnectionID, now: BootInstant
    ) -> Effects {
        self.served()
        let action = self.waiting.touchAnswered(attempt, reply, sentAt: sentAt, connection: connection, now: now)
        let effect: Effect? =
            switch action {
            case .grant(let token, let validUntil) where self.confirmsGrants:
                .confirm(attempt, token, validUntil: validUntil, connection)
            case .grant(let token, let validUntil): .grant(attempt, token, validUntil: validUntil)
            case .gone: .gone(attempt)
            case .none: self.holder(in: reply).map { .held(attempt, by: $0) }
            }
        return self.waking(effect)
    }

    private func holder(in reply: ClaimReply) -> String? {
        guard case .queued(let place) = reply, !place.holder.isEmpty else { return nil }
        return place.holder
    }

    mutating func touchFailed(_ attempt: AttemptID, _ failure: Failure, _ error: LockError, now: BootInstant) -> Effects
    {
        var effects = Effects()
        switch failure {
        case .noAnswer: self.trouble = LockError(.unreachable, error.message)
        case .passingRefusal: effects = self.refused(error)
        // That concerns this lock alone, and is told to who waits for it.
        case .lastingRefusal: break
        }
        switch self.waiting.touchFailed(attempt, failure, now: now) {
        case .wait: break
        case .giveUp: effects.append(.fail(attempt, Reason(error: error)))
        }
        if self.sleepsTooLong() { effects.append(.wake) }
        return effects
    }

    /// The server refuses, for reasons that pass, what somebody waits for.
    mutating func refused(_ error: LockError) -> Effects {
        self.trouble = error
        // Once, until the server does again what it is asked: all waiters hear the same.
        return exchange(&self.isRefusalLogged, with: true) ? Effects() : Effects(.warnOfRefusal(Reason(error: error)))
    }

    /// The server has done what it was asked.
    private mutating func served() {
        self.isRefusalLogged = false
        if self.trouble != nil { self.trouble = nil }
    }

    private func effect(of action: WaitingStateMachine.PushAction) -> Effect? {
        switch action {
        case .grant(let attempt, let token, let validUntil): .grant(attempt, token, validUntil: validUntil)
        case .touch(let attempt): .touch(attempt)
        case .lost(let attempt): .lost(attempt)
        case .ignore: nil
        }
    }

    // MARK: Time

    /// An answer told the server's time.
    mutating func clockRead(_ milliseconds: Int64, sentAt: BootInstant, now: BootInstant) -> Effects {
        let step = self.clock.answered(serverMilliseconds: milliseconds, sentAt: sentAt, receivedAt: now)
        return Effects(step.map { .warnOfClock(step: $0) })
    }

    mutating func timerFired(now: BootInstant) -> Effects {
        var effects = Effects()
        for touch in self.waiting.timerFired(now: now) { effects.append(.touch(touch.attempt)) }
        return effects
    }

    /// The timer loop is about to sleep. Returns until when.
    mutating func slept() -> BootInstant? {
        self.wakesAt = self.waiting.nextWakeup()
        return self.wakesAt
    }

    private mutating func waking(_ effect: Effect?) -> Effects {
        var effects = Effects(effect)
        if self.sleepsTooLong() { effects.append(.wake) }
        return effects
    }

    /// Whether the timer loop has to be woken. Once: then it is on its way.
    private mutating func sleepsTooLong() -> Bool {
        guard let next = self.waiting.nextWakeup(), self.wakesAt.map({ next < $0 }) ?? true else { return false }
        self.wakesAt = next
        return true
    }
}

/// What was warned of in a server's settings.
private struct SettingsWarnings: Sendable {
    var warned: Set<String> = []
    /// They were not told, and are not asked for any more.
    var areRefused = false
}
