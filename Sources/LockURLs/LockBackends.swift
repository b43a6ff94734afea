public import DistributedLocks
public import Logging
import RedisLocks
import ZooKeeperLocks

#if Embedded
import EmbeddedLocks
#endif

/// Makes backends of URLs.
///
/// | URL | backend |
/// |---|---|
/// | `embedded:` | one host, the user's own file (`$XDG_STATE_HOME/dlock/locks.db`) |
/// | `embedded:///path/locks.db` | one host, a file that several users or containers may share |
/// | `redis://[user:password@]host[:6379][/database]` | one Redis master; `rediss:` for TLS |
/// | `redis+unix:///path.sock` | one Redis master on this host |
/// | `redis+sentinel://[user:password@]s1:26379,s2:26379,s3:26379/mymaster[/database]` | a Redis master that is found by its Sentinels; `rediss+sentinel:` for TLS |
/// | `redlock://[user:password@]r1,r2,r3,r4,r5[/database]` | independent Redis masters; `redlocks:` for TLS |
/// | `zookeeper://[user:password@]z1:2181,z2:2181,z3:2181[/chroot]` | a ZooKeeper ensemble; `zookeepers:` for TLS |
///
/// An option of `embedded:` is `max-waiters=N`: more waiters than this on one lock are refused (10,000). Those of
/// Redis are in the table of `RedisLockConfiguration.urlOptions`, those of Redlock in that of `RedlockConfiguration.urlOptions`,
/// those of ZooKeeper in that of `ZooKeeperLockConfiguration.urlOptions`. Each backend's module reads its own URLs:
/// `RedisLockBackend(url:)`, `RedlockBackend(url:)`, `ZooKeeperLockBackend(url:)`, `EmbeddedLockBackend(url:)`.
public enum LockBackends {
    /// The schemes that this build knows.
    public static var schemes: [String] {
        #if Embedded
        EmbeddedLockBackend.urlSchemes + Self.serverSchemes
        #else
        Self.serverSchemes
        #endif
    }

    private static let serverSchemes =
        RedisLockConfiguration.urlSchemes + RedlockConfiguration.urlSchemes + ZooKeeperLockConfiguration.urlSchemes

    /// Makes the backend that a URL names. Nothing is connected or opened yet.
    ///
    /// - Parameters:
    ///   - text: The URL.
    ///   - logger: Where servers' troubles are told; nowhere unless given.
    /// - Throws: `LockError` `invalidConfiguration` with what is wrong and what would be right.
    public static func backend(url text: String, logger: Logger = Self.noLogger) throws(LockError) -> any LockBackend {
        try Self.backend(url: LockURL(text), logger: logger)
    }

    /// A logger that drops everything.
    public static let noLogger = Logger(label: "dlock") { _ in SwiftLogNoOpLogHandler() }

    /// Makes the backend that a URL names. Nothing is connected or opened yet.
    ///
    /// - Parameters:
    ///   - url: The URL.
    ///   - logger: Where servers' troubles are told; nowhere unless given.
    /// - Throws: `LockError` `invalidConfiguration` with what is wrong and what would be right.
    public static func backend(url: LockURL, logger: Logger = Self.noLogger) throws(LockError) -> any LockBackend {
        switch url.scheme {
        #if Embedded
        case _ where EmbeddedLockBackend.urlSchemes.contains(url.scheme):
            return try EmbeddedLockBackend(url: url)
        #endif
        case _ where RedisLockConfiguration.urlSchemes.contains(url.scheme):
            return try RedisLockBackend(configuration: RedisLockConfiguration(url: url), logger: logger)
        case _ where RedlockConfiguration.urlSchemes.contains(url.scheme):
            return try RedlockBackend(configuration: RedlockConfiguration(url: url), logger: logger)
        case _ where ZooKeeperLockConfiguration.urlSchemes.contains(url.scheme):
            return try ZooKeeperLockBackend(configuration: ZooKeeperLockConfiguration(url: url), logger: logger)
        default:
            let known = Self.schemes.map { $0 + ":" }.joined(separator: ", ")
            throw url.unusable("there is no backend \(url.quotedScheme) in this build; it has \(known)")
        }
    }
}
