/// Independent redis-servers of a test's own, to make a Redlock of.
package struct RedlockServers: Sendable {
    package let servers: [RedisServer]

    package subscript(index: Int) -> RedisServer { self.servers[index] }

    /// The URL of the Redlock, without options.
    package var url: String {
        "redlock://" + self.servers.map { "127.0.0.1:\($0.port)" }.joined(separator: ",")
    }

    /// - Parameter options: of each server.
    package static func withServers<Success>(
        _ count: Int = 5,
        options: RedisServer.Options = RedisServer.Options(),
        isolation: isolated (any Actor)? = #isolation,
        _ body: (RedlockServers) async throws -> Success
    ) async throws -> Success {
        var servers: [RedisServer] = []
        defer { for server in servers { server.remove() } }
        for _ in 0..<count { servers.append(try await RedisServer.started(options)) }
        return try await body(RedlockServers(servers: servers))
    }

    /// Five for all tests that do not disturb them; each uses a prefix of its own. They end with the test process.
    package static func shared() async throws -> RedlockServers { try await Self.theShared.value }

    private static let theShared = Task {
        var servers: [RedisServer] = []
        for _ in 0..<5 { servers.append(try await RedisServer.started(RedisServer.Options())) }
        return RedlockServers(servers: servers)
    }
}
