import DistributedLocks
import LockURLs
import TestKit
import Testing

@testable import RedisLocks

/// A thousand that wait for one lock of a Redlock, in two processes.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(3)))
struct ManyWaitersTests {
    private static let perProcess = 500

    /// Calls of scripts on all instances.
    private static func calls(_ servers: RedlockServers) throws -> Int {
        try servers.servers.reduce(0) { sum, server in
            let calls = try server.commandCalls()
            return sum + (calls["evalsha"] ?? 0) + (calls["eval"] ?? 0)
        }
    }

    @Test func `a thousand waiters ask less than twice a second each, and the living are served when the others die`()
        async throws
    {
        try await withRedlock(5) { servers, url in
            try await withRedlockClients(url, 1) { clients in
                let handle = try await clients[0].acquire("a", lease: .seconds(60))
                let lease = Duration.seconds(10)
                let living = try AgentProcess.waiters(Self.perProcess, url: url, name: "a", lease: lease)
                let dying = try AgentProcess.waiters(Self.perProcess, url: url, name: "a", lease: lease)
                defer {
                    living.end()
                    dying.end()
                }
                try await eventually(within: .seconds(60), "all wait") {
                    try await clients[0].status(of: "a").waiterCount == 2 * Self.perProcess
                }
                let before = try Self.calls(servers)
                let start = ContinuousClock.now
                try await eventually("they have been watched for a while") { .now >= start + .seconds(6) }
                let asked = try Self.calls(servers) - before
                let seconds = (ContinuousClock.now - start) / .seconds(1)
                let rate = Double(asked) / seconds / Double(2 * Self.perProcess)
                #expect(rate < 2, "\(rate) requests a second and waiter")
                dying.end()
                let released = ContinuousClock.now
                try await handle.release()
                try await eventually(within: .seconds(90), "the living are served") {
                    living.count(of: "served") == Self.perProcess
                }
                let took = (ContinuousClock.now - released) / .seconds(1)
                print("a thousand waiters: \(rate) requests a second each; the living served within \(took) s")
                #expect(living.count(of: "failed") == 0)
                // Nothing of the dead stands in the way of others.
                try await clients[0].withLock("a") { _ in }
            }
        }
    }
}
