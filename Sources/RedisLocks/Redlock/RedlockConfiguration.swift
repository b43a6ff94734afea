import DistributedLocks
import LockKernel

/// Where the instances of a Redlock are, and how they are used.
///
/// All clients of the same locks have to agree on the servers: each instance keeps what it was set up with, and a client with other
/// servers, or a longer lease or a larger clock skew, is refused (`policyMismatch`). `dlock init --from` changes them; a client with
/// the list from before a change goes on. Its text forms never show the password.
public struct RedlockConfiguration: Sendable {
    /// The independent masters: three or more, an odd number at best; two only as long as one of three is replaced. None of them
    /// may be a replica of another.
    public var servers: [RedisLockConfiguration.Address]
    /// How the servers prove who they are; `nil`: they are spoken to in clear.
    public var tls: RedisLockConfiguration.TLS?
    /// The user; `nil`: the servers' default user.
    public var username: String?
    /// The password; `nil`: none is needed.
    public var password: String?
    /// The number of the database. 0 by default.
    public var database = 0
    /// What stands before the lock's name in its key. `dlock:` by default; may be empty.
    public var keyPrefix = "dlock:"
    /// More waiters than this on one lock are refused. 10,000 by default.
    public var maximumWaitersPerLock = 10_000
    /// The longest lease that can be asked for, and so how long an instance that has restarted stays closed. 60 s by default.
    public var longestLease: Duration = .seconds(60)
    /// How far the clocks of the servers may differ. 10 s by default.
    public var maximumClockSkew: Duration = .seconds(10)
    /// Names the set of instances where clients know them by different addresses; `nil`: the addresses name it.
    ///
    /// Clients with the same name here must have the same servers: nothing else keeps two sets apart then.
    public var setName: String?
    /// How long one instance may take to answer; a quarter of the lease if that is less. 500 ms by default.
    public var instanceTimeout: Duration = .milliseconds(500)
    /// How long it may take until a quorum has answered, where the caller set no earlier limit. 5 s by default.
    public var requestTimeout: Duration = .seconds(5)
    /// How long it may take to connect to one instance. 5 s by default.
    public var connectTimeout: Duration = .seconds(5)

    /// Locks on the servers at these addresses, in clear and without a password unless told otherwise.
    public init(servers: [RedisLockConfiguration.Address]) {
        self.servers = servers
    }
}

extension RedlockConfiguration: CustomStringConvertible, CustomReflectable {
    /// The addresses and the database.
    public var description: String {
        let scheme = self.tls == nil ? "redlock" : "redlocks"
        let database = self.database == 0 ? "" : "/\(self.database)"
        return "\(scheme)://\(self.sortedServers.map(Self.text).joined(separator: ","))\(database)"
    }

    /// The addresses and the database.
    public var customMirror: Mirror { Mirror(self, children: ["servers": self.description]) }
}

extension RedlockConfiguration {
    /// In the order that all clients have.
    var sortedServers: [RedisLockConfiguration.Address] {
        self.servers.sorted { Self.text($0) < Self.text($1) }
    }

    static func text(_ address: RedisLockConfiguration.Address) -> String {
        switch address {
        case .tcp(let host, let port): "\(host.contains(":") ? "[\(host)]" : host.lowercased()):\(port)"
        case .unixSocket(let path): path
        case .sentinels(_, let master): "the Sentinels' master \(master)"
        }
    }

    /// One instance by itself.
    func server(_ address: RedisLockConfiguration.Address) -> RedisLockConfiguration {
        var server = RedisLockConfiguration(address: address)
        server.tls = self.tls
        server.username = self.username
        server.password = self.password
        server.database = self.database
        server.keyPrefix = self.keyPrefix
        server.maximumWaitersPerLock = self.maximumWaitersPerLock
        server.requestTimeout = self.requestTimeout
        server.connectTimeout = self.connectTimeout
        return server
    }

    /// Stands for the servers: the same for all clients that write their addresses alike.
    var listHash: String {
        Self.hash(self.sortedServers.map(Self.text).joined(separator: ",") + "/\(self.database)")
    }

    /// What a first installation promises to every client.
    var policy: RedlockPolicy {
        RedlockPolicy(
            set: self.setName.map(Self.hash) ?? self.listHash,
            count: self.servers.count,
            leaseInMilliseconds: self.longestLease.wholeMilliseconds,
            skewInMilliseconds: self.maximumClockSkew.wholeMilliseconds
        )
    }

    /// Which policy of the instances is this client's.
    var policies: RedlockPolicyStateMachine {
        RedlockPolicyStateMachine(
            own: self.policy, list: self.listHash, listCount: self.servers.count, isNamed: self.setName != nil)
    }

    private static func hash(_ text: String) -> String { String(StableHash.fnv1a(text.utf8), radix: 16) }

    /// How long an instance may take to answer a request for a lock with this lease.
    func timeout(lease: Duration) -> Duration { min(self.instanceTimeout, lease.divided(by: 4)) }

    /// So many instances are set up at least.
    static let leastInstallation = 3
    /// There may be so many for a while, when one of three has died and is to be replaced.
    private static let leastMembers = 2

    /// Says what makes no sense.
    ///
    /// - Parameter isInstallation: it is set up with these servers.
    /// - Throws: ``LockError`` `invalidConfiguration`.
    func check(isInstallation: Bool = false) throws(LockError) {
        guard self.servers.count >= (isInstallation ? Self.leastInstallation : Self.leastMembers) else {
            throw LockError(
                .invalidConfiguration,
                "a Redlock has \(Self.leastInstallation) instances or more (\(Self.leastMembers) only as long as one is replaced), "
                    + "not \(self.servers.count)")
        }
        for server in self.servers {
            guard case .sentinels = server else { continue }
            throw LockError(
                .invalidConfiguration,
                "\(Self.text(server)) cannot be an instance of a Redlock: those stand for themselves"
            )
        }
        var seen: Set<String> = []
        for server in self.servers where !seen.insert(Self.text(server)).inserted {
            throw LockError(.invalidConfiguration, "the instance \(Self.text(server)) is named twice")
        }
        guard self.servers.count <= 31 else {
            throw LockError(.invalidConfiguration, "a Redlock has at most 31 instances, not \(self.servers.count)")
        }
        guard (.milliseconds(100)...(.seconds(86_400))).contains(self.longestLease) else {
            throw LockError(
                .invalidConfiguration,
                "the longest lease is from 100 ms to a day, not \(self.longestLease.brief)"
            )
        }
        guard (.milliseconds(100)...(.seconds(3_600))).contains(self.maximumClockSkew) else {
            throw LockError(
                .invalidConfiguration,
                "the clock skew that is borne is from 100 ms to an hour, not \(self.maximumClockSkew.brief)"
            )
        }
        guard self.instanceTimeout > .zero else {
            throw LockError(.invalidConfiguration, "timeouts are above zero")
        }
        for server in self.servers { try self.server(server).check() }
    }
}

/// A hash that is the same in every process and version (https://datatracker.ietf.org/doc/draft-eastlake-fnv/).
enum StableHash {
    static func fnv1a(_ bytes: some Sequence<UInt8>) -> UInt64 {
        bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }
}
