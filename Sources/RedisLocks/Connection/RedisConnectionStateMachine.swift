import LockKernel
import LockTransport
import NIOCore

/// One connection, from the moment when bytes can be sent.
///
/// States: *handshake* (see ``RedisHandshakeStateMachine``), *active*, *closed*. Each request that is sent takes a slot;
/// replies fill the slots in order (``RequestSlots``). Pushes take no slot.
///
/// Closing needs no state: the outstanding requests end at the moment when the connection is given up, and what arrives
/// after that is not looked at.
///
/// Pure: time is passed in, and the shell carries out what is returned. `Completion` is what takes a request's outcome.
struct RedisConnectionStateMachine<Completion>: ~Copyable {
    typealias Instant = BootInstant
    typealias Outcome = Result<RedisReply, RedisError>

    private enum State {
        case handshake
        case active
        case closed
    }

    enum SentAction {
        case write
        case fail(RedisError)
    }

    enum ReceivedAction {
        case nothing
        case complete(Completion, Outcome)
        /// The server did not know the script: this is sent in place of it, if it is still wanted. Else it ends with the error.
        case sendAgain(RedisRequest<Completion>, RedisError)
        case push([RESPValue])
        /// Ask whether this server will do, then call ``checked(refusal:)``.
        case check(RedisGreeting)
        /// The connection can be used. First announce it, then deliver what was pushed meanwhile.
        case activate(RedisGreeting, pushed: [[RESPValue]])
        case close(RedisError)
    }

    enum CheckedAction {
        case write(ByteBuffer)
        case nothing
        case close(RedisError)
    }

    enum TimerAction {
        /// There is nothing to time.
        case idle
        case arm(Instant)
        /// These have timed out.
        case expire([Completion], RedisError, arm: Instant?)
        case close(RedisError)
    }

    struct ClosedAction {
        /// They end with ``error``.
        var outstanding: [Completion]
        var error: RedisError
        /// It had been announced.
        var wasActive: Bool
    }

    /// Deadlines that are closer together than this are served by one firing, so that many of them cost little.
    static var timerGranularity: Duration { .milliseconds(1) }
    /// A process that was stopped finds its deadlines passed and the replies unread. So whatever is due when the timer
    /// fires is due only if it still is after the sockets have been read once more, this much later.
    static var graceTurn: Duration { .milliseconds(1) }

    private let id: RedisConnectionID
    private let tag: Int64
    private let endpoint: RedisEndpoint
    private let maximumInFlight: Int
    private let connectDeadline: Instant
    private let connectTimeout: Duration
    private let hintOnEnd: String?
    private let hintOnSilence: String

    private var state = State.handshake
    private var handshake: RedisHandshakeStateMachine
    private var slots = RequestSlots<Completion>()
    private var life: SignsOfLife
    private var armedFor: Instant?
    private var isGraceTurn = false

    init(
        id: RedisConnectionID,
        tag: Int64 = 0,
        configuration: RedisClientConfiguration,
        connectDeadline: Instant,
        now: Instant
    ) {
        self.id = id
        self.tag = tag
        self.endpoint = configuration.endpoint
        self.maximumInFlight = configuration.maximumInFlight
        self.connectTimeout = configuration.connectTimeout
        self.connectDeadline = connectDeadline
        self.hintOnEnd = configuration.hintOnEnd
        self.hintOnSilence = configuration.hintOnSilence
        self.handshake = RedisHandshakeStateMachine(configuration)
        self.life = SignsOfLife(timeout: configuration.silenceTimeout, now: now)
    }

    /// The first bytes to send.
    var greeting: ByteBuffer { self.handshake.greeting }

    /// The server has not said anything yet that makes sense.
    var isUngreeted: Bool {
        switch self.state {
        case .handshake: self.handshake.isUngreeted
        case .active, .closed: false
        }
    }

    var isClosed: Bool {
        switch self.state {
        case .handshake, .active: false
        case .closed: true
        }
    }

    /// Requests without a reply, orphans included.
    var inFlightCount: Int { self.slots.count }

    // MARK: Requests

