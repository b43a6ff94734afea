import DistributedLocks
import LockURLs
import TestKit
import Testing

/// Servers that take connections and say nothing, as one that hangs, or a firewall, does.
@Suite(.timeLimit(.minutes(2))) struct SilentServerTests {
    private struct NoSink: LockEventSink {
        func receive(_ event: LockEvent) {}
    }

    private static func error(_ url: String, isStatus: Bool) async throws -> LockError {
        let error = await #expect(throws: LockError.self) {
            if isStatus {
                try await withLockClient(url) { locks in _ = try await locks.statusOfAll() }
            } else {
                try await Self.request(url)
            }
        }
        return try #require(error)
    }

    /// Asks the backend itself. A client has a clock of its own beside it, and where that one is first, as on a busy machine, it can
    /// only say that there was no answer.
    private static func request(_ url: String) async throws {
        let backend = try LockBackends.backend(url: url)
        backend.start(delivering: NoSink())
        let running = Task { try await backend.run() }
        defer { running.cancel() }
        var generator = SystemRandomNumberGenerator()
        let claim = LockClaim(
            attempt: AttemptID(rawValue: 1),
            name: try LockName("a"),
            owner: LockOwner(
                secret: LockOwner.Secret(using: &generator), metadata: OwnerMetadata(host: "h", pid: 1)),
            lease: .seconds(30)
        )
        _ = try await backend.request(AcquireRequest(claim: claim, joinsQueue: true, deadline: .now + .seconds(2)))
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
