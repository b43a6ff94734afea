import DistributedLocks
import ZooKeeperLocks

extension LockBackends {
    static let zooKeeperSchemes = ["zookeeper", "zookeepers"]

    /// The options of ZooKeeper URLs, and what they mean.
    ///
    /// | option | meaning |
    /// |---|---|
    /// | `session-timeout=10s` | the lease of all locks, which the ensemble may change to what it allows |
    /// | `password-file=PATH` | the password is the first line of this file |
    /// | `password-env=NAME` | the password is the value of this environment variable |
    /// | `ca-file=PATH` | a PEM file with the authorities that are trusted (only `zookeepers:`) |
    public static let zooKeeperOptions = ["session-timeout", "password-file", "password-env", "ca-file"]

    static func zooKeeper(_ url: LockURL) throws(LockError) -> any LockBackend {
        guard !url.hosts.isEmpty, url.hosts.allSatisfy({ !$0.name.isEmpty }) else {
            throw LockURL.invalid("\(url.scheme): needs hosts: write \(url.scheme)://z1:2181,z2:2181,z3:2181/chroot")
        }
        var configuration = ZooKeeperLockConfiguration(
            servers: url.hosts.map { ZooKeeperLockConfiguration.Server(host: $0.name, port: $0.port ?? 2181) }
        )
        configuration.username = url.user
        configuration.password = url.password
        if url.path != "/" { configuration.chroot = url.path }
        if url.scheme == "zookeepers" { configuration.tls = ZooKeeperLockConfiguration.TLS() }
        for item in url.query {
            switch item.name {
            case "session-timeout":
                guard let timeout = Self.duration(item.value) else {
                    throw LockURL.invalid("session-timeout is a time such as 10s or 6000ms, not '\(item.value)'")
                }
                configuration.sessionTimeout = timeout
            case "password-file":
                configuration.password = try Self.firstLine(ofFile: item.value)
            case "password-env":
                configuration.password = try Self.environmentVariable(item.value)
            case "ca-file" where url.scheme == "zookeepers":
                configuration.tls?.certificateAuthorityFile = item.value
            case "ca-file":
                throw LockURL.invalid("ca-file is for zookeepers: only; zookeeper: is in clear")
            default:
                let known = Self.zooKeeperOptions.joined(separator: ", ")
                throw LockURL.invalid("\(url.scheme): has no option '\(item.name)'; it has \(known)")
            }
        }
        return try ZooKeeperLockBackend(configuration: configuration)
    }

    /// A number with `ms` or `s` behind it.
    static func duration(_ text: String) -> Duration? {
        for (unit, scale) in [("ms", 1), ("s", 1_000)] where text.hasSuffix(unit) {
            let digits = text.dropLast(unit.count)
            guard !digits.isEmpty, digits.utf8.count <= 9, digits.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }),
                let number = Int(digits)
            else { return nil }
            return .milliseconds(number * scale)
        }
        return nil
    }
}
