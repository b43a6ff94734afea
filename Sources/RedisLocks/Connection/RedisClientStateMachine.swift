import DequeModule
import LockKernel
import LockTransport
import NIOCore

/// Connecting, reconnecting, and the requests that wait for a connection.
///
/// States: *idle* (before `run`), *connecting*, *connected*, *backing off*, *stopping* (what is left is being closed),
/// *stopped*.
///
/// While a server cannot be reached, requests wait until their deadlines. While the last attempt ended in a refusal (wrong
/// password, wrong certificate, …), they fail at once with that refusal; attempts go on in the background all the same,
/// because such things are put right while clients run.
///
/// Pure: time and random numbers are passed in, and the shell carries out what is returned.
struct RedisClientStateMachine<Connection, Completion>: ~Copyable {
    typealias Instant = BootInstant
    typealias Request = RedisRequest<Completion>

    private enum State {
        case idle
        case connecting(RedisConnectionID)
        case connected(RedisConnectionID, Connection, since: Instant)
        case backingOff(until: Instant)
        case stopping
        case stopped
    }

    enum SubmitAction {
        case send(Connection)
        /// It is kept: see ``timerToArm()``.
        case wait
        case fail(RedisError)
    }

    struct Failed {
        var completions: [Completion]
        var error: RedisError
    }

    enum EndedAction {
        /// See ``timerToArm()``. These fail, if the end was a refusal.
        case retry(Failed?)
        case finish
    }

    struct TimerAction {
        var expired: Failed?
        var connect: RedisConnectionID?
    }

    enum StopAction {
        case closeConnection(Connection, waiting: Failed)
        case abandonAttempt(waiting: Failed)
        case finish(waiting: Failed)
        /// Stopped before.
        case nothing
    }

    /// A connection that is given up because of what its server says is not replaced before so much time has passed since it
    /// was made: the next one may be told the same, for as long as the server says so. One that has lasted for so long was a good one.
    static var shortestStay: Duration { .milliseconds(250) }
    /// Deadlines that are closer together than this are served by one firing.
    static var timerGranularity: Duration { .milliseconds(1) }

    /// Nil: it changes.
    private let endpoint: RedisEndpoint?
    private let maximumWaiting: Int
    private let waitingMargin: Duration
    private let backoffBase: Duration
    private let backoffCap: Duration

    private var state = State.idle
    private var lastID: UInt64 = 0
    /// Attempts that have failed since a connection lasted.
    private var failures = 0
    /// When a silent connection was given up last.
    private var silentAt: Instant?
    /// How the last attempt or connection ended.
    private(set) var lastError: RedisError?
    private var refusal: RedisError?
    /// When the present attempt began, and when the server accepted its connection.
    private var attemptStartedAt: Instant?
    private var acceptedAt: Instant?
    private let hintOnSilence: String
    private var waiting: Deque<Request> = []
    /// Of those that wait.
    private var earliestDeadline: Instant?
    private var armedFor: Instant?

    init(_ configuration: RedisClientConfiguration) {
        self.endpoint = configuration.fixedEndpoint
        self.maximumWaiting = min(configuration.maximumWaiting, configuration.maximumInFlight)
        self.waitingMargin = configuration.waitingMargin
        self.backoffBase = configuration.backoffBase
        self.backoffCap = configuration.backoffCap
        self.hintOnSilence = configuration.hintOnSilence
    }

    var waitingCount: Int { self.waiting.count }

    var summary: RedisClientState {
        switch self.state {
        case .idle: .idle
        case .connecting: .connecting
        case .connected(let id, _, _): .connected(id)
        case .backingOff: .backingOff
        case .stopping, .stopped: .stopped
        }
    }

    // MARK: Requests

    mutating func submitted(_ request: Request, now: Instant) -> SubmitAction {
        switch self.state {
        case .connected(let id, let connection, _):
            if let wanted = request.onlyOn, wanted != id { return .fail(self.otherConnection) }
            return .send(connection)
        case .idle, .connecting, .backingOff:
            guard request.onlyOn == nil else { return .fail(self.otherConnection) }
            if let refusal = self.refusal { return .fail(refusal) }
            guard request.deadline > now else { return .fail(self.notConnected(now)) }
            guard self.waiting.count < self.maximumWaiting else {
                return .fail(
                    self.notSent("\(self.waiting.count) requests wait for a connection already, the most allowed")
                )
            }
            let waitsUntil = request.deadline - min(self.waitingMargin, (request.deadline - now) / 4)
            self.earliestDeadline = min(self.earliestDeadline ?? waitsUntil, waitsUntil)
            var request = request
            request.waitsUntil = waitsUntil
            self.waiting.append(request)
            return .wait
        case .stopping, .stopped:
            return .fail(RedisError(.stopped, endpoint: self.endpoint, "the client has been stopped"))
        }
    }

