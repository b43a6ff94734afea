public import DistributedLocks

extension RedlockConfiguration {
    /// The schemes of its URLs.
    public static let urlSchemes = ["redlock", "redlocks"]

    /// The options of Redlock URLs, and what they mean.
    ///
    /// | option | meaning |
    /// |---|---|
    /// | `prefix=TEXT` | stands before the lock's name in its key (`dlock:`); may be empty |
    /// | `max-waiters=N` | more waiters than this on one lock are refused (10,000) |
    /// | `longest-lease=60s` | the longest lease that can be asked for; at most what the instances were set up with |
    /// | `max-clock-skew=10s` | how far the servers' clocks may differ; at most what the instances were set up with |
    /// | `instance-timeout=500ms` | how long one instance may take to answer |
    /// | `set=NAME` | names the set where clients know the servers by different addresses |
    /// | `password-file=PATH` | the password is the first line of this file |
    /// | `password-env=NAME` | the password is the value of this environment variable |
    /// | `ca-file=PATH` | a PEM file with the authorities that are trusted (only `redlocks:`, like the next three) |
    /// | `cert-file=PATH` | a PEM file with this client's certificate, for servers that ask for one |
    /// | `key-file=PATH` | a PEM file with its private key; without this option the key stands in `cert-file` |
    /// | `server-name=NAME` | the name in the servers' certificates, if it is not the hosts' |
    public static let urlOptions =
        ["prefix", "max-waiters", "longest-lease", "max-clock-skew", "instance-timeout", "set"] + ServerOptions.names

    /// Reads a URL, such as `redlock://r1,r2,r3,r4,r5`.
    ///
    /// - Throws: `LockError` `invalidConfiguration` with what is wrong and what would be right.
    public init(url: LockURL) throws(LockError) {
        guard Self.urlSchemes.contains(url.scheme), !url.hosts.isEmpty, url.hosts.allSatisfy({ !$0.name.isEmpty })
        else {
            let scheme = Self.urlSchemes.contains(url.scheme) ? url.scheme : "redlock"
            throw url.unusable("\(scheme): needs hosts: write \(scheme)://r1,r2,r3,r4,r5")
        }
        self.init(servers: url.hosts.map { .tcp(host: $0.name, port: $0.port ?? 6379) })
        let options = try ServerOptions(url, secureScheme: "redlocks")
        self.username = url.user
        self.password = options.password ?? url.password
        if url.scheme == "redlocks" { self.tls = RedisLockConfiguration.TLS(options) }
        if !url.path.isEmpty, url.path != "/" {
            self.database = try url.database(String(url.path.dropFirst()))
        }
        for item in options.others { try self.apply(item, url) }
    }

    private mutating func apply(_ item: LockURL.QueryItem, _ url: LockURL) throws(LockError) {
        func time() throws(LockError) -> Duration {
            guard let time = LockURL.duration(item.value) else {
                throw LockURL.invalid("\(item.name) is a time such as 10s or 500ms")
            }
            return time
        }
        switch item.name {
        case "prefix": self.keyPrefix = item.value
        case "max-waiters": self.maximumWaitersPerLock = try LockURL.maximumWaiters(item.value)
        case "longest-lease": self.longestLease = try time()
        case "max-clock-skew": self.maximumClockSkew = try time()
        case "instance-timeout": self.instanceTimeout = try time()
        case "set": self.setName = item.value
        default: throw url.unknownOption(item, known: Self.urlOptions)
        }
    }
}

extension RedlockBackend {
    /// Uses the instances that a URL names, such as `redlock://r1,r2,r3,r4,r5`. Nothing is connected before ``run()``.
    ///
    /// The options of the URL are those of ``RedlockConfiguration/urlOptions``.
    ///
    /// - Throws: `LockError` `invalidConfiguration` with what is wrong and what would be right.
    public convenience init(url: String) throws(LockError) {
        try self.init(configuration: RedlockConfiguration(url: LockURL(url)))
    }
}
