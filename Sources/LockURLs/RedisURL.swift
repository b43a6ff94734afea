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
    static let redisSchemes = ["redis", "rediss", "redis+unix"]

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
    public static let redisOptions = [
        "prefix", "max-waiters", "password-file", "password-env", "ca-file", "server-name", "database",
    ]

    static func redis(_ url: LockURL) throws(LockError) -> any LockBackend {
        var configuration = RedisLockConfiguration(address: try Self.redisAddress(url))
        configuration.username = url.user
        configuration.password = url.password
        if url.scheme == "rediss" { configuration.tls = RedisLockConfiguration.TLS() }
        if url.scheme != "redis+unix", !url.path.isEmpty, url.path != "/" {
            configuration.database = try Self.database(String(url.path.dropFirst()))
        }
        for item in url.query { try Self.apply(item, to: &configuration, scheme: url.scheme) }
        return try RedisLockBackend(configuration: configuration)
    }

    private static func redisAddress(_ url: LockURL) throws(LockError) -> RedisLockConfiguration.Address {
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
        case "ca-file" where scheme == "rediss":
            configuration.tls?.certificateAuthorityFile = item.value
        case "server-name" where scheme == "rediss":
            configuration.tls?.serverName = item.value
        case "ca-file", "server-name":
            throw LockURL.invalid("\(item.name) is for rediss: only; \(scheme): is in clear")
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

    static func environmentVariable(_ name: String) throws(LockError) -> String {
        guard let value = getenv(name) else {
            throw LockURL.invalid("password-env names the environment variable '\(name)', which is not set")
        }
        return String(cString: value)
    }

    /// The first line of a file, which is short: a password.
    static func firstLine(ofFile path: String) throws(LockError) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw LockURL.invalid("password-file '\(path)' cannot be read: \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 4_096)
        let count = read(descriptor, &bytes, bytes.count)
        guard count >= 0, let text = String(validating: bytes.prefix(count), as: UTF8.self) else {
            throw LockURL.invalid("password-file '\(path)' cannot be read, or is not UTF-8 text")
        }
        return String(text.prefix { !$0.isNewline })
    }
}
