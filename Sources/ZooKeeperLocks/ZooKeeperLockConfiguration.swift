import DistributedLocks
import LockKernel
import LockTransport

/// Where an ensemble is, and how it is used for locks.
///
/// Its text forms never show the password.
public struct ZooKeeperLockConfiguration: Sendable {
    /// A server of the ensemble.
    public struct Server: Hashable, Sendable {
        /// A host name or an address. A name is looked up anew for each connection.
        public var host: String
        /// The client port.
        public var port: Int

        /// Names a server.
        public init(host: String, port: Int = 2181) {
            self.host = host
            self.port = port
        }
    }

    /// How the servers prove who they are, and how this client does.
    public struct TLS: Hashable, Sendable {
        /// The name in the servers' certificates; `nil`: of each the host by which it is configured here.
        public var serverName: String?
        /// A PEM file with the authorities that are trusted; `nil`: those that the system trusts.
        public var certificateAuthorityFile: String?
        /// A PEM file with this client's certificate, and with those between it and the servers' authority, for servers that ask
        /// for one, as ZooKeeper does unless `ssl.clientAuth` says otherwise.
        public var certificateChainFile: String?
        /// A PEM file with the private key of that certificate; `nil`: it stands in ``certificateChainFile``, too.
        public var privateKeyFile: String?

        /// The certificates of the servers are verified against these authorities, and the names.
        public init(
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
    }

    /// The servers; clients spread over them.
    public var servers: [Server]
    /// The node under which everything stands, such as `/team`; made if it does not exist. Empty: the root.
    public var chroot = ""
    /// How long the ensemble keeps a session whose client is silent: the lease of all locks of this client. The ensemble
    /// may settle on another one. 10 s by default.
    public var sessionTimeout: Duration = .seconds(10)
    /// The user for the scheme `digest`; nodes are then made for this user alone.
    public var username: String?
    /// The password that belongs to the user.
    public var password: String?
    /// How the servers prove who they are; `nil`: they are spoken to in clear.
    public var tls: TLS?
    /// How long an exchange with the ensemble may take, where the caller set no earlier limit. 5 s by default.
    public var requestTimeout: Duration = .seconds(5)

    /// Locks on an ensemble, in clear and open to all unless told otherwise.
    public init(servers: [Server]) {
        self.servers = servers
    }
}

extension ZooKeeperLockConfiguration: CustomStringConvertible, CustomReflectable {
    /// The servers in the order of their names, and the chroot.
    public var description: String {
        let servers = self.servers.map { server in
            (server.host.contains(":") ? "[\(server.host)]" : server.host) + ":\(server.port)"
        }
        return (self.tls == nil ? "zookeeper" : "zookeepers") + "://" + servers.sorted().joined(separator: ",")
            + self.chroot
    }

    /// The servers and the chroot.
    public var customMirror: Mirror { Mirror(self, children: ["address": self.description]) }
}

extension ZooKeeperLockConfiguration {
    /// Says what makes no sense.
    ///
    /// - Throws: ``LockError`` `invalidConfiguration`.
    func check() throws(LockError) {
        func invalid(_ reason: String) -> LockError { LockError(.invalidConfiguration, reason) }
        guard !self.servers.isEmpty else { throw invalid("an ensemble has at least one server") }
        for server in self.servers where !(1...65_535).contains(server.port) || server.host.isEmpty {
            throw invalid("'\(server.host):\(server.port)' is no server: it is a host and a port from 1 to 65535")
        }
        guard Set(self.servers).count == self.servers.count else { throw invalid("a server is named twice") }
        guard self.sessionTimeout >= .seconds(1), self.sessionTimeout <= .seconds(3_600) else {
            throw invalid("a session timeout is from 1 s to an hour, not \(self.sessionTimeout.brief)")
        }
        guard self.requestTimeout > .zero else { throw invalid("timeouts are above zero") }
        if let problem = self.clientTLS?.problem { throw invalid(problem) }
        guard (self.username == nil) == (self.password == nil) else {
            throw invalid(
                "a user and a password belong together: give both in the URL, or the password by password-file or password-env"
            )
        }
        if let username, username.contains(":") { throw invalid("a user's name has no colon") }
        if !self.chroot.isEmpty {
            guard self.chroot.hasPrefix("/"), !self.chroot.hasSuffix("/"),
                self.chroot.dropFirst().split(separator: "/", omittingEmptySubsequences: false).allSatisfy({
                    NodeName.isValid($0)
                })
            else {
                throw invalid(
                    "the chroot is no node's path: write /team or /team/locks, without . or .. or empty parts, and without "
                        + "characters that no node's name may have"
                )
            }
            guard self.chroot != "/zookeeper", !self.chroot.hasPrefix("/zookeeper/") else {
                throw invalid("/zookeeper is the ensemble's own")
            }
        }
    }
}
