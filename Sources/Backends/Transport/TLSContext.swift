import NIOCore
package import NIOSSL

/// Makes the TLS handler of each connection.
package struct TLSContext {
    private let context: NIOSSLContext
    private let serverName: String?

    /// A peer that does not say goodbye is not waited for any longer.
    private static let shutdownTimeout = TimeAmount.milliseconds(500)

    /// Reads the files.
    ///
    /// - Throws: a refusal if they cannot be read, or if no name is known to check.
    package init(_ tls: TLSOptions, endpoint: ServerEndpoint) throws(TransportError) {
        func unusable(_ reason: String) -> TransportError { TransportError(reason, isRefusal: true) }

        self.serverName = try Self.serverName(tls, endpoint)
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv12
        configuration.certificateVerification = .fullVerification
        configuration.shutdownTimeout = Self.shutdownTimeout
        do {
            if let file = tls.certificateAuthorityFile {
                // Read here: a file that cannot be read must not mean that nobody, or anybody, is trusted.
                configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(file))
            }
        } catch {
            throw unusable("the authorities cannot be read from \(tls.certificateAuthorityFile ?? "")")
        }
        do {
            if let file = tls.certificateChainFile {
                configuration.certificateChain = try NIOSSLCertificate.fromPEMFile(file).map { .certificate($0) }
            }
        } catch {
            throw unusable("the client's certificate cannot be read from \(tls.certificateChainFile ?? "")")
        }
        do {
            if let file = tls.privateKeyFile {
                configuration.privateKey = .privateKey(try NIOSSLPrivateKey(file: file, format: .pem))
            }
        } catch {
            throw unusable("the private key cannot be read from \(tls.privateKeyFile ?? "")")
        }
        do {
            self.context = try NIOSSLContext(configuration: configuration)
        } catch {
            throw unusable("TLS cannot be set up: \(error)")
        }
    }

    /// NIOSSL accepts a certificate that is for the name, or for the address that was connected to. So an IP address as the
    /// host is checked by giving no name; as a name for another host it could not be checked.
    private static func serverName(_ tls: TLSOptions, _ endpoint: ServerEndpoint) throws(TransportError) -> String? {
        let host = endpoint.host
        guard let name = tls.serverName ?? host else {
            throw TransportError("TLS over a unix socket needs a server name", isRefusal: true)
        }
        guard name.isIPAddress else { return name }
        guard name == host else {
            throw TransportError(
                "\(name) cannot be the TLS server name: an IP address can be checked as the host only",
                isRefusal: true
            )
        }
        return nil
    }

    package func makeHandler() throws -> NIOSSLClientHandler {
        try NIOSSLClientHandler(context: self.context, serverHostname: self.serverName)
    }
}

extension String {
    /// IPv4 or IPv6, with or without a zone.
    fileprivate var isIPAddress: Bool {
        self.contains(":") || (try? SocketAddress(ipAddress: self, port: 0)) != nil
    }
}
