import LockKernel
import NIOCore
import NIOPosix
import NIOSSL

/// What NIO and the TLS library say went wrong, in words for people.
package struct TransportError: Error {
    /// One line.
    package let reason: String
    /// Trying again is not going to help: the server is not what the configuration says.
    package let isRefusal: Bool

    package init(_ reason: String, isRefusal: Bool = false) {
        self.reason = reason
        self.isRefusal = isRefusal
    }

    package init(_ error: any Error, target: ConnectTarget) {
        switch error {
        case let error as TransportError: self = error
        case let error as NIOConnectionError: self.init(Self.reason(of: error, target))
        case let error as IOError: self.init(Self.reason(of: error))
        case let error as ChannelError: self.init(Self.reason(of: error, target))
        case let error as NIOSSLError: self.init(error, target)
        case let error as NIOSSLExtraError:
            self.init(Self.reason(of: error, target), isRefusal: true)
        // A server tells what it thinks of a client's certificate when the client takes the handshake for done.
        case let error as BoringSSLError: self.init(error, target)
        case let error as SocketAddressError: self.init(error, target)
        default: self.init("\(error)")
        }
    }

    // MARK: Connecting

    private static func reason(of error: NIOConnectionError, _ target: ConnectTarget) -> String {
        var reasons: [String] = []
        for failure in error.connectionErrors {
            var reason = TransportError(failure.error, target: target).reason
            if error.connectionErrors.count > 1, let address = failure.target.ipAddress { reason += " (\(address))" }
            if !reasons.contains(reason) { reasons.append(reason) }
        }
        if !reasons.isEmpty { return reasons.prefix(4).joined(separator: ", ") }
        if error.dnsAError != nil || error.dnsAAAAError != nil { return "the host name could not be resolved" }
        return "no connection within \(target.timeout.brief)"
    }

    /// What NIO takes on all systems. Some take five more.
    private static let maximumSocketPathLengthInBytes = 103

    private init(_ error: SocketAddressError, _ target: ConnectTarget) {
        switch (error, target.endpoint) {
        case (.unixDomainSocketPathTooLong, .unixSocket(let path)):
            self.init(
                "the path of a unix socket has at most \(Self.maximumSocketPathLengthInBytes) bytes, and this one has "
                    + "\(path.utf8.count)",
                isRefusal: true
            )
        default: self.init("the host name could not be resolved")
        }
    }

    private static func reason(of error: ChannelError, _ target: ConnectTarget) -> String {
        switch error {
        case .connectTimeout: "no connection within \(target.timeout.brief)"
        case .eof, .inputClosed, .alreadyClosed, .ioOnClosedChannel, .outputClosed: "the connection was closed"
        default: "\(error)"
        }
    }

    private static func reason(of error: IOError) -> String {
        switch error.errnoCode {
        case ECONNREFUSED: "connection refused"
        case ECONNRESET, EPIPE: "the server reset the connection"
        case ENOENT: "there is no such socket"
        case EACCES, EPERM: "not permitted to connect"
        case EHOSTUNREACH, ENETUNREACH: "no route to the server"
        case ETIMEDOUT: "the network timed out"
        default: "\(error)"
        }
    }

    // MARK: TLS

    private init(_ error: NIOSSLError, _ target: ConnectTarget) {
        switch error {
        case .handshakeFailed(let cause): self.init(cause, target)
        case .uncleanShutdown: self.init("the server closed the connection")
        case .noSuchFilesystemObject: self.init("a file for TLS does not exist", isRefusal: true)
        case .failedToLoadCertificate: self.init("a certificate file cannot be read", isRefusal: true)
        case .failedToLoadPrivateKey: self.init("the private key file cannot be read", isRefusal: true)
        case .noCertificateToValidate, .unableToValidateCertificate:
            self.init("the server's certificate cannot be checked", isRefusal: true)
        default: self.init("TLS failed: \(error)", isRefusal: true)
        }
    }

    private init(_ cause: BoringSSLError, _ target: ConnectTarget) {
        switch cause {
        case .sslError(let stack), .unknownError(let stack):
            let text = stack.map(\.description).joined(separator: " ")
            if stack == [.eofDuringHandshake] {
                self.init("the server closed the connection during the TLS handshake")
            } else if text.contains("CERTIFICATE_VERIFY_FAILED") {
                self.init("the server's certificate is not from a trusted authority, or not valid now", isRefusal: true)
            } else if text.contains("WRONG_VERSION_NUMBER") || text.contains("HTTP_REQUEST") {
                self.init("the server does not speak TLS on this port", isRefusal: true)
            } else if text.contains("ALERT_CERTIFICATE_REQUIRED") || text.contains("ALERT_HANDSHAKE_FAILURE") {
                self.init(
                    target.tls?.certificateChainFile == nil
                        ? "the server refused the TLS handshake: it asks for a client's certificate (cert-file and key-file)"
                        : "the server refused the TLS handshake, this client's certificate or its algorithm among it",
                    isRefusal: true
                )
            } else if text.contains("ALERT_UNKNOWN_CA") || text.contains("ALERT_BAD_CERTIFICATE")
                || text.contains("ALERT_CERTIFICATE_EXPIRED") || text.contains("ALERT_CERTIFICATE_UNKNOWN")
                || text.contains("ALERT_UNSUPPORTED_CERTIFICATE") || text.contains("ALERT_CERTIFICATE_REVOKED")
            {
                self.init(
                    target.tls?.certificateChainFile == nil
                        ? "the server asks for a client's certificate (cert-file and key-file)"
                        : "the server refused this client's certificate: it is not from an authority that the server trusts, "
                            + "or not valid now",
                    isRefusal: true
                )
            } else {
                self.init("TLS failed: \(Self.name(ofErrorIn: text))", isRefusal: true)
            }
        default:
            self.init("TLS failed: \(cause)")
        }
    }

    /// The library's name for an error, without numbers and paths of its sources.
    private static func name(ofErrorIn text: String) -> String {
        guard let marker = text.firstRange(of: "OPENSSL_internal:") else {
            return String(text.prefix { !$0.isNewline }.prefix(200))
        }
        return String(text[marker.upperBound...].prefix { $0 == "_" || $0.isLetter || $0.isNumber })
    }

    private static func reason(of error: NIOSSLExtraError, _ target: ConnectTarget) -> String {
        let name = target.tls?.serverName ?? target.endpoint.host ?? ""
        return switch error {
        case .failedToValidateHostname: "the server's certificate is not for \(name)"
        case .serverHostnameImpossibleToMatch: "no certificate can be for \(name): that is not a host name"
        case .cannotUseIPAddressInSNI, .invalidSNIHostname: "\(name) cannot be the TLS server name"
        default: "TLS failed: \(error)"
        }
    }
}

/// What a connection is made to.
package struct ConnectTarget: Sendable {
    package var endpoint: ServerEndpoint
    package var tls: TLSOptions?
    /// How long the network has to connect.
    package var timeout: Duration

    package init(endpoint: ServerEndpoint, tls: TLSOptions?, timeout: Duration) {
        self.endpoint = endpoint
        self.tls = tls
        self.timeout = timeout
    }
}
