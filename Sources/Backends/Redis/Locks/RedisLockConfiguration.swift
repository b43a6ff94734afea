import DistributedLocks

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
    }

    /// How the server proves who it is.
    public struct TLS: Hashable, Sendable {
        /// The name in the server's certificate; `nil`: the host of the address.
        public var serverName: String?
        /// A PEM file with the authorities that are trusted; `nil`: those that the system trusts.
        public var certificateAuthorityFile: String?

        /// The certificate is verified against this name and these authorities.
        public init(serverName: String? = nil, certificateAuthorityFile: String? = nil) {
            self.serverName = serverName
            self.certificateAuthorityFile = certificateAuthorityFile
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
        }
    }

    /// The address and the database.
    public var customMirror: Mirror { Mirror(self, children: ["address": self.description]) }
}

extension RedisLockConfiguration {
    /// The prefixes of the keys that stand beside a lock's. See Scripts/common.lua.
    static let reservedPrefixes = ["dlock.fence:", "dlock.queue:", "dlock.waiters:", "dlock.push:", "dlock.node"]

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

    /// Says what makes no sense.
    ///
    /// - Throws: ``LockError`` `invalidConfiguration`.
    func check() throws(LockError) {
        if case .tcp(_, let port) = self.address, !(1...65_535).contains(port) {
            throw LockError(.invalidConfiguration, "'\(port)' is no port: a port is a number from 1 to 65535")
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
        guard self.requestTimeout > .zero, self.connectTimeout > .zero else {
            throw LockError(.invalidConfiguration, "timeouts are above zero")
        }
        if let reserved = Self.reservedPrefixes.first(where: {
            $0.hasPrefix(self.keyPrefix) || self.keyPrefix.hasPrefix($0)
        }),
            !self.keyPrefix.isEmpty
        {
            throw LockError(.invalidConfiguration, "the prefix '\(self.keyPrefix)' is too close to '\(reserved)'")
        }
        guard self.keyPrefix.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
            throw LockError(.invalidConfiguration, "the prefix of the keys must not have control characters")
        }
    }
}
