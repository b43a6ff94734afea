import DistributedLocks
import Foundation
import LockURLs
import TestKit
import Testing

/// What becomes of those who hold and wait when the connection is lost, or leads nowhere.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(2)))
struct ReconnectTests {
    @Test func `who holds a lock that a restarted server has forgotten is told with the reconnect`() async throws {
        try await RedisServer.withServer { server async throws in
            try await withLocks(server.url) { locks async throws in
                let holders = (0..<50).map { Holder(locks, "a\($0)", lease: .seconds(30)) }
                for holder in holders { await holder.isHeld() }
                try await server.restart()
                let restarted = ContinuousClock.now
                for holder in holders { #expect(try await holder.loss().lossReason == .notOwner) }
                // The next attempt to connect may be a second away. Their renewals would come after ten.
                #expect(ContinuousClock.now - restarted < .seconds(4))
            }
        }
    }

    @Test func `who holds a lock that the server has kept goes on holding`() async throws {
        try await RedisServer.withServer(RedisServer.Options(isPersistent: true)) { server async throws in
            try await withLocks(server.url) { locks async throws in
                let holder = Holder(locks, "a", lease: .seconds(30))
                await holder.isHeld()
                try await server.restart()
                _ = try await token(locks, "b")
                holder.letGo()
                _ = try await holder.end()
            }
        }
    }

    @Test(arguments: [2, 5])
    func `a short lease outlives a connection that leads nowhere while new ones work`(seconds: Int) async throws {
        try await RedisServer.withServer { server async throws in
            try await TCPProxy.withProxy(toPort: server.port) { proxy in
                try await withLocks(proxy.url) { locks async throws in
                    let holder = Holder(locks, "a", lease: .seconds(seconds))
                    await holder.isHeld()
                    try await withLocks(server.url) { others async throws in
                        let waiter = Holder(others, "a", lease: .seconds(seconds))
                        try await eventually("it waits") { try await others.status(of: "a").waiters.count == 1 }
                        let before = proxy.acceptedCount
                        proxy.blackHole()
                        try await eventually("it has connected anew") { proxy.acceptedCount > before }
                        // Past the lease that was known when the connection was lost.
                        let end = ContinuousClock.now + .seconds(seconds + 1)
                        try await eventually("time passes") { ContinuousClock.now >= end }
                        holder.letGo()
                        let token = try await holder.end()
                        await waiter.isHeld()
                        waiter.letGo()
                        #expect(try await waiter.end() > token)
                    }
                }
            }
        }
    }

    @Test func `who waits in vain for a server that is gone, or changes its password, hears why`() async throws {
        for changesPassword in [false, true] {
            try await RedisServer.withServer { server async throws in
                try await withLocks(server.url) { holders async throws in
                    let handle = try await holders.acquire("a", lease: .seconds(60))
                    try await withLocks(server.url) { locks async throws in
                        let waiting = Task { try await locks.acquire("a", waitingAtMost: .seconds(6)) }
                        let end = Mutexed<String?>(nil)
                        Task {
                            let result = await waiting.result; end.withLock { $0 = "\(result)" }
                        }
                        try await eventually("it waits") {
                            if let text = end.withLock({ $0 }) { throw TestKitError("it did not wait: \(text)") }
                            return locks.queuedCount == 1
                        }
                        if changesPassword {
                            try server.withConnection { connection in
                                for words in [
                                    ["CONFIG", "SET", "requirepass", "secret-of-its-own"],
                                    ["CLIENT", "KILL", "TYPE", "pubsub"],
                                ] { _ = try connection.command(words) }
                            }
                        } else {
                            server.kill()
                        }
                        let error = await #expect(throws: LockError.self) { try await waiting.value }
                        #expect(error?.code == (changesPassword ? .serverRefused : .unreachable), "\(error as Any)")
                        #expect(
                            error?.message.contains(changesPassword ? "password" : "refused") == true, "\(error as Any)"
                        )
                    }
                    try? await handle.release()
                }
            }
        }
    }

    @Test func `who waits in vain for a Redlock that has lost its quorum hears why`() async throws {
        try await withRedlock(3) { servers, url in
            try await withRedlockClients(url, 2) { clients in
                let handle = try await clients[0].acquire("a", lease: .seconds(60))
                let waiting = Task { try await clients[1].acquire("a", waitingAtMost: .seconds(4)) }
                try await eventually("it waits") { clients[1].queuedCount == 1 }
                for index in 0...1 { servers[index].kill() }
                let error = await #expect(throws: LockError.self) { try await waiting.value }
                #expect(error?.code == .noQuorum, "\(error as Any)")
                #expect(error?.nodes.count == 2)
                try? await handle.release()
            }
        }
    }
}
