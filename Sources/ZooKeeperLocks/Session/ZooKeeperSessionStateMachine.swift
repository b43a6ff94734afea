import LockKernel

/// A session as the server granted it.
struct ZooKeeperSession: Hashable, Sendable {
    let id: Int64
    let password: [UInt8]
    /// What was negotiated.
    let timeout: Duration

    init(id: Int64, password: [UInt8], timeout: Duration) {
        self.id = id
        self.password = password
        self.timeout = timeout
    }
}

extension ZooKeeperSession: CustomStringConvertible, CustomReflectable {
    var description: String { "0x" + String(UInt64(bitPattern: self.id), radix: 16) }
    var customMirror: Mirror { Mirror(self, children: ["id": self.description, "timeout": self.timeout]) }
}

/// Connecting, attaching to the session again, and the end of sessions.
///
/// States: *idle* (before it runs), *connecting* to one server after another, *settingUp* (the session is there, and
/// what must come first is being done), *open*, *backing off* (all servers were tried in vain), *leaving* (the session is to be
/// ended, over whatever connection can be had), *stopping*, *stopped*.
///
/// The session outlives its connections. Only a server can say that it has expired; the next attempt then asks for a new
/// one. No server is accepted that has seen less than this client: it is told the highest zxid and refuses by itself.
///
/// Pure: time and random numbers are passed in, and the shell carries out what is returned.
struct ZooKeeperSessionStateMachine {
    typealias Instant = BootInstant

    private enum State: Equatable {
        case idle
        case connecting
        case settingUp
        case open(since: Instant)
        case backingOff(until: Instant)
        case leaving
        case stopping
        case stopped
    }

    enum Greeting: Equatable {
        /// Set up, then ``setUpFinished()``.
        case attached(ZooKeeperSession, isNew: Bool)
        /// The session is over. Ask for a new one, over a new connection.
        case expired(ZooKeeperSession)
        case refuse(String)
        /// The client is stopping, and has a session to end.
        case closeSession(ZooKeeperSession)
        /// The client is stopping.
        case close
    }

    enum StopAction: Equatable {
        /// Nothing is there whose end has to be awaited.
        case finish
        /// Close the session over the present connection.
        case closeSession
        /// Go on connecting: there is a session to close. `nil`: an attempt is under way.
        case connect(server: Int?)
        /// Close the connection, or end the attempt at one: there is no session.
        case close
        /// It is stopping already.
        case none
    }

    enum EndedAction: Equatable {
        /// Which server to try now.
        case connect(server: Int)
        case wait(until: Instant)
        case finish
    }

    private let serverCount: Int
    private let backoffBase: Duration
    private let backoffCap: Duration
    private let wantedTimeout: Duration

    private var state = State.idle
    private var server: Int
    private var triedInVain = 0
    private var roundsInVain = 0
    private(set) var session: ZooKeeperSession?
    private(set) var lastZxid: Int64 = 0

    /// - Parameter first: which server is tried first, drawn at random: so clients spread over the ensemble.
    init(_ configuration: ZooKeeperClientConfiguration, first: Int) {
        self.serverCount = configuration.endpoints.count
        self.backoffBase = configuration.backoffBase
        self.backoffCap = configuration.backoffCap
        self.wantedTimeout = configuration.sessionTimeout
        self.server = first % configuration.endpoints.count
    }

    var isOpen: Bool {
        if case .open = self.state { true } else { false }
    }
    /// A connection is wanted, or being made.
    var isConnecting: Bool { self.state == .connecting || self.state == .leaving }
    /// The client stops, and has not closed its session yet.
    var isLeaving: Bool { self.state == .leaving }
    var isSettingUp: Bool { self.state == .settingUp }

    /// The client runs. Returns which server to try; `nil` if it was stopped before.
    mutating func started() -> Int? {
        guard self.state == .idle else { return nil }
        self.state = .connecting
        return self.server
    }

    /// What to say first on a connection.
    func greeting() -> ConnectRequest {
        ConnectRequest(
            lastZxidSeen: self.lastZxid,
            timeoutMilliseconds: Int32((self.session?.timeout ?? self.wantedTimeout) / .milliseconds(1)),
            sessionID: self.session?.id ?? 0,
            password: self.session?.password ?? [UInt8](repeating: 0, count: 16)
        )
    }

    mutating func greeted(_ response: ConnectResponse) -> Greeting {
        switch self.state {
        case .connecting: break
        case .leaving: return self.greetedWhileLeaving(response)
        case .idle, .settingUp, .open, .backingOff, .stopping, .stopped: return .close
        }
        if response.timeoutMilliseconds <= 0 {
            guard let session = self.session else { return .refuse("the server refused to make a session") }
            self.session = nil
            return .expired(session)
        }
        if response.isReadOnly { return .refuse("the server is cut off from the quorum, and read-only") }
        let isNew = self.session == nil
        if let session = self.session, session.id != response.sessionID {
            return .refuse("the server answered with the session of somebody else")
        }
        let granted = Duration.milliseconds(response.timeoutMilliseconds)
        if let session = self.session, granted < session.timeout {
            // The ensemble now ends it earlier than was settled, which cannot be told to those who rely on it.
            self.session = nil
            return .expired(session)
        }
        let session = ZooKeeperSession(
            id: response.sessionID,
            password: response.password,
            timeout: min(granted, self.session?.timeout ?? granted)
        )
        self.session = session
        self.state = .settingUp
        return .attached(session, isNew: isNew)
    }

