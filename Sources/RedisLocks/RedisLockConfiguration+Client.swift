import DistributedLocks
import LockTransport

extension RedisLockConfiguration {
    /// How the master is reached.
    ///
    /// - Parameters:
    ///   - locator: finds it, if it is not at a fixed place.
    ///   - refusesReplicas: a replica is a mistake. Otherwise requests wait for the master until their deadlines: behind an
    ///     address that is moved from one server to another, a replica is what was the master, or is going to be.
    func client(locator: (any RedisLocator)?, refusesReplicas: Bool = false) -> RedisClientConfiguration {
        let endpoint: RedisEndpoint =
            switch self.address {
            case .tcp(let host, let port): .tcp(host: host, port: port)
            case .unixSocket(let path): .unixSocket(path: path)
            // The locator tells others, before this one is ever used.
            case .sentinels(let sentinels, _): .tcp(host: sentinels[0].host, port: sentinels[0].port)
            }
        return RedisClientConfiguration(
            endpoint: endpoint,
            locator: locator,
            tls: self.clientTLS,
            username: self.username,
            password: self.password,
            database: self.database,
            clientName: "dlock",
            connectTimeout: self.connectTimeout,
            silenceTimeout: self.silenceTimeout,
            // As on a Redlock. Much less, and on a busy machine the caller's own deadline comes first, which knows no reason.
            waitingMargin: .milliseconds(250),
            checkGreeting: { Self.objection(to: $0) ?? (refusesReplicas ? Self.roleObjection(to: $0) : nil) },
            checkRole: { Self.roleObjection(to: $0) }
        )
    }

    /// `nil`: there are no Sentinels.
    var sentinelConfiguration: SentinelConfiguration? {
        guard case .sentinels(let sentinels, let master) = self.address else { return nil }
        return SentinelConfiguration(
            master: master,
            sentinels: sentinels.map { .tcp(host: $0.host, port: $0.port) },
            tls: self.clientTLS,
            username: self.sentinelUsername,
            password: self.sentinelPassword,
            connectTimeout: self.connectTimeout,
            maximumEpoch: FencingToken.maximumEpoch
        )
    }

    /// A waiter whose connection is dead has to find that out well before a third of its lease has passed.
    var silenceTimeout: Duration { min(self.requestTimeout, .seconds(3)) }

    var clientTLS: RedisTLS? {
        self.tls.map {
            RedisTLS(
                serverName: $0.serverName,
                certificateAuthorityFile: $0.certificateAuthorityFile,
                certificateChainFile: $0.certificateChainFile,
                privateKeyFile: $0.privateKeyFile
            )
        }
    }

    /// Why a server must not be used.
    private static func objection(to greeting: RedisGreeting) -> String? {
        switch greeting.mode {
        case "cluster": return "this is a node of a Redis Cluster, which is not supported"
        case "sentinel": return "this is a Sentinel, not a server that holds data"
        default: break
        }
        if greeting.server == "redis", let major = greeting.version.split(separator: ".").first.flatMap({ Int($0) }),
            major < 7
        {
            return "this is Redis \(greeting.version); 7.0 or newer is needed"
        }
        return nil
    }

    /// Why a server must not be used as long as it is what it is.
    private static func roleObjection(to greeting: RedisGreeting) -> String? {
        greeting.role == "replica" || greeting.role == "slave" ? "this is a replica; locks need the master" : nil
    }
}