    /// A request is about to be written.
    ///
    /// - Parameter now: read before the first byte is handed to the channel; one reading serves a batch.
    mutating func sent(_ request: RedisRequest<Completion>, now: Instant) -> SentAction {
        switch self.state {
        case .active: break
        case .handshake, .closed: preconditionFailure("a request was sent on a connection that is not active")
        }
        guard request.deadline > now else {
            return .fail(RedisError(.notSent, endpoint: self.endpoint, "the deadline had passed before it was sent"))
        }
        guard self.slots.count < self.maximumInFlight else {
            return .fail(
                RedisError(.notSent, endpoint: self.endpoint, "\(self.slots.count) requests are out, the most allowed")
            )
        }
        if self.slots.isEmpty { self.life.firstSent(now: now) }
        self.slots.append(request, now: now)
        return .write
    }

    /// These requests are cancelled. Those that are out end with ``RedisError/Code/outcomeUnknown``; others are not ours.
    mutating func cancelled(_ ids: Set<RequestID>) -> [Completion] {
        self.slots.cancelled(ids)
    }

    var cancellationError: RedisError {
        RedisError(.outcomeUnknown, endpoint: self.endpoint, "cancelled after it was sent")
    }

    // MARK: The server

    /// How long an answer has taken lately.
    var roundTrip: RoundTrip { self.life.roundTrip }

    /// Bytes have arrived, whatever they are.
    mutating func heard(now: Instant) {
        self.life.heard(now: now, asked: self.slots.firstSentAt ?? (self.isUngreeted ? self.life.last : nil))
    }

    /// Why the connection is of no use, if nothing has arrived for so long while requests were out.
    func silence(for duration: Duration, now: Instant) -> RedisError? {
        guard case .active = self.state, !self.slots.isEmpty else { return nil }
        return self.life.silence(ofAtLeast: duration, now: now).map { self.silence(for: $0) }
    }

    mutating func received(_ value: RESPValue) -> ReceivedAction {
        switch self.state {
        case .active:
            if case .push(let elements) = value { return self.pushed(elements) }
            guard let slot = self.slots.popFirst() else {
                return .close(self.violation("the server sent a reply to no request"))
            }
            guard let completion = slot.completion else { return .nothing }
            switch value {
            case .simpleError, .bulkError:
                let error = RedisError.refused(value.errorText ?? "", by: self.endpoint, on: self.id)
                switch self.slots.refused(slot, completion, error) {
                case .complete(let completion, let error): return .complete(completion, .failure(error))
                case .sendAgain(let request, let error): return .sendAgain(request, error)
                }
            default:
                return .complete(
                    completion,
                    .success(RedisReply(value: value, sentAt: slot.sentAt, connection: self.id, tag: self.tag))
                )
            }
        case .handshake:
            switch self.handshake.received(value) {
            case .wait: return .nothing
            case .check(let greeting): return .check(greeting)
            case .finish(let greeting, let pushed):
                self.state = .active
                return .activate(greeting, pushed: pushed)
            case .fail(let error): return .close(error)
            }
        case .closed:
            return .nothing
        }
    }

    private func pushed(_ elements: [RESPValue]) -> ReceivedAction {
        // A request to subscribe, or to end that, has no reply but this. Its slot would stay unfilled and shift every reply
        // after it.
        if let kind = elements.first, Self.isConfirmation(kind) {
            return .close(self.violation("the server confirmed a subscription that is not part of the set-up"))
        }
        return .push(elements)
    }

    private static func isConfirmation(_ kind: RESPValue) -> Bool {
        kind.isText("subscribe") || kind.isText("psubscribe") || kind.isText("ssubscribe")
            || kind.isText("unsubscribe") || kind.isText("punsubscribe") || kind.isText("sunsubscribe")
    }

    /// The configuration has looked at the greeting; `refusal` says why this server must not be used, `notNow` why it must
    /// not be used for now.
    mutating func checked(refusal: String?, notNow: String? = nil) -> CheckedAction {
        switch self.handshake.checked(refusal: refusal, notNow: notNow) {
        case .write(let bytes): return .write(bytes)
        case .wait: return .nothing
        case .fail(let error): return .close(error)
        }
    }

    // MARK: Time

    /// When to fire next, if the timer has to be armed anew. Asked once for each batch of events.
    mutating func timerToArm() -> Instant? {
        // A grace turn is short, and must not be cut shorter.
        guard !self.isGraceTurn, let wanted = self.nextInstant() else { return nil }
        if let armedFor = self.armedFor, armedFor <= wanted { return nil }
        self.armedFor = wanted
        return wanted
    }

