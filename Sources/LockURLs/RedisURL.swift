import DistributedLocks
import RedisLocks

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

extension LockBackends {
    static let redisSchemes = ["redis", "rediss", "redis+unix", "redis+sentinel", "rediss+sentinel"]

    /// The options of Redis URLs, and what they mean.
    ///
    /// | option | meaning |
    /// |---|---|
    /// | `prefix=TEXT` | stands before the lock's name in its key (`dlock:`); may be empty |
    /// | `max-waiters=N` | more waiters than this on one lock are refused (10,000) |
    /// | `password-file=PATH` | the password is the first line of this file |
    /// | `password-env=NAME` | the password is the value of this environment variable |
    /// | `ca-file=PATH` | a PEM file with the authorities that are trusted (only with TLS) |
    /// | `server-name=NAME` | the name in the server's certificate, if it is not the host's (only with TLS) |
    /// | `database=N` | the number of the database (only `redis+unix:`; else it is the path) |
    /// | `replication-acks=N` | so many replicas have to confirm a grant before it is told (0) |
    /// | `sentinel-user=NAME` | the user at the Sentinels (only with Sentinels, like the next two) |
    /// | `sentinel-password-file=PATH` | the password at the Sentinels is the first line of this file |
    /// | `sentinel-password-env=NAME` | the password at the Sentinels is the value of this environment variable |
    ///
    /// With Sentinels, user and password of the URL are those of the master, and `ca-file` and `server-name` are for the
    /// master and its Sentinels alike.
    public static let redisOptions = [
        "prefix", "max-waiters", "password-file", "password-env", "ca-file", "server-name", "database",
        "replication-acks", "sentinel-user", "sentinel-password-file", "sentinel-password-env",
    ]

    static func redis(_ url: LockURL) throws(LockError) -> any LockBackend {
        var configuration = RedisLockConfiguration(address: try Self.redisAddress(url))
        configuration.username = url.user
        configuration.password = url.password
        if url.scheme.hasPrefix("rediss") { configuration.tls = RedisLockConfiguration.TLS() }
        if let database = Self.databaseText(url) { configuration.database = try Self.database(database) }
        for item in url.query { try Self.apply(item, to: &configuration, scheme: url.scheme) }
        return try RedisLockBackend(configuration: configuration)
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

    private static func redisAddress(_ url: LockURL) throws(LockError) -> RedisLockConfiguration.Address {
        if url.scheme.hasSuffix("+sentinel") {
            let name = url.path.split(separator: "/", maxSplits: 1).first
            guard !url.hosts.isEmpty, let name else {
                throw LockURL.invalid(
                    "\(url.scheme): needs the Sentinels and the name of the master: write "
                        + "\(url.scheme)://s1:26379,s2:26379,s3:26379/mymaster"
                )
            }
            return .sentinels(
                url.hosts.map { RedisLockConfiguration.Sentinel(host: $0.name, port: $0.port ?? 26379) },
                master: String(name)
            )
        }
        if url.scheme == "redis+unix" {
            guard url.hosts.isEmpty, url.path.hasPrefix("/") else {
                throw LockURL.invalid("redis+unix: takes a path and no host: write redis+unix:///path/redis.sock")
            }
            return .unixSocket(path: url.path)
        }
        guard let host = url.hosts.first, !host.name.isEmpty else {
            throw LockURL.invalid("\(url.scheme): needs a host: write \(url.scheme)://host:6379")
        }
        guard url.hosts.count == 1 else {
            throw LockURL.invalid("\(url.scheme): is one server, but the URL names \(url.hosts.count) hosts")
        }
        return .tcp(host: host.name, port: host.port ?? 6379)
    }

    private static func apply(
        _ item: LockURL.QueryItem,
        to configuration: inout RedisLockConfiguration,
        scheme: String
    ) throws(LockError) {
        switch item.name {
        case "prefix":
            configuration.keyPrefix = item.value
        case "max-waiters":
            configuration.maximumWaitersPerLock = try Self.maximumWaiters(item.value)
        case "password-file":
            configuration.password = try Self.firstLine(ofFile: item.value)
        case "password-env":
            configuration.password = try Self.environmentVariable(item.value)
        case "ca-file" where scheme.hasPrefix("rediss"):
            configuration.tls?.certificateAuthorityFile = item.value
        case "server-name" where scheme.hasPrefix("rediss"):
            configuration.tls?.serverName = item.value
        case "ca-file", "server-name":
            throw LockURL.invalid("\(item.name) is for rediss: only; \(scheme): is in clear")
        case "replication-acks":
            guard let number = Int(item.value), (0...1_000).contains(number) else {
                throw LockURL.invalid("replication-acks is a number from 0 to 1000, not '\(item.value)'")
            }
            configuration.replicationAcks = number
        case "sentinel-user" where scheme.hasSuffix("+sentinel"):
            configuration.sentinelUsername = item.value
        case "sentinel-password-file" where scheme.hasSuffix("+sentinel"):
            configuration.sentinelPassword = try Self.firstLine(ofFile: item.value, option: item.name)
        case "sentinel-password-env" where scheme.hasSuffix("+sentinel"):
            configuration.sentinelPassword = try Self.environmentVariable(item.value, option: item.name)
        case "sentinel-user", "sentinel-password-file", "sentinel-password-env":
            throw LockURL.invalid("\(item.name) is for redis+sentinel: only; \(scheme): has no Sentinels")
        case "database" where scheme == "redis+unix":
            configuration.database = try Self.database(item.value)
        default:
            let known = Self.redisOptions.joined(separator: ", ")
            throw LockURL.invalid("\(scheme): has no option '\(item.name)'; it has \(known)")
        }
    }

    static func maximumWaiters(_ text: String) throws(LockError) -> Int {
        guard let number = Int(text), (1...1_000_000).contains(number) else {
            throw LockURL.invalid("max-waiters is a number from 1 to 1000000, not '\(text)'")
        }
        return number
    }

    static func database(_ text: String) throws(LockError) -> Int {
        guard let number = Int(text), (0...1_000_000).contains(number),
            text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 })
        else { throw LockURL.invalid("a database is a number from 0, not '\(text)'") }
        return number
    }

    static func environmentVariable(_ name: String, option: String = "password-env") throws(LockError) -> String {
        guard let value = getenv(name) else {
            throw LockURL.invalid("\(option) names the environment variable '\(name)', which is not set")
        }
        return String(cString: value)
    }

    /// The first line of a file, which is short: a password.
    static func firstLine(ofFile path: String, option: String = "password-file") throws(LockError) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw LockURL.invalid("\(option) '\(path)' cannot be read: \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 4_096)
        let count = read(descriptor, &bytes, bytes.count)
        guard count >= 0, let text = String(validating: bytes.prefix(count), as: UTF8.self) else {
            throw LockURL.invalid("\(option) '\(path)' cannot be read, or is not UTF-8 text")
        }
        return String(text.prefix { !$0.isNewline })
    }
}
