import LockTransport

/// What the client of the session is told.
extension ZooKeeperLockConfiguration {
    var clientTLS: TLSOptions? {
        self.tls.map {
            TLSOptions(
                serverName: $0.serverName,
                certificateAuthorityFile: $0.certificateAuthorityFile,
                certificateChainFile: $0.certificateChainFile,
                privateKeyFile: $0.privateKeyFile
            )
        }
    }

    var client: ZooKeeperClientConfiguration {
        ZooKeeperClientConfiguration(
            endpoints: self.servers.map { .tcp(host: $0.host, port: $0.port) },
            tls: self.clientTLS,
            sessionTimeout: self.sessionTimeout,
            digest: self.username.flatMap { user in self.password.map { "\(user):\($0)" } }
        )
    }
}
