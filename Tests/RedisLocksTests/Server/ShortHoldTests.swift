import DistributedLocks
import TestKit
import Testing

@testable import RedisLocks

/// A release after a short hold leaves without waiting for its answer.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(2)))
struct ShortHoldTests {
    /// A client whose server's answers come late.
    private func withLateAnswers(
        _ body: (LockClient, RedisServer, TCPProxy, ContinuousClock.Duration) async throws -> Void
    ) async throws {
        try await RedisServer.withServer { server async throws in
            try await TCPProxy.withProxy(toPort: server.port) { proxy in
                try await withLocks(proxy.url) { locks async throws in
                    // The first one makes the script known.
                    _ = try await token(locks)
                    let delay = Duration.milliseconds(300)
                    proxy.set(.delay(delay), .toClient)
                    try await body(locks, server, proxy, delay)
                }
            }
        }
    }

    @Test func `a short hold costs one round trip, and the next call comes after its release`() async throws {
        try await self.withLateAnswers { locks, server, _, delay in
            var tokens: [FencingToken] = []
            var fastest = Duration.seconds(60)
            for _ in 0..<4 {
                let start = ContinuousClock.now
                let token = try await locks.withLockIfAvailable("a") { $0.token }
                try tokens.append(#require(token))
                fastest = min(fastest, ContinuousClock.now - start)
            }
            // On a busy machine a body may take longer than a short one; that call then waits for two answers.
            #expect(fastest >= delay && fastest < delay * 2, "\(fastest)")
            #expect(tokens == tokens.sorted() && Set(tokens).count == 4)
            try await eventually("the last one is released, too") {
                try server.command("EXISTS", "dlock:a").integer == 0
            }
        }
    }

    @Test func `after a longer hold it is waited for, and tells that the server forgot the lock`() async throws {
        try await self.withLateAnswers { locks, server, _, _ in
            let error = await #expect(throws: LockError.self) {
                try await locks.withLock("a") { _ in
                    _ = try server.command("DEL", "dlock:a")
                    try await Task.sleep(for: RedisLockBackend.longestHoldWithoutAnswer * 2)
                }
            }
            #expect(error?.code == .lost && error?.lossReason == .notOwner)
        }
    }

    @Test func `the client does not end before its releases are answered`() async throws {
        try await RedisServer.withServer { server async throws in
            try await TCPProxy.withProxy(toPort: server.port) { proxy in
                for _ in 0..<5 {
                    try await withLocks(proxy.url) { locks async throws in
                        _ = try await token(locks)
                        proxy.set(.delay(.milliseconds(100)), .toServer)
                        _ = try await token(locks)
                    }
                    #expect(try server.command("EXISTS", "dlock:a").integer == 0)
                    proxy.passAll()
                }
            }
        }
    }

    @Test func `a release whose answer is lost is repeated`() async throws {
        try await self.withLateAnswers { locks, server, proxy, _ in
            // The release itself vanishes with the connection.
            _ = try await locks.withLock("a", lease: .seconds(60)) { _ in proxy.set(.cut(afterBytes: 10), .toServer) }
            try await eventually("it is released") { try server.command("EXISTS", "dlock:a").integer == 0 }
        }
    }
}
