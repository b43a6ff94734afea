#if Embedded
public import DistributedLocks

extension EmbeddedLockBackend {
    /// The schemes of its URLs.
    public static let urlSchemes = ["embedded"]

    /// Uses the file that a URL names: `embedded:///path/locks.db`, or `embedded:` for the user's own file
    /// (``EmbeddedLocation/userDefault()``). The option `max-waiters=N` is ``Options/maximumWaitersPerLock``.
    ///
    /// - Throws: `LockError` `invalidConfiguration` with what is wrong and what would be right.
    public convenience init(url: String) throws(LockError) {
        try self.init(url: LockURL(url))
    }

    /// Uses the file that a URL names.
    ///
    /// - Throws: `LockError` `invalidConfiguration` with what is wrong and what would be right.
    public convenience init(url: LockURL) throws(LockError) {
        guard Self.urlSchemes.contains(url.scheme), url.hosts.isEmpty, url.user == nil else {
            throw LockURL.invalid(
                "embedded: is on this host and takes no host or user: write embedded:///path/locks.db, with three slashes"
            )
        }
        var options = Options()
        for item in url.query {
            switch item.name {
            case "max-waiters":
                options.maximumWaitersPerLock = try LockURL.maximumWaiters(item.value)
            default:
                throw url.unknownOption(item, known: ["max-waiters"])
            }
        }
        let location = url.path.isEmpty ? try EmbeddedLocation.userDefault() : try EmbeddedLocation(path: url.path)
        self.init(location: location, options: options)
    }
}
#endif