    /// Takes these requests out, if they are among those that wait.
    mutating func cancelled(_ ids: Set<RequestID>) -> Failed? {
        guard !self.waiting.isEmpty else { return nil }
        return self.removeWaiting(RedisError(.cancelled, endpoint: self.endpoint, "cancelled before it was sent")) {
            ids.contains($0.id)
        }
    }

    private mutating func removeWaiting(_ error: RedisError, where shallGo: (Request) -> Bool) -> Failed? {
        var gone: [Completion] = []
        var kept: Deque<Request> = []
        for request in self.waiting {
            if shallGo(request) { gone.append(request.completion) } else { kept.append(request) }
        }
        guard !gone.isEmpty else { return nil }
        self.waiting = kept
        self.earliestDeadline = kept.lazy.map { $0.waitsUntil ?? $0.deadline }.min()
        return Failed(completions: gone, error: error)
    }

    private mutating func removeAllWaiting(_ error: RedisError) -> Failed {
        Failed(completions: self.emptyWaiting().map(\.completion), error: error)
    }

    private mutating func emptyWaiting() -> Deque<Request> {
        self.earliestDeadline = nil
        return exchange(&self.waiting, with: [])
    }

    // MARK: Connections

    /// `run` has begun. Nil: it was stopped before.
    mutating func started() -> RedisConnectionID? {
        switch self.state {
        case .idle: return self.nextConnection()
        case .stopped: return nil
        case .connecting, .connected, .backingOff, .stopping: preconditionFailure("run() was called twice")
        }
    }

    private mutating func nextConnection() -> RedisConnectionID {
        self.lastID += 1
        let id = RedisConnectionID(rawValue: self.lastID)
        self.state = .connecting(id)
        self.attemptStartedAt = nil
        self.acceptedAt = nil
        return id
    }

    /// Where to connect to is known now.
    mutating func attemptStarted(now: Instant) { self.attemptStartedAt = now }

    /// There is a connection, on which the server has said nothing yet.
    mutating func accepted(now: Instant) { self.acceptedAt = now }

    /// Why nothing can be asked yet; nil if the first attempt is over, or has not begun.
    func silence(now: Instant) -> String? {
        guard case .connecting = self.state, self.lastError == nil, let started = self.attemptStartedAt else {
            return nil
        }
        let reason = Silence.reason(
            accepted: self.acceptedAt, started: started, now: now, request: "HELLO")
        return self.acceptedAt == nil ? reason : "\(reason) (\(self.hintOnSilence))"
    }

    /// A connection can be used. The shell announces it, then sends ``takeWaiting()``.
    ///
    /// False: the client is stopping, and the connection is to be closed unannounced.
    mutating func connected(_ connection: Connection, now: Instant) -> Bool {
        switch self.state {
        case .connecting(let id):
            self.state = .connected(id, connection, since: now)
            self.refusal = nil
            return true
        case .stopping:
            return false
        case .idle, .connected, .backingOff, .stopped:
            preconditionFailure("a connection was made that was not asked for")
        }
    }

    /// The requests that waited for the connection, in order.
    mutating func takeWaiting() -> Deque<Request> {
        switch self.state {
        case .connected:
            return self.emptyWaiting()
        case .idle, .connecting, .backingOff, .stopping, .stopped:
            return []
        }
    }

    /// Nothing has arrived on the connection for as long as somebody could wait. Whether to give it up: a server that is stopped
    /// for a while must not be connected to again and again.
    mutating func foundSilent(now: Instant) -> Bool {
        if let silentAt, now < silentAt + Self.pauseBetweenSilences { return false }
        self.silentAt = now
        return true
    }

    private static var pauseBetweenSilences: Duration { .seconds(1) }

