public import DistributedLocks

extension RedisLockConfiguration {
    /// The schemes of its URLs.
    public static let urlSchemes = ["redis", "rediss", "redis+unix", "redis+sentinel", "rediss+sentinel"]

    /// The options of Redis URLs, and what they mean.
    ///
    /// | option | meaning |
    /// |---|---|
    /// | `prefix=TEXT` | stands before the lock's name in its key (`dlock:`); may be empty |
    /// | `max-waiters=N` | more waiters than this on one lock are refused (10,000) |
    /// | `password-file=PATH` | the password is the first line of this file |
    /// | `password-env=NAME` | the password is the value of this environment variable |
    /// | `ca-file=PATH` | a PEM file with the authorities that are trusted (only with TLS, like the next three) |
    /// | `cert-file=PATH` | a PEM file with this client's certificate, for a server that asks for one |
    /// | `key-file=PATH` | a PEM file with its private key; without this option the key stands in `cert-file` |
    /// | `server-name=NAME` | the name in the server's certificate, if it is not the host's |
    /// | `database=N` | the number of the database (only `redis+unix:`; else it is the path) |
    /// | `replication-acks=N` | so many replicas have to confirm a grant before it is told (0) |
    /// | `sentinel-user=NAME` | the user at the Sentinels (only with Sentinels, like the next two) |
    /// | `sentinel-password-file=PATH` | the password at the Sentinels is the first line of this file |
    /// | `sentinel-password-env=NAME` | the password at the Sentinels is the value of this environment variable |
    ///
    /// With Sentinels, user and password of the URL are those of the master, and the options of TLS are for the master and its
    /// Sentinels alike.
    public static let urlOptions =
        ["prefix", "max-waiters"] + ServerOptions.names + [
            "database", "replication-acks", "sentinel-user", "sentinel-password-file", "sentinel-password-env",
        ]

    /// Reads a URL, such as `redis://user:password@host:6379/0`, `rediss://host`, `redis+unix:///path.sock` or
    /// `redis+sentinel://s1,s2,s3/mymaster`.
    ///
    /// - Throws: `LockError` `invalidConfiguration` with what is wrong and what would be right.
    public init(url: LockURL) throws(LockError) {
        guard Self.urlSchemes.contains(url.scheme) else {
            throw url.unusable("a scheme \(url.quotedScheme) is no Redis's: write redis://host:6379")
        }
        self.init(address: try Self.address(url))
        let isSentinel = url.scheme.hasSuffix("+sentinel")
        let options = try ServerOptions(url, secureScheme: isSentinel ? "rediss+sentinel" : "rediss")
        self.username = url.user
        self.password = options.password ?? url.password
        if url.scheme.hasPrefix("rediss") { self.tls = TLS(options) }
        if let database = Self.databaseText(url) { self.database = try url.database(database) }
        for item in options.others { try self.apply(item, url) }
    }

    /// What stands in the path for the database. `nil`: nothing.
    private static func databaseText(_ url: LockURL) -> String? {
        switch url.scheme {
        case "redis+unix":
            return nil
        case "redis+sentinel", "rediss+sentinel":
            let parts = url.path.split(separator: "/", maxSplits: 1)
            return parts.count == 2 ? String(parts[1]) : nil
        default:
            return url.path.isEmpty || url.path == "/" ? nil : String(url.path.dropFirst())
        }
    }

    private static func address(_ url: LockURL) throws(LockError) -> Address {
        if url.scheme.hasSuffix("+sentinel") {
            let name = url.path.split(separator: "/", maxSplits: 1).first
            guard !url.hosts.isEmpty, let name else {
                throw url.unusable(
                    "\(url.scheme): needs the Sentinels and the name of the master: write "
                        + "\(url.scheme)://s1:26379,s2:26379,s3:26379/mymaster"
                )
            }
            return .sentinels(
                url.hosts.map { Sentinel(host: $0.name, port: $0.port ?? 26379) },
                master: String(name)
            )
        }
        if url.scheme == "redis+unix" {
            guard url.hosts.isEmpty, url.path.hasPrefix("/") else {
                throw url.unusable("redis+unix: takes a path and no host: write redis+unix:///path/redis.sock")
            }
            return .unixSocket(path: url.path)
        }
        guard let host = url.hosts.first, !host.name.isEmpty else {
            throw url.unusable("\(url.scheme): needs a host: write \(url.scheme)://host:6379")
        }
        guard url.hosts.count == 1 else {
            throw url.unusable("\(url.scheme): is one server, but the URL names \(url.hosts.count) hosts")
        }
        return .tcp(host: host.name, port: host.port ?? 6379)
    }

    private mutating func apply(_ item: LockURL.QueryItem, _ url: LockURL) throws(LockError) {
        let scheme = url.scheme
        switch item.name {
        case "prefix":
            self.keyPrefix = item.value
        case "max-waiters":
            self.maximumWaitersPerLock = try LockURL.maximumWaiters(item.value)
        case "replication-acks":
            guard let number = LockURL.number(item.value, 0...1_000) else {
                throw LockURL.invalid("replication-acks is a number from 0 to 1000, in decimal digits")
            }
            self.replicationAcks = number
        case "sentinel-user" where scheme.hasSuffix("+sentinel"):
            self.sentinelUsername = item.value
        case "sentinel-password-file" where scheme.hasSuffix("+sentinel"):
            self.sentinelPassword = try SecretSource.firstLine(ofFile: item.value, option: item.name)
        case "sentinel-password-env" where scheme.hasSuffix("+sentinel"):
            self.sentinelPassword = try SecretSource.environmentVariable(item.value, option: item.name)
        case "sentinel-user", "sentinel-password-file", "sentinel-password-env":
            throw LockURL.invalid("\(item.name) is for redis+sentinel: only; \(scheme): has no Sentinels")
        case "database" where scheme == "redis+unix":
            self.database = try url.database(item.value)
        default:
            throw url.unknownOption(item, known: Self.urlOptions)
        }
    }
}

extension RedisLockConfiguration.TLS {
    init(_ options: ServerOptions) {
        self.init(
            serverName: options.serverName,
            certificateAuthorityFile: options.certificateAuthorityFile,
            certificateChainFile: options.certificateChainFile,
            privateKeyFile: options.privateKeyFile
        )
    }
}

extension RedisLockBackend {
    /// Uses the server that a URL names, such as `redis://localhost`. Nothing is connected before ``run()``.
    ///
    /// The options of the URL are those of ``RedisLockConfiguration/urlOptions``.
    ///
    /// - Throws: `LockError` `invalidConfiguration` with what is wrong and what would be right.
    public convenience init(url: String) throws(LockError) {
        try self.init(configuration: RedisLockConfiguration(url: LockURL(url)))
    }
}
