public import DistributedLocks
import RedisLocks

extension LockBackends {
    static let redlockSchemes = ["redlock", "redlocks"]

    /// The options of Redlock URLs, and what they mean.
    ///
    /// | option | meaning |
    /// |---|---|
    /// | `prefix=TEXT` | stands before the lock's name in its key (`dlock:`); may be empty |
    /// | `max-waiters=N` | more waiters than this on one lock are refused (10,000) |
    /// | `longest-lease=60s` | the longest lease that can be asked for; the same for all clients |
    /// | `max-clock-skew=10s` | how far the servers' clocks may differ; the same for all clients |
    /// | `instance-timeout=500ms` | how long one instance may take to answer |
    /// | `set=NAME` | names the set where clients know the servers by different addresses |
    /// | `password-file=PATH` | the password is the first line of this file |
    /// | `password-env=NAME` | the password is the value of this environment variable |
    /// | `ca-file=PATH` | a PEM file with the authorities that are trusted (only `redlocks:`) |
    /// | `server-name=NAME` | the name in the servers' certificates, if it is not the hosts' (only `redlocks:`) |
    public static let redlockOptions = [
        "prefix", "max-waiters", "longest-lease", "max-clock-skew", "instance-timeout", "set", "password-file",
        "password-env", "ca-file", "server-name",
    ]

    static func redlock(_ url: LockURL) throws(LockError) -> RedlockBackend {
        guard !url.hosts.isEmpty, url.hosts.allSatisfy({ !$0.name.isEmpty }) else {
            throw LockURL.invalid("\(url.scheme): needs hosts: write \(url.scheme)://r1,r2,r3,r4,r5")
        }
        var configuration = RedlockConfiguration(
            servers: url.hosts.map { .tcp(host: $0.name, port: $0.port ?? 6379) }
        )
        configuration.username = url.user
        configuration.password = url.password
        if url.scheme == "redlocks" { configuration.tls = RedisLockConfiguration.TLS() }
        if !url.path.isEmpty, url.path != "/" {
            configuration.database = try Self.database(String(url.path.dropFirst()))
        }
        for item in url.query { try Self.apply(item, to: &configuration, scheme: url.scheme) }
        return try RedlockBackend(configuration: configuration)
    }

    private static func apply(
        _ item: LockURL.QueryItem,
        to configuration: inout RedlockConfiguration,
        scheme: String
    ) throws(LockError) {
        func time() throws(LockError) -> Duration {
            guard let time = Self.duration(item.value) else {
                throw LockURL.invalid("\(item.name) is a time such as 10s or 500ms, not '\(item.value)'")
            }
            return time
        }
        switch item.name {
        case "prefix": configuration.keyPrefix = item.value
        case "max-waiters": configuration.maximumWaitersPerLock = try Self.maximumWaiters(item.value)
        case "longest-lease": configuration.longestLease = try time()
        case "max-clock-skew": configuration.maximumClockSkew = try time()
        case "instance-timeout": configuration.instanceTimeout = try time()
        case "set": configuration.setName = item.value
        case "password-file": configuration.password = try Self.firstLine(ofFile: item.value)
        case "password-env": configuration.password = try Self.environmentVariable(item.value)
        case "ca-file" where scheme == "redlocks": configuration.tls?.certificateAuthorityFile = item.value
        case "server-name" where scheme == "redlocks": configuration.tls?.serverName = item.value
        case "ca-file", "server-name":
            throw LockURL.invalid("\(item.name) is for redlocks: only; redlock: is in clear")
        default:
            let known = Self.redlockOptions.joined(separator: ", ")
            throw LockURL.invalid("\(scheme): has no option '\(item.name)'; it has \(known)")
        }
    }

    /// Prepares a backend that needs it: opens the instances of a new Redlock at once.
    ///
    /// - Throws: `LockError`: `invalidConfiguration` if the backend needs no preparation, or if an instance was used before
    ///   (then nothing is changed); `policyMismatch`; `unreachable` if not all instances can be reached.
    public static func initialize(url: LockURL) async throws(LockError) {
        guard let backend = try Self.backend(url: url) as? RedlockBackend else {
            throw LockURL.invalid("\(url.scheme): needs no preparation")
        }
        try await backend.initialize()
    }
}