    /// An attempt failed, or a connection ended and is closed.
    ///
    /// - Parameters:
    ///   - isGivenUp: the connection was well, and its server is not the one that is looked for.
    ///   - random: from 0 to below 1. The pause is this part of the longest pause (full jitter, as in
    ///   https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    mutating func ended(_ error: RedisError, isGivenUp: Bool = false, now: Instant, random: Double) -> EndedAction {
        var earliest = now
        switch self.state {
        case .connecting:
            self.failures += 1
            self.refusal = error.code == .unusableServer ? error : nil
        case .connected(_, _, let since):
            if isGivenUp { earliest = max(now, since + Self.shortestStay) }
            // One that never lasts must not be made again and again without a pause. But where a server is restarted every other
            // second, each restart is one of its own: leases do not wait for the end of a long pause.
            self.failures = since.duration(to: now) >= Self.shortestStay ? 0 : self.failures + 1
        case .stopping:
            self.state = .stopped
            return .finish
        case .idle, .backingOff, .stopped:
            preconditionFailure("a connection ended that was not there")
        }
        self.lastError = error
        let doublings = min(max(self.failures - 1, 0), 30)
        let longest = min(self.backoffCap, self.backoffBase * (1 << doublings))
        self.state = .backingOff(until: max(earliest, now.advanced(by: longest * random)))
        return .retry(self.refusal.map { self.removeAllWaiting($0) })
    }

    /// There is reason to think that the next attempt succeeds: it is made now. Nil: there is no pause to cut short.
    mutating func hurried() -> RedisConnectionID? {
        switch self.state {
        case .backingOff:
            self.failures = 0
            return self.nextConnection()
        case .idle, .connecting, .connected, .stopping, .stopped:
            return nil
        }
    }

    mutating func stopped() -> StopAction {
        let error = self.notSent("the client was stopped before it was sent")
        switch self.state {
        case .idle, .backingOff:
            self.state = .stopped
            return .finish(waiting: self.removeAllWaiting(error))
        case .connecting:
            self.state = .stopping
            return .abandonAttempt(waiting: self.removeAllWaiting(error))
        case .connected(_, let connection, _):
            self.state = .stopping
            return .closeConnection(connection, waiting: self.removeAllWaiting(error))
        case .stopping, .stopped:
            return .nothing
        }
    }

    // MARK: Time

    /// Nothing is timed while there is a connection, which has its own timer.
    var isTimed: Bool {
        switch self.state {
        case .idle, .connecting, .backingOff: true
        case .connected, .stopping, .stopped: false
        }
    }

    /// When to fire next, if the timer has to be armed anew. Asked after each batch of events.
    mutating func timerToArm(now: Instant) -> Instant? {
        guard var wanted = self.nextInstant() else { return nil }
        if let armedFor = self.armedFor, armedFor <= wanted { return nil }
        wanted = max(wanted, now.advanced(by: Self.timerGranularity))
        if let armedFor = self.armedFor, armedFor <= wanted { return nil }
        self.armedFor = wanted
        return wanted
    }

    private func nextInstant() -> Instant? {
        switch self.state {
        case .backingOff(let until):
            return self.earliestDeadline.map { min($0, until) } ?? until
        case .idle, .connecting:
            return self.earliestDeadline
        case .connected, .stopping, .stopped:
            return nil
        }
    }

    /// The timer has fired. It may fire early, and late. Then ask ``timerToArm(now:)``.
    mutating func timerFired(now: Instant) -> TimerAction {
        self.armedFor = nil
        var action = TimerAction()
        switch self.state {
        case .backingOff(let until):
            if until <= now { action.connect = self.nextConnection() }
        case .idle, .connecting, .connected, .stopping, .stopped:
            break
        }
        action.expired = self.removeWaiting(self.notConnected(now)) { $0.waitsUntil ?? $0.deadline <= now }
        return action
    }

    // MARK: Errors

    private func notSent(_ reason: String, serverCode: String? = nil) -> RedisError {
        RedisError(.notSent, serverCode: serverCode, endpoint: self.endpoint, reason)
    }

    private var otherConnection: RedisError { self.notSent("the connection that it belongs to is gone") }

    private func notConnected(_ now: Instant) -> RedisError {
        switch self.state {
        case .idle: self.notSent("not connected by the deadline: the client is not running")
        case .connecting, .connected, .backingOff, .stopping, .stopped:
            if let lastError {
                self.notSent(
                    "not connected by the deadline: \(self.endpoint == nil ? lastError.message : lastError.reason)",
                    serverCode: lastError.serverCode
                )
            } else {
                self.notSent("not connected by the deadline: \(self.silence(now: now) ?? "no server is found yet")")
            }
        }
    }
}

/// What a client is doing, for diagnostics.
enum RedisClientState: Hashable, Sendable {
    /// `run` has not been called.
    case idle
    case connecting
    case connected(RedisConnectionID)
    /// The last attempt failed, or the last connection was lost; the next attempt comes soon.
    case backingOff
    case stopped
}
