import DistributedLocks
import LockTransport

/// Where a Redis server is, and how it is used for locks.
///
/// Its text forms never show the password.
public struct RedisLockConfiguration: Sendable {
    /// Where a server listens.
    public enum Address: Hashable, Sendable {
        /// A host name or an address, and a port. The name is looked up anew for each connection.
        case tcp(host: String, port: Int = 6379)
        /// The path of a socket on this host.
        case unixSocket(path: String)
        /// The Sentinels that know the master by a name: all of them, because a majority of these has to agree where it is.
        case sentinels([Sentinel], master: String)
    }

    /// Where a Sentinel listens.
    public struct Sentinel: Hashable, Sendable {
        /// A host name or an address.
        public var host: String
        /// The port. 26379 by default.
        public var port: Int

        /// A Sentinel on a host.
        public init(host: String, port: Int = 26379) {
            self.host = host
            self.port = port
        }
    }

    /// How the server proves who it is, and its Sentinels, if there are any.
    public struct TLS: Hashable, Sendable {
        /// The name in the server's certificate; `nil`: the host of the address.
        public var serverName: String?
        /// A PEM file with the authorities that are trusted; `nil`: those that the system trusts.
        public var certificateAuthorityFile: String?
        /// A PEM file with this client's certificate, and with those between it and the server's authority, for a server that asks
        /// for one, as Redis does unless `tls-auth-clients` says otherwise.
        public var certificateChainFile: String?
        /// A PEM file with the private key of that certificate; `nil`: it stands in ``certificateChainFile``, too.
        public var privateKeyFile: String?

        /// The certificate of the server is verified against this name and these authorities.
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

    /// Where the server listens.
    public var address: Address
    /// How the server proves who it is; `nil`: it is spoken to in clear.
    public var tls: TLS?
    /// The user; `nil`: the server's default user.
    public var username: String?
    /// The password; `nil`: none is needed.
    public var password: String?
    /// The user at the Sentinels; `nil`: their default user.
    public var sentinelUsername: String?
    /// The password at the Sentinels; `nil`: none is needed.
    public var sentinelPassword: String?
    /// So many replicas have to confirm a grant before it is told: fewer, and the lock is released and the call fails. 0 by
    /// default. It is a number that you set, never what happens to be connected.
    public var replicationAcks = 0
    /// How long they are waited for, and at most a third of the lease. 1 s by default.
    public var replicationTimeout: Duration = .seconds(1)
    /// The number of the database. 0 by default.
    public var database = 0
    /// What stands before the lock's name in its key. `dlock:` by default; may be empty.
    public var keyPrefix = "dlock:"
    /// More waiters than this on one lock are refused. 10,000 by default.
    public var maximumWaitersPerLock = 10_000
    /// How long an exchange with the server may take, where the caller set no earlier limit. 5 s by default.
    public var requestTimeout: Duration = .seconds(5)
    /// How long it may take to connect, with TLS and authentication. 5 s by default.
    public var connectTimeout: Duration = .seconds(5)

    /// Locks on the server at an address, in clear and without a password unless told otherwise.
    public init(address: Address) {
        self.address = address
    }

    /// Locks on the server on a host, in clear and without a password unless told otherwise.
    public init(host: String, port: Int = 6379) {
        self.init(address: .tcp(host: host, port: port))
    }
}

extension RedisLockConfiguration: CustomStringConvertible, CustomReflectable {
    /// The address and the database.
    public var description: String {
        let scheme = self.tls == nil ? "redis" : "rediss"
        let database = self.database == 0 ? "" : "/\(self.database)"
        switch self.address {
        case .tcp(let host, let port):
            return "\(scheme)://\(host.contains(":") ? "[\(host)]" : host):\(port)\(database)"
        case .unixSocket(let path):
            return "redis+unix://\(path)" + (self.database == 0 ? "" : "?database=\(self.database)")
        case .sentinels(let sentinels, let master):
            let hosts = sentinels.map { "\($0.host.contains(":") ? "[\($0.host)]" : $0.host):\($0.port)" }
            return "\(scheme)+sentinel://\(hosts.joined(separator: ","))/\(master)\(database)"
        }
    }

    /// The address and the database.
    public var customMirror: Mirror { Mirror(self, children: ["address": self.description]) }
}

extension RedisLockConfiguration {
    /// The prefixes of the keys that stand beside a lock's. See Scripts/Lua/common.lua.
    static let reservedPrefixes = [
        "dlock.fence:", "dlock.queue:", "dlock.waiters:", "dlock.push:", "dlock.node", "dlock.epoch",
    ]

    /// The key of a lock.
    ///
    /// - Throws: ``LockError`` `invalidName` if the key would be one of those that stand beside a lock's.
    func key(of name: LockName) throws(LockError) -> String {
        guard !self.keyPrefix.isEmpty else {
            if let reserved = Self.reservedPrefixes.first(where: { name.rawValue.hasPrefix($0) }) {
                throw LockError(.invalidName, "a lock name must not begin with '\(reserved)' where keys have no prefix")
            }
            return name.rawValue
        }
        return self.keyPrefix + name.rawValue
    }

    private static func check(port: Int) throws(LockError) {
        guard (1...65_535).contains(port) else {
            throw LockError(.invalidConfiguration, "'\(port)' is no port: a port is a number from 1 to 65535")
        }
    }

    /// Says what makes no sense.
    ///
    /// - Throws: ``LockError`` `invalidConfiguration`.
    func check() throws(LockError) {
        switch self.address {
        case .tcp(_, let port): try Self.check(port: port)
        case .unixSocket: break
        case .sentinels(let sentinels, let master):
            guard !sentinels.isEmpty else { throw LockError(.invalidConfiguration, "no Sentinel is named") }
            for sentinel in sentinels { try Self.check(port: sentinel.port) }
            guard Set(sentinels).count == sentinels.count else {
                throw LockError(.invalidConfiguration, "a Sentinel is named twice: a majority would not be one")
            }
            guard !master.isEmpty, master.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
                throw LockError(.invalidConfiguration, "a master's name has printable characters and no spaces")
            }
        }
        if let problem = self.clientTLS?.problem { throw LockError(.invalidConfiguration, problem) }
        guard (0...1_000).contains(self.replicationAcks) else {
            throw LockError(
                .invalidConfiguration,
                "the number of replicas that confirm is from 0 to 1000, not \(self.replicationAcks)"
            )
        }
        guard self.database >= 0 else {
            throw LockError(.invalidConfiguration, "the number of a database is 0 or more, not \(self.database)")
        }
        guard (1...1_000_000).contains(self.maximumWaitersPerLock) else {
            throw LockError(
                .invalidConfiguration,
                "the number of waiters is from 1 to 1000000, not \(self.maximumWaitersPerLock)"
            )
        }
        guard self.requestTimeout > .zero, self.connectTimeout > .zero, self.replicationTimeout > .zero else {
            throw LockError(.invalidConfiguration, "timeouts are above zero")
        }
        if let reserved = Self.reservedPrefixes.first(where: {
            $0.hasPrefix(self.keyPrefix) || self.keyPrefix.hasPrefix($0)
        }),
            !self.keyPrefix.isEmpty
        {
            throw LockError(
                .invalidConfiguration,
                "the prefix of the keys is too close to '\(reserved)', which stands before keys beside the locks")
        }
        guard self.keyPrefix.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
            throw LockError(.invalidConfiguration, "the prefix of the keys must not have control characters")
        }
    }
}
