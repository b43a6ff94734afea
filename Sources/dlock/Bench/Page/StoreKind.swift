import DistributedLocks

/// A kind of store, as far as what it promises differs. The long form is docs/choosing-a-backend.md.
enum StoreKind: String, Equatable, Sendable {
    case embedded
    case redis
    case sentinel
    case redlock
    case zookeeper
    /// A scheme that this page knows nothing of.
    case other

    init(scheme: String) {
        self =
            switch scheme {
            case "embedded": .embedded
            case "redis", "rediss", "redis+unix": .redis
            case "redis+sentinel", "rediss+sentinel": .sentinel
            case "redlock", "redlocks": .redlock
            case "zookeeper", "zookeepers": .zookeeper
            default: .other
            }
    }

    /// What it is called; `nil` for what is not known here.
    var name: String? {
        switch self {
        case .embedded: "embedded"
        case .redis: "Redis"
        case .sentinel: "Redis under Sentinel"
        case .redlock: "Redlock"
        case .zookeeper: "ZooKeeper"
        case .other: nil
        }
    }

    /// How many servers of which kind; `nil` where that is plain.
    func detail(servers: Int) -> String? {
        switch self {
        case .embedded, .redis, .other: nil
        case .sentinel: "\(servers) Sentinel\(servers == 1 ? "" : "s")"
        case .redlock: "\(servers) instances"
        case .zookeeper: "\(servers) server\(servers == 1 ? "" : "s")"
        }
    }
}

/// What a store promises, in words.
struct Guarantees: Equatable, Sendable {
    /// When two hold one lock at once, by their own belief.
    let twoHold: String
    let serverDies: String
    let holderDies: String
    let order: String
    /// What a store keeps when it dies, as far as it is known without asking it.
    let durability: String
    let toRun: String

    init(of store: StoreKind, servers: Int) {
        switch store {
        case .embedded:
            self.twoHold = "never, while the host's clock runs true"
            self.serverDies = "the host is the server"
            self.holderDies = "the next one holds at once"
            self.order = "first in, first out"
            self.durability = "a file; a power cut may take the last grants, and tokens still rise"
            self.toRun = "nothing"
        case .redis:
            self.twoHold =
                "only if clocks drift by more than 1 % in a lease, or the server forgets (a restart without its data, an "
                + "eviction): then for up to a third of the lease"
            self.serverDies = "no locks until it is back"
            self.holderDies = "after the lease"
            self.order = "first in, first out"
            self.durability = "as the server's settings say"
            self.toRun = "one redis-server"
        case .sentinel:
            self.twoHold =
                "only if clocks drift by more than 1 % in a lease, a failover loses a grant, or the master forgets: then for up "
                + "to a third of the lease"
            self.serverDies = "locks go on after some seconds"
            self.holderDies = "after the lease"
            self.order = "first in, first out"
            self.durability = "as the servers' settings say; replicas follow a moment later"
            self.toRun = "a master, its replicas, \(servers) Sentinels"
        case .redlock:
            self.twoHold =
                "only if clocks drift by more than 1 % in a lease, or an instance forgets without a restart while a quorum just "
                + "large enough holds"
            self.serverDies = servers >= 3 ? "locks go on while a quorum is left" : "no locks until it is back"
            self.holderDies = "after the lease"
            self.order = "about in turn, no promise"
            self.durability = "an instance that restarts stays closed for the longest lease"
            self.toRun = "\(servers) independent redis-servers"
        case .zookeeper:
            self.twoHold = "only if clocks of client and leader drift by more than 1 % in a session's timeout"
            self.serverDies = servers >= 3 ? "locks go on while a quorum is left" : "no locks until it is back"
            self.holderDies = "after the session's timeout"
            self.order = "first in, first out"
            self.durability = "each grant is on the disks of a quorum first, unless the servers run with forceSync=no"
            self.toRun = servers == 1 ? "one JVM, a disk" : "\(servers) JVMs, their disks"
        case .other:
            self.twoHold = "unknown"
            self.serverDies = "unknown"
            self.holderDies = "unknown"
            self.order = "unknown"
            self.durability = "unknown"
            self.toRun = "unknown"
        }
    }
}

/// One of the backends that were measured.
struct BenchSubject: Equatable, Sendable {
    /// What the page calls it: `Redlock`.
    let name: String
    /// What stands beside that where there is room: `3 instances`.
    let detail: String?
    /// Without its password.
    let url: String
    let store: StoreKind
    /// How many hosts the URL names.
    let servers: Int
    /// Whether all servers are on this host.
    let isOnThisHost: Bool
    /// What the servers' settings mean for locks, where they were asked and had something to say.
    var warnings: [String] = []

    var guarantees: Guarantees { Guarantees(of: self.store, servers: self.servers) }

    /// Whether locks go on when any one server dies.
    var outlivesAServer: Bool {
        switch self.store {
        case .redlock, .zookeeper: self.servers >= 3
        case .sentinel: true
        case .embedded, .redis, .other: false
        }
    }
}

extension BenchSubject {
    /// Subjects with names that differ.
    static func named(_ urls: [LockURL]) -> [BenchSubject] {
        let kinds = urls.map { StoreKind(scheme: $0.scheme) }
        // Two of one kind are told apart by how many servers they have, or else by where they are.
        let short = zip(urls, kinds).map { url, kind in kind.name ?? url.scheme }
        let long = zip(urls, kinds).map { url, kind in
            kind.detail(servers: url.serverCount).map { "\(kind.name ?? url.scheme), \($0)" } ?? ""
        }
        func isUnique(_ name: String, _ names: [String]) -> Bool {
            !name.isEmpty && names.filter { $0 == name }.count == 1
        }
        var taken: [String: Int] = [:]
        return urls.indices.map { index in
            let (url, kind) = (urls[index], kinds[index])
            var name = short[index]
            var detail = kind.detail(servers: url.serverCount)
            if !isUnique(name, short) {
                if isUnique(long[index], long) {
                    (name, detail) = (long[index], nil)
                } else {
                    name = Self.cut("\(short[index]) \(Self.place(of: url))", to: 36)
                }
            }
            let count = taken[name, default: 0] + 1
            taken[name] = count
            return BenchSubject(
                name: count == 1 ? name : "\(name) #\(count)",
                detail: detail,
                url: url.description,
                store: kind,
                servers: url.serverCount,
                isOnThisHost: Self.isOnThisHost(url)
            )
        }
    }

    private static func place(of url: LockURL) -> String {
        if let host = url.hosts.first { return host.name + (host.port.map { ":\($0)" } ?? "") + url.path }
        return url.path.isEmpty ? "by default" : String(url.path.split(separator: "/").last ?? "")
    }

    private static func isOnThisHost(_ url: LockURL) -> Bool {
        url.hosts.allSatisfy { $0.name == "localhost" || $0.name == "::1" || $0.name.hasPrefix("127.") }
    }

    private static func cut(_ text: String, to count: Int) -> String {
        text.count <= count ? text : text.prefix(count / 2) + "…" + text.suffix(count - count / 2 - 1)
    }
}

extension LockURL {
    /// One where the URL names none.
    fileprivate var serverCount: Int { max(1, self.hosts.count) }
}
