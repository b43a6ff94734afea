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
    /// | `ca-file=PATH` | a PEM file with the authorities that are trusted (only `zookeepers:`, like the next three) |
    /// | `cert-file=PATH` | a PEM file with this client's certificate, for servers that ask for one |
    /// | `key-file=PATH` | a PEM file with its private key; without this option the key stands in `cert-file` |
    /// | `server-name=NAME` | the name in the servers' certificates, if it is not the hosts' |
    public static let urlOptions = ["session-timeout"] + ServerOptions.names

    /// Reads a URL, such as `zookeeper://z1:2181,z2:2181,z3:2181/chroot`. A slash at the end of the chroot means nothing.
    ///
    /// - Throws: `LockError` `invalidConfiguration` with what is wrong and what would be right.
    public init(url: LockURL) throws(LockError) {
        guard Self.urlSchemes.contains(url.scheme), !url.hosts.isEmpty, url.hosts.allSatisfy({ !$0.name.isEmpty })
        else {
            let scheme = Self.urlSchemes.contains(url.scheme) ? url.scheme : "zookeeper"
            throw url.unusable("\(scheme): needs hosts: write \(scheme)://z1:2181,z2:2181,z3:2181/chroot")
        }
        self.init(servers: url.hosts.map { Server(host: $0.name, port: $0.port ?? 2181) })
        let options = try ServerOptions(url, secureScheme: "zookeepers")
        self.username = url.user
        self.password = options.password ?? url.password
        self.chroot = url.path.hasSuffix("/") ? String(url.path.dropLast()) : url.path
        if url.scheme == "zookeepers" { self.tls = TLS(options) }
        for item in options.others {
            switch item.name {
            case "session-timeout":
                guard let timeout = LockURL.duration(item.value) else {
                    throw LockURL.invalid("session-timeout is a time such as 10s or 6000ms")
                }
                self.sessionTimeout = timeout
            default: throw url.unknownOption(item, known: Self.urlOptions)
            }
        }
    }
}

extension ZooKeeperLockConfiguration.TLS {
    init(_ options: ServerOptions) {
        self.init(
            serverName: options.serverName,
            certificateAuthorityFile: options.certificateAuthorityFile,
            certificateChainFile: options.certificateChainFile,
            privateKeyFile: options.privateKeyFile
        )
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
