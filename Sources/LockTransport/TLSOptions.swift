/// How a server proves who it is, and optionally how this client does.
package struct TLSOptions: Hashable, Sendable {
    /// The name that the certificate must be for. Nil: the endpoint's host.
    ///
    /// If the endpoint's host is an IP address, the certificate must be for that address unless a name stands here.
    package var serverName: String?
    /// A PEM file with the authorities to trust. Nil: those that the system trusts.
    package var certificateAuthorityFile: String?
    /// A PEM file with this client's certificate chain, for servers that ask for one.
    package var certificateChainFile: String?
    /// A PEM file with the private key of ``certificateChainFile``. Nil: that file has it, too.
    package var privateKeyFile: String?

    package init(
        serverName: String? = nil,
        certificateAuthorityFile: String? = nil,
        certificateChainFile: String? = nil,
        privateKeyFile: String? = nil
    ) {
        self.serverName = serverName
        self.certificateAuthorityFile = certificateAuthorityFile
        self.certificateChainFile = certificateChainFile
        self.privateKeyFile = privateKeyFile
    }

    /// Why these make no sense together; nil if they do.
    package var problem: String? {
        self.privateKeyFile != nil && self.certificateChainFile == nil
            ? "a private key (key-file) is of no use without its certificate (cert-file)" : nil
    }
}
