import DistributedLocks
import LockURLs
import ServerKit
import Testing

/// Servers that take connections and say nothing, as one that hangs, or a firewall, does.
@Suite(.timeLimit(.minutes(2))) struct SilentServerTests {
    private static func error(_ url: String, isStatus: Bool) async throws -> LockError {
        let error = await #expect(throws: LockError.self) {
            try await withLockClient(url) { locks in
                if isStatus { return _ = try await locks.statusOfAll() }
                try await locks.withLock("a", waitingAtMost: .seconds(2)) { _ in }
            }
        }
        return try #require(error)
    }

    @Test(arguments: ["redis", "rediss", "redis+sentinel", "redlock", "zookeeper"], [true, false])
    func `a server that takes the connection and does not answer is told as that`(scheme: String, isStatus: Bool)
        async throws
    {
        let servers = try (0..<3).map { _ in try SilentServer() }
        let hosts = servers.map { "127.0.0.1:\($0.port)" }
        let url =
            switch scheme {
            case "redis+sentinel", "redlock": "\(scheme)://\(hosts.joined(separator: ","))"
            default: "\(scheme)://\(hosts[0])"
            }
        let error = try await Self.error(scheme == "redis+sentinel" ? url + "/mymaster" : url, isStatus: isStatus)
        #expect([.unreachable, .noQuorum].contains(error.code), "\(error)")
        let said = "\(error)"
        #expect(said.contains("accepted the connection but did not answer"), "\(said)")
        #expect(said.contains(hosts[0]), "\(said)")
        #expect(!said.contains("not connected yet") && !said.contains("not over"), "\(said)")
        withExtendedLifetime(servers) {}
    }
}
