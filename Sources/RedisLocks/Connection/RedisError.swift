/// Why a request has no reply, or a connection no use.
struct RedisError: Error, Sendable {
    enum Code: String, Hashable, Sendable {
        /// The server cannot have seen the request: there was no connection by its deadline, a bound was reached, or the
        /// client was stopped before the request was written. Of a connection: the server could not be reached.
        case notSent
        /// The request was written, even if only in part, and no reply came: it may have been carried out.
        case outcomeUnknown
        /// Cancelled before it was written.
        case cancelled
        /// The server answered with an error: see ``RedisError/serverCode``.
        case refused
        /// The server must not or cannot be used: wrong password, no permission, not Redis, too old, a TLS failure,
        /// refused by `checkGreeting`, or bytes that are not the protocol's.
        case unusableServer
        /// The client has been stopped.
        case stopped
    }

    let code: Code
    /// The first word of the server's error: `NOSCRIPT`, `OOM`, `NOPERM`, `WRONGTYPE`, `READONLY`, …
    let serverCode: String?
    /// Where. Nil in errors that were made elsewhere, as by tests.
    let endpoint: RedisEndpoint?
    /// Why, in one line, without secrets.
    let reason: String
    /// By which connection a server's error came.
    let connection: RedisConnectionID?

    init(
        _ code: Code,
        serverCode: String? = nil,
        endpoint: RedisEndpoint? = nil,
        connection: RedisConnectionID? = nil,
        _ reason: String
    ) {
        self.code = code
        self.serverCode = serverCode
        self.endpoint = endpoint
        self.connection = connection
        self.reason = reason
    }

    /// What those are told whose requests are out on a connection that is given up for this: it says nothing of what became of them.
    func ofConnection(to endpoint: RedisEndpoint) -> RedisError {
        RedisError(.outcomeUnknown, serverCode: self.serverCode, endpoint: endpoint, self.reason)
    }

    /// One line for people, with the endpoint and without secrets.
    var message: String {
        if let endpoint { "\(endpoint): \(self.reason)" } else { self.reason }
    }
}

extension RedisError: CustomStringConvertible {
    var description: String { "\(self.code.rawValue): \(self.message)" }
}

extension RedisError {
    /// What of a server's error is shown: one line, and not the arguments that it quotes, which may be secrets.
    static func presentable(_ serverText: String) -> String {
        var text = serverText[...]
        for quote in [", with args beginning with", ", sub command", ", subcommand"] {
            if let range = text.firstRange(of: quote) { text = text[..<range.lowerBound] }
        }
        let printable = text.unicodeScalars.prefix(Self.maximumServerTextScalars).map { scalar in
            scalar.properties.generalCategory == .control ? " " : Character(scalar)
        }
        return String(printable)
    }

    /// Longer errors of a server are cut.
    static let maximumServerTextScalars = 300

    /// The first word of a server's error, if it looks like a code.
    static func serverCode(of serverText: String) -> String? {
        let word = serverText.prefix { $0 != " " }
        guard !word.isEmpty, word.utf8.count <= 40, word.allSatisfy({ $0.isASCII && ($0.isUppercase || $0.isNumber) })
        else { return nil }
        return String(word)
    }

    /// The server answered a request with an error.
    static func refused(
        _ serverText: String,
        by endpoint: RedisEndpoint,
        on connection: RedisConnectionID? = nil
    ) -> RedisError {
        RedisError(
            .refused,
            serverCode: Self.serverCode(of: serverText),
            endpoint: endpoint,
            connection: connection,
            Self.presentable(serverText)
        )
    }
}
