import LockTransport

/// How to reach an ensemble.
struct ZooKeeperClientConfiguration: Sendable {
    var endpoints: [ServerEndpoint]
    /// Nil: the connections are in clear.
    var tls: TLSOptions?
    /// What is asked for. The server may grant another one (between 2 and 20 of its ticks, by default).
    var sessionTimeout: Duration
    /// `user:password` for the scheme `digest`.
    var digest: String?
    /// The longest pause after all servers were tried in vain; it begins with ``backoffBase`` and doubles. The pause
    /// itself is drawn between zero and that (full jitter).
    var backoffCap: Duration
    var backoffBase: Duration
    /// How many requests may be without a reply; one more fails at once.
    var maximumInFlight: Int
    var limits: JuteLimits

    init(
        endpoints: [ServerEndpoint],
        tls: TLSOptions? = nil,
        sessionTimeout: Duration = .seconds(10),
        digest: String? = nil,
        backoffBase: Duration = .milliseconds(50),
        backoffCap: Duration = .seconds(1),
        maximumInFlight: Int = 65_536,
        limits: JuteLimits = JuteLimits()
    ) {
        precondition(!endpoints.isEmpty)
        self.endpoints = endpoints
        self.tls = tls
        self.sessionTimeout = sessionTimeout
        self.digest = digest
        self.backoffBase = backoffBase
        self.backoffCap = backoffCap
        self.maximumInFlight = maximumInFlight
        self.limits = limits
    }

    /// How long one server has to accept the session: so short that each has its turn before the session expires.
    var attemptTimeout: Duration {
        min(.seconds(5), max(.milliseconds(500), self.sessionTimeout / (self.endpoints.count + 1)))
    }
}

extension ZooKeeperClientConfiguration: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    var description: String {
        "ZooKeeperClientConfiguration(\(self.endpoints.map(\.description).joined(separator: ",")))"
    }

    var debugDescription: String { self.description }

    var customMirror: Mirror {
        Mirror(self, children: ["endpoints": self.endpoints, "tls": self.tls as Any])
    }
}
