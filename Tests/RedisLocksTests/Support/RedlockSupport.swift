import DistributedLocks
import Foundation
import LockURLs
import TestKit

/// Five instances (or another number), opened, and their URL.
func withRedlock(
    _ count: Int = 5,
    query: String = "",
    options: RedisServer.Options = RedisServer.Options(),
    _ body: (RedlockServers, _ url: String) async throws -> Void
) async throws {
    try await RedlockServers.withServers(count, options: options) { servers in
        let url = servers.url + query
        try await LockBackends.initialize(url: LockURL(url))
        try await body(servers, url)
    }
}

/// The same, where clients reach each instance through a proxy.
func withProxiedRedlock(
    _ count: Int,
    _ body: (RedlockServers, [TCPProxy], _ url: String) async throws -> Void
) async throws {
    try await RedlockServers.withServers(count) { servers in
        try await servers.withLinks { links, url in
            try await LockBackends.initialize(url: LockURL(url))
            try await body(servers, links, url)
        }
    }
}

/// Clients that share no connection, for as long as the body runs.
func withRedlockClients(
    _ url: String,
    _ count: Int,
    _ body: ([LockClient]) async throws -> Void
) async throws {
    let clients = try (0..<count).map { _ in LockClient(backend: try LockBackends.backend(url: url)) }
    try await withThrowingTaskGroup(of: Void.self) { group in
        for client in clients { group.addTask { try await client.run() } }
        let result: Result<Void, any Error>
        do {
            result = .success(try await body(clients))
        } catch {
            result = .failure(error)
        }
        group.cancelAll()
        while let end = await group.nextResult() { _ = end }
        try result.get()
    }
}

extension RedlockServers {
    /// Proxies to all of them, and the URL by which a client comes through these.
    func withLinks(
        _ links: [TCPProxy] = [], _ body: ([TCPProxy], _ url: String) async throws -> Void
    ) async throws {
        guard links.count < self.servers.count else {
            return try await body(links, "redlock://" + links.map { "127.0.0.1:\($0.port)" }.joined(separator: ","))
        }
        try await TCPProxy.withProxy(toPort: self[links.count].port) {
            try await self.withLinks(links + [$0], body)
        }
    }

    /// Waits until all instances take part in what a client is granted: on a busy machine a quorum may be open before the others.
    func allServe(_ locks: LockClient, _ indices: [Int]? = nil, lease: Duration? = nil) async throws {
        let servers = (indices ?? Array(self.servers.indices)).map { self[$0] }
        try await eventually("all instances take part") {
            let granted = try await token(locks, "warm-up", lease: lease)
            return try servers.allSatisfy {
                try $0.command("GET", "dlock.fence:{dlock:warm-up}").string.hasPrefix("\(granted)")
            }
        }
    }

    /// The keys of locks, and of those who wait for them, on one instance.
    func lockKeys(_ index: Int) throws -> [String] {
        try (self[index].command("KEYS", "dlock*").list ?? []).map(\.string)
            .filter { $0 != "dlock.node" && !$0.hasPrefix("dlock.fence:") }
    }

    /// What stands in them, for a test that has failed.
    func describeLockKeys() throws -> [String] {
        try self.servers.indices.flatMap { index in
            try self.lockKeys(index).map { key in
                let type = try self[index].command("TYPE", key).string
                let value =
                    switch type {
                    case "string": try self[index].command("GET", key)
                    case "list": try self[index].command("LRANGE", key, "0", "-1")
                    case _: try self[index].command("HGETALL", key)
                    }
                return "\(index): \(key) = \(value), \(try self[index].command("PTTL", key))"
            }
        }
    }

    func allLockKeys() throws -> [String] { try self.servers.indices.flatMap { try self.lockKeys($0) } }
}

/// What every grant of one name had for a token, in the order in which the grants were seen.
actor TokenLog {
    private(set) var tokens: [FencingToken] = []
    private(set) var inside = 0
    private(set) var overlaps = 0

    func enter(_ token: FencingToken) {
        self.tokens.append(token)
        self.inside += 1
        if self.inside > 1 { self.overlaps += 1 }
    }

    func leave() { self.inside -= 1 }

    var rise: Bool { zip(self.tokens, self.tokens.dropFirst()).allSatisfy { $0 < $1 } }
}
