import DistributedLocks
import LockURLs
import ServerKit
import Testing

/// Servers that take connections and say nothing, as one that hangs, or a firewall, does.
@Suite(.timeLimit(.minutes(2))) struct SilentServerTests {
    private static func error(_ url: String) async throws -> LockError {
        let error = await #expect(throws: LockError.self) {
            try await withLockClient(url) { locks in try await locks.statusOfAll() }
        }
        return try #require(error)
    }

    @Test(arguments: ["redis", "rediss", "redis+sentinel", "redlock", "zookeeper"])
    func `a server that takes the connection and does not answer is told as that`(scheme: String) async throws {
        let servers = try (0..<3).map { _ in try SilentServer() }
        let hosts = servers.map { "127.0.0.1:\($0.port)" }
        let url =
            switch scheme {
            case "redis+sentinel", "redlock": "\(scheme)://\(hosts.joined(separator: ","))"
            default: "\(scheme)://\(hosts[0])"
            }
        let error = try await Self.error(scheme == "redis+sentinel" ? url + "/mymaster" : url)
        #expect([.unreachable, .noQuorum].contains(error.code), "\(error)")
        let said = "\(error)"
        #expect(said.contains("accepted the connection but did not answer"), "\(said)")
        #expect(said.contains(hosts[0]), "\(said)")
        #expect(!said.contains("not connected yet") && !said.contains("not over"), "\(said)")
        withExtendedLifetime(servers) {}
    }
}
