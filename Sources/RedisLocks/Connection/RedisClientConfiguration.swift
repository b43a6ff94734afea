import LockTransport

/// How to reach one server, and the bounds of what a client keeps and waits for.
struct RedisClientConfiguration: Sendable {
    /// Where the server is, unless there is a ``locator``.
    var endpoint: RedisEndpoint
    /// Asked for the endpoint before each attempt to connect.
    var locator: (any RedisLocator)?
    /// Nil: the connection is in clear.
    var tls: RedisTLS?
    /// The ACL user. Nil with a password: `default`.
    var username: String?
    var password: String?
    /// How a user gives what the server asks for, for messages.
    var credentialsAdvice =
        "give user and password in the URL, or the password by password-file or password-env"
    var database: Int
    /// Shown by `CLIENT LIST`; no spaces.
    var clientName: String?

    /// How long a connection may take to become usable: name resolution, TCP, TLS, greeting and set-up together.
    var connectTimeout: Duration
    /// A connection on which requests are out and on which nothing at all has arrived for this long is closed.
    var silenceTimeout: Duration

    /// How many requests may be without a reply on one connection; one more fails at once.
    var maximumInFlight: Int
    /// How many requests may wait while there is no connection; one more fails at once. Never more than
    /// ``maximumInFlight``.
    var maximumWaiting: Int

    /// A request that waits for a connection fails by so much before its deadline, or by a quarter of its time if that is
    /// less: so that whoever counts the same time hears why before it is over.
    var waitingMargin: Duration

    /// The longest pause before the first attempt to reconnect; it doubles with each failure. The pause itself is drawn
    /// between zero and that (full jitter).
    var backoffBase: Duration
    /// The longest pause between two attempts, however many have failed.
    var backoffCap: Duration

    var limits: RESPLimits

    /// Sent after the greeting (`HELLO` and `PING`), before anything else, on each connection. An error reply fails the connection.
    /// Subscriptions belong here: their confirmations are awaited. Elsewhere a `SUBSCRIBE` closes the connection.
    var setup: [RedisCommand]

    /// Says why a server must not be used; nil if it is fine. Called on the event loop.
    var checkGreeting: @Sendable (RedisGreeting) -> String?
    /// Says why a server must not be used for now: unlike one that is refused by ``checkGreeting``, requests go on waiting
    /// for one that will do. Called on the event loop.
    var checkRole: @Sendable (RedisGreeting) -> String?

    init(
        endpoint: RedisEndpoint,
        locator: (any RedisLocator)? = nil,
        tls: RedisTLS? = nil,
        username: String? = nil,
        password: String? = nil,
        database: Int = 0,
        clientName: String? = nil,
        connectTimeout: Duration = .seconds(5),
        silenceTimeout: Duration = .seconds(5),
        maximumInFlight: Int = 65_536,
        maximumWaiting: Int = 16_384,
        waitingMargin: Duration = .zero,
        backoffBase: Duration = .milliseconds(20),
        backoffCap: Duration = .seconds(2),
        limits: RESPLimits = RESPLimits(),
        setup: [RedisCommand] = [],
        checkGreeting: @escaping @Sendable (RedisGreeting) -> String? = { _ in nil },
        checkRole: @escaping @Sendable (RedisGreeting) -> String? = { _ in nil }
    ) {
        self.endpoint = endpoint
        self.locator = locator
        self.tls = tls
        self.username = username
        self.password = password
        self.database = database
        self.clientName = clientName
        self.connectTimeout = connectTimeout
        self.silenceTimeout = silenceTimeout
        self.maximumInFlight = maximumInFlight
        self.maximumWaiting = maximumWaiting
        self.waitingMargin = waitingMargin
        self.backoffBase = backoffBase
        self.backoffCap = backoffCap
        self.limits = limits
        self.setup = setup
        self.checkGreeting = checkGreeting
        self.checkRole = checkRole
    }
}

// A password has no description, and set-up commands may hold secrets too.
extension RedisClientConfiguration: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    var description: String {
        "RedisClientConfiguration(\(self.endpoint), database \(self.database), \(self.tls == nil ? "in clear" : "TLS"))"
    }

    var debugDescription: String { self.description }

    var customMirror: Mirror {
        Mirror(self, children: ["endpoint": self.endpoint, "database": self.database, "tls": self.tls as Any])
    }
}

extension RedisClientConfiguration {
    /// Where errors of the client itself say that it is; nil if that changes.
    var fixedEndpoint: RedisEndpoint? { self.locator == nil ? self.endpoint : nil }

    func located(_ endpoint: RedisEndpoint) -> RedisClientConfiguration {
        var located = self
        located.endpoint = endpoint
        return located
    }

    /// Said besides of a server that has said nothing yet, when the connection ends.
    var hintOnEnd: String? {
        guard let tls = self.tls else { return "a port that speaks TLS does so when it is spoken to in clear" }
        return tls.certificateChainFile == nil ? "a server that asks for a client's certificate may do so" : nil
    }

    /// The same when it stays silent.
    var hintOnSilence: String {
        self.tls == nil
            ? "a port that speaks TLS may do so when it is spoken to in clear"
            : "a port that does not speak TLS does so"
    }

    /// Why a connection to the endpoint came to nothing.
    func describe(_ error: any Error) -> RedisError {
        if let error = error as? RedisError { return error }
        let described = TransportError(error, target: self.target)
        return RedisError(
            described.isRefusal ? .unusableServer : .notSent,
            endpoint: self.endpoint,
            described.reason + (self.locator.map { " (\($0.origin))" } ?? "")
        )
    }

    var target: ConnectTarget {
        ConnectTarget(endpoint: self.endpoint, tls: self.tls, timeout: self.connectTimeout)
    }
}
