import LockTransport

/// Why a request has no answer, or a session no use.
struct ZooKeeperError: Error, Sendable {
    enum Code: Hashable, Sendable {
        /// The request was not written: there is no connection. Of a connection: it was not made.
        case notSent
        /// The request was written, even if only in part, and no reply came: it may have been carried out.
        case outcomeUnknown
        /// The server answered that it does not do that.
        case refused(ZooKeeperCode)
        /// The server must not or cannot be used: not ZooKeeper, wrong credentials, a TLS failure, bytes that are not the
        /// protocol's.
        case unusableServer
        /// The client has been stopped.
        case stopped
    }

    let code: Code
    /// Where; `nil` if that is no server in particular.
    let endpoint: ServerEndpoint?
    /// Why, in one line, without secrets.
    let reason: String

    init(_ code: Code, endpoint: ServerEndpoint? = nil, _ reason: String) {
        self.code = code
        self.endpoint = endpoint
        self.reason = reason
    }

    /// One line for people, with the endpoint and without secrets.
    var message: String {
        if let endpoint { "\(endpoint): \(self.reason)" } else { self.reason }
    }

    /// How the server judged the request, if it did.
    var serverCode: ZooKeeperCode? {
        if case .refused(let code) = self.code { code } else { nil }
    }
}

extension ZooKeeperError: CustomStringConvertible {
    var description: String { self.message }
}