    private func nextInstant() -> Instant? {
        switch self.state {
        case .handshake: return self.connectDeadline
        case .active:
            guard !self.slots.isEmpty else { return nil }
            return self.slots.earliestDeadline.map { min($0, self.life.end) } ?? self.life.end
        case .closed: return nil
        }
    }

    /// The timer has fired. It may fire early, and late.
    mutating func timerFired(now: Instant) -> TimerAction {
        self.armedFor = nil
        guard let next = self.nextInstant() else {
            self.isGraceTurn = false
            return .idle
        }
        guard next <= now else {
            self.isGraceTurn = false
            return self.armed(next, now)
        }
        guard self.isGraceTurn else {
            self.isGraceTurn = true
            let again = now.advanced(by: Self.graceTurn)
            self.armedFor = again
            return .arm(again)
        }
        self.isGraceTurn = false
        switch self.state {
        case .handshake:
            return .close(self.connectTimedOut)
        case .active:
            if now >= self.life.end { return .close(self.silence(for: self.life.timeout)) }
            return self.expireDue(now)
        case .closed:
            preconditionFailure("a closed connection times nothing")
        }
    }

    private mutating func expireDue(_ now: Instant) -> TimerAction {
        let expired = self.slots.expired(at: now)
        let arm: Instant? =
            if let next = self.nextInstant(), case .arm(let instant) = self.armed(next, now) { instant } else { nil }
        guard !expired.isEmpty else { return arm.map { .arm($0) } ?? .idle }
        let error = RedisError(.outcomeUnknown, endpoint: self.endpoint, "no reply by the deadline")
        return .expire(expired, error, arm: arm)
    }

    private mutating func armed(_ next: Instant, _ now: Instant) -> TimerAction {
        let instant = max(next, now.advanced(by: Self.timerGranularity))
        self.armedFor = instant
        return .arm(instant)
    }

    // MARK: The end

    /// The connection is given up. Nil if it had been already.
    mutating func closed(_ error: RedisError) -> ClosedAction? {
        let wasActive: Bool
        switch self.state {
        case .handshake: wasActive = false
        case .active: wasActive = true
        case .closed: return nil
        }
        self.state = .closed
        let outstanding = self.slots.outstanding
        self.slots.removeAll()
        let lost = RedisError(.outcomeUnknown, endpoint: self.endpoint, error.reason)
        return ClosedAction(outstanding: outstanding, error: lost, wasActive: wasActive)
    }

    /// The transport ended; the error to close with. `isRefusal`: trying again is not going to help.
    func transportEnded(_ reason: String, isRefusal: Bool) -> RedisError {
        switch self.state {
        case .handshake:
            if isRefusal { return RedisError(.unusableServer, endpoint: self.endpoint, reason) }
            return self.unreachable(
                "\(reason) before \(self.handshake.awaited) was answered",
                hint: self.hintOnEnd
            )
        case .active, .closed:
            return RedisError(.outcomeUnknown, endpoint: self.endpoint, reason)
        }
    }

    /// What arrived is not the protocol. `head`: the first bytes of it.
    func garbled(_ reason: String, head: [UInt8]) -> RedisError {
        guard self.isUngreeted else { return self.violation(reason) }
        if head.starts(with: "HTTP/".utf8) { return self.violation("this is an HTTP server, not Redis") }
        // The first byte of a TLS record: an alert, or a handshake.
        if head.first == 0x15 || head.first == 0x16 { return self.violation("this port speaks TLS") }
        return self.violation("not a Redis server: \(reason)")
    }

    private func violation(_ reason: String) -> RedisError {
        RedisError(.unusableServer, endpoint: self.endpoint, reason)
    }

    private func silence(for duration: Duration) -> RedisError {
        RedisError(
            .outcomeUnknown,
            endpoint: self.endpoint,
            "nothing arrived for \(duration.brief) while \(self.slots.count) requests were out"
        )
    }

    private var connectTimedOut: RedisError {
        self.unreachable(
            Silence.reason(request: self.handshake.awaited, for: self.connectTimeout),
            hint: self.hintOnSilence
        )
    }

    /// - Parameter hint: what is said besides, if the server has said nothing yet.
    private func unreachable(_ reason: String, hint: String?) -> RedisError {
        let hint = self.isUngreeted ? hint.map { " (\($0))" } ?? "" : ""
        return RedisError(.notSent, endpoint: self.endpoint, reason + hint)
    }
}
