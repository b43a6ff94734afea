import NIOCore
package import NIOSSL

/// Makes the TLS handler of each connection.
package struct TLSContext {
    private let context: NIOSSLContext
    private let serverName: String?
    /// The TLS library does not check the name, so it is checked here: see ``PeerName``.
    private let checksName: Bool

    /// A peer that does not say goodbye is not waited for any longer.
    private static let shutdownTimeout = TimeAmount.milliseconds(500)

    /// Reads the files.
    ///
    /// - Throws: a refusal if they cannot be read, or if no name is known to check.
    package init(_ tls: TLSOptions, endpoint: ServerEndpoint) throws(TransportError) {
        func unusable(_ reason: String) -> TransportError { TransportError(reason, isRefusal: true) }

        self.serverName = try Self.serverName(tls, endpoint)
        self.checksName = self.serverName.map { PeerName.isNeeded(for: $0) } ?? false
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv12
        configuration.certificateVerification = self.checksName ? .noHostnameVerification : .fullVerification
        configuration.shutdownTimeout = Self.shutdownTimeout
        do {
            if let file = tls.certificateAuthorityFile {
                // Read here: a file that cannot be read must not mean that nobody, or anybody, is trusted.
                configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(file))
            }
        } catch {
            throw unusable("the authorities cannot be read from \(tls.certificateAuthorityFile ?? "")")
        }
        if let file = tls.certificateChainFile {
            do {
                configuration.certificateChain = try NIOSSLCertificate.fromPEMFile(file).map { .certificate($0) }
            } catch {
                throw unusable("the client's certificate cannot be read from \(file)")
            }
            do {
                configuration.privateKey = .privateKey(
                    try NIOSSLPrivateKey(file: tls.privateKeyFile ?? file, format: .pem))
            } catch {
                let advice = tls.privateKeyFile == nil ? ": key-file names the file that has it" : ""
                throw unusable("the private key cannot be read from \(tls.privateKeyFile ?? file)\(advice)")
            }
        }
        do {
            self.context = try NIOSSLContext(configuration: configuration)
        } catch NIOSSLError.failedToLoadPrivateKey {
            // It has been read: what is wrong is that it belongs to another certificate.
            let file = tls.certificateChainFile ?? ""
            throw unusable(
                "the private key in \(tls.privateKeyFile ?? file) does not belong to the certificate in \(file)")
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
        guard self.checksName, let name = self.serverName else {
            return try NIOSSLClientHandler(context: self.context, serverHostname: self.serverName)
        }
        // Asked when the chain has been verified, and before anything is written that is not the handshake's. The server is not told
        // the name: Java ends the handshake with one that is not by RFC 1123.
        return try NIOSSLClientHandler._makeSSLClientHandler(context: self.context, serverHostname: nil) {
            certificate, channel in
            guard PeerName.isCertificate(certificate, for: name) else {
                return channel.eventLoop.makeFailedFuture(
                    TransportError("the server's certificate is not for \(name)", isRefusal: true))
            }
            return channel.eventLoop.makeSucceededVoidFuture()
        }
    }
}

extension String {
    /// IPv4 or IPv6, with or without a zone.
    fileprivate var isIPAddress: Bool {
        self.contains(":") || (try? SocketAddress(ipAddress: self, port: 0)) != nil
    }
}
