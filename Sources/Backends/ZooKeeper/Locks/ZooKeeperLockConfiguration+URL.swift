public import DistributedLocks

extension ZooKeeperLockConfiguration {
    /// The schemes of its URLs.
    public static let urlSchemes = ["zookeeper", "zookeepers"]

    /// The options of ZooKeeper URLs, and what they mean.
    ///
    /// | option | meaning |
    /// |---|---|
    /// | `session-timeout=10s` | the lease of all locks, which the ensemble may change to what it allows |
    /// | `password-file=PATH` | the password is the first line of this file |
    /// | `password-env=NAME` | the password is the value of this environment variable |
    /// | `ca-file=PATH` | a PEM file with the authorities that are trusted (only `zookeepers:`) |
    public static let urlOptions = ["session-timeout", "password-file", "password-env", "ca-file"]

    /// Reads a URL, such as `zookeeper://z1:2181,z2:2181,z3:2181/chroot`.
    ///
    /// - Throws: `LockError` `invalidConfiguration` with what is wrong and what would be right.
    public init(url: LockURL) throws(LockError) {
        guard Self.urlSchemes.contains(url.scheme), !url.hosts.isEmpty, url.hosts.allSatisfy({ !$0.name.isEmpty })
        else {
            let scheme = Self.urlSchemes.contains(url.scheme) ? url.scheme : "zookeeper"
            throw LockURL.invalid("\(scheme): needs hosts: write \(scheme)://z1:2181,z2:2181,z3:2181/chroot")
        }
        self.init(servers: url.hosts.map { Server(host: $0.name, port: $0.port ?? 2181) })
        self.username = url.user
        self.password = url.password
        if url.path != "/" { self.chroot = url.path }
        if url.scheme == "zookeepers" { self.tls = TLS() }
        for item in url.query {
            switch item.name {
            case "session-timeout":
                guard let timeout = LockURL.duration(item.value) else {
                    throw LockURL.invalid("session-timeout is a time such as 10s or 6000ms, not '\(item.value)'")
                }
                self.sessionTimeout = timeout
            case "password-file":
                self.password = try LockURL.firstLine(ofFile: item.value)
            case "password-env":
                self.password = try LockURL.environmentVariable(item.value)
            case "ca-file" where url.scheme == "zookeepers":
                self.tls?.certificateAuthorityFile = item.value
            case "ca-file":
                throw LockURL.invalid("ca-file is for zookeepers: only; zookeeper: is in clear")
            default:
                let known = Self.urlOptions.joined(separator: ", ")
                throw LockURL.invalid("\(url.scheme): has no option '\(item.name)'; it has \(known)")
            }
        }
    }
}

extension ZooKeeperLockBackend {
    /// Uses the ensemble that a URL names, such as `zookeeper://z1,z2,z3`. Nothing is connected before ``run()``.
    ///
    /// The options of the URL are those of ``ZooKeeperLockConfiguration/urlOptions``.
    ///
    /// - Throws: `LockError` `invalidConfiguration` with what is wrong and what would be right.
    public convenience init(url: String) throws(LockError) {
        try self.init(configuration: ZooKeeperLockConfiguration(url: LockURL(url)))
    }
}