    private mutating func greetedWhileLeaving(_ response: ConnectResponse) -> Greeting {
        guard let session = self.session, response.timeoutMilliseconds > 0, response.sessionID == session.id else {
            // It has expired.
            self.session = nil
            return .close
        }
        // A read-only server cannot end it.
        if response.isReadOnly { return .refuse("the server is cut off from the quorum, and read-only") }
        return .closeSession(session)
    }

    /// What must come first is done. False if the connection ended meanwhile.
    mutating func setUpFinished(now: Instant) -> Bool {
        guard self.state == .settingUp else { return false }
        self.state = .open(since: now)
        return true
    }

    /// A connection that ends earlier was of no use: otherwise a server that takes the session and closes at once would be tried
    /// again and again without a pause.
    private static var usefulTime: Duration { .seconds(1) }

    mutating func saw(zxid: Int64) {
        self.lastZxid = max(self.lastZxid, zxid)
    }

    /// A connection ended, or was not made.
    ///
    /// - Parameter random: from 0 to below 1.
    mutating func ended(now: Instant, random: Double) -> EndedAction {
        switch self.state {
        case .open(let since) where since.duration(to: now) >= Self.usefulTime:
            // The session lives on; every server is worth a try, this one last.
            self.triedInVain = 0
            self.roundsInVain = 0
        case .connecting, .settingUp, .open:
            self.triedInVain += 1
        case .leaving:
            return self.endedWhileLeaving(now: now)
        case .stopping, .stopped:
            self.state = .stopped
            return .finish
        case .idle, .backingOff:
            preconditionFailure("a connection ended that was not there")
        }
        self.server = (self.server + 1) % self.serverCount
        guard self.triedInVain >= self.serverCount else {
            self.state = .connecting
            return .connect(server: self.server)
        }
        self.triedInVain = 0
        self.roundsInVain += 1
        let longest = min(self.backoffCap, self.backoffBase * (1 << min(self.roundsInVain - 1, 20)))
        let until = now.advanced(by: longest * random)
        self.state = .backingOff(until: until)
        return .wait(until: until)
    }

    /// A client that leaves has little time, so it pauses only when it has tried all servers in vain.
    private static var pauseWhileLeaving: Duration { .milliseconds(100) }

    private mutating func endedWhileLeaving(now: Instant) -> EndedAction {
        guard self.session != nil else {
            self.state = .stopped
            return .finish
        }
        self.server = (self.server + 1) % self.serverCount
        self.triedInVain += 1
        guard self.triedInVain >= self.serverCount else { return .connect(server: self.server) }
        self.triedInVain = 0
        return .wait(until: now.advanced(by: Self.pauseWhileLeaving))
    }

    /// The session has expired: ask for a new one from the same server, which is fine.
    mutating func endedAfterExpiry() -> EndedAction {
        switch self.state {
        case .leaving, .stopping, .stopped:
            self.state = .stopped
            return .finish
        case .connecting, .idle, .settingUp, .open, .backingOff:
            self.state = .connecting
            return .connect(server: self.server)
        }
    }

    /// Returns which server to try, or when to ask again.
    mutating func timerFired(now: Instant) -> EndedAction? {
        if self.state == .leaving { return .connect(server: self.server) }
        guard case .backingOff(let until) = self.state else { return nil }
        guard now >= until else { return .wait(until: until) }
        self.state = .connecting
        return .connect(server: self.server)
    }

    /// The client is to stop. What its session has made goes at once if the session is closed, and else only when it ends by
    /// itself, so it is worth another connection.
    mutating func stopped() -> StopAction {
        let hasSession = self.session != nil
        switch self.state {
        case .settingUp, .open:
            self.state = .leaving
            self.triedInVain = 0
            return .closeSession
        case .connecting where hasSession:
            self.state = .leaving
            return .connect(server: nil)
        case .backingOff where hasSession:
            self.state = .leaving
            return .connect(server: self.server)
        case .connecting:
            self.state = .stopping
            return .close
        case .idle, .backingOff:
            self.state = .stopped
            return .finish
        case .leaving, .stopping, .stopped:
            return .none
        }
    }

    /// The server has closed the session.
    mutating func sessionClosed() {
        self.session = nil
        if self.state == .leaving { self.state = .stopping }
    }

    /// It takes too long: the session ends by itself.
    mutating func leavingGivenUp() {
        if self.state == .leaving { self.state = .stopping }
    }
}
