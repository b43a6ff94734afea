import DistributedLocks
import Foundation
import LockURLs
import TestKit
import Testing

@testable import ZooKeeperLocks

/// The recipe, by the server's own figures.
@Suite(.enabled(if: ZooKeeperServer.isRequired), .timeLimit(.minutes(3)))
struct RecipeTests {
    private static func figure(_ server: ZooKeeperServer, _ name: String) throws -> Int {
        let text = try server.monitor()[name]
        return try #require(text.flatMap { Int($0) })
    }

    @Test func `n waiters hold n watches, and one release wakes one`() async throws {
        try await ZooKeeperServer.withServer { server async throws in
            let url = server.chroot(timeout: 10)
            try await withLockClient(url) { first in
                try await withLockClient(url) { second in
                    let holder = Holder(first, "a")
                    await holder.isHeld()
                    var waiters: [Holder] = []
                    for count in 1...20 {
                        waiters.append(Holder(second, "a"))
                        try await eventually("\(count) wait") {
                            try await first.status(of: "a").waiters.count == count
                        }
                    }
                    // One for each waiter, and the holder's on its own node.
                    try await eventually("the watches are set") { try Self.figure(server, "zk_watch_count") == 21 }
                    let before = try Self.figure(server, "zk_packets_sent")
                    let clock = ContinuousClock.now
                    holder.letGo()
                    _ = try await holder.end()
                    await waiters[0].isHeld()
                    let sent = try Self.figure(server, "zk_packets_sent") - before
                    // Beats of two sessions, the delete, its two events, a list, the look at the server's figures: far
                    // below what twenty woken waiters would ask.
                    let beats = Int((ContinuousClock.now - clock) / .milliseconds(500)) + 2
                    #expect(sent <= 12 + beats, "\(sent) packets")
                    for waiter in waiters {
                        waiter.letGo()
                        _ = try await waiter.end()
                    }
                    try await eventually("no watch is left") { try Self.figure(server, "zk_watch_count") == 0 }
                }
            }
        }
    }

    @Test func `a free lock costs three requests, and waiting costs none`() async throws {
        try await ZooKeeperServer.withServer { server async throws in
            let url = server.chroot(timeout: 40)
            try await withLockClient(url) { locks in
                _ = try await token(locks)
                let before = try Self.figure(server, "zk_packets_received")
                let start = ContinuousClock.now
                for _ in 0..<100 { _ = try await token(locks) }
                // Sessions last ten seconds at most here, so that a beat comes every 1.25 s.
                let others = Int((ContinuousClock.now - start) / .seconds(1)) + 3
                let cycles = try Self.figure(server, "zk_packets_received") - before
                // A holder that a busy machine kept for longer than 20 ms watches its own node, too.
                #expect(cycles <= 330 + others, "\(cycles) requests")
            }
        }
    }

    // Z8: however often it is asked for, no number is used up.
    @Test func `a lock that is held costs those who do not wait no transaction`() async throws {
        let server = try await ZooKeeperServer.shared()
        let url = server.chroot(timeout: 10)
        try await withLockClient(url) { first in
            let holder = Holder(first, "a")
            await holder.isHeld()
            for _ in 0..<3 {
                try await withLockClient(url) { second in
                    for _ in 0..<10 {
                        let held = try await second.withLockIfAvailable("a") { _ in true }
                        #expect(held == nil)
                    }
                }
            }
            let next = Holder(first, "a")
            try await eventually("one waits") { try await first.status(of: "a").waiters.count == 1 }
            let backend = try #require(try LockBackends.backend(url: url) as? ZooKeeperLockBackend)
            let nodes = try await backend.children(backend.configuration.chroot + "/dlock/a")
            #expect(nodes.map { String($0.suffix(10)) }.sorted() == ["0000000000", "0000000001"])
            for waiter in [holder, next] {
                waiter.letGo()
                _ = try await waiter.end()
            }
        }
    }

    // Z6
    @Test func `a holder whose node is deleted by an operator is told at once`() async throws {
        let server = try await ZooKeeperServer.shared()
        let url = server.chroot()
        try await withLockClient(url) { first in
            try await withLockClient(url) { operatorClient in
                let holder = Holder(first, "a")
                await holder.isHeld()
                let start = ContinuousClock.now
                let reply = try await operatorClient.breakLock("a", immediately: true)
                guard case .broken = reply else {
                    Issue.record("it was held")
                    return
                }
                let loss = try await holder.loss()
                #expect(loss.lossReason == .broken)
                #expect(ContinuousClock.now - start < .seconds(1))
                let lost = try #require(loss.token)
                #expect(try await token(operatorClient) > lost)
            }
        }
    }

    // Z5
    @Test func `when everything is deleted under waiters they queue again, and nothing is granted twice`() async throws
    {
        let server = try await ZooKeeperServer.shared()
        let url = server.chroot()
        try await withLockClient(url) { first in
            try await withLockClient(url) { second in
                let holder = Holder(first, "a")
                await holder.isHeld()
                let waiters = (0..<5).map { _ in Holder(second, "a") }
                try await eventually("five wait") { try await first.status(of: "a").waiters.count == 5 }
                // The holder first: it is told; each of the others in turn becomes the holder of what is left.
                try await eventually("all nodes were deleted once") {
                    _ = try await first.breakLock("a", immediately: true)
                    return try await first.status(of: "a").waiters.count < 4
                }
                for waiter in waiters { waiter.letGo() }
                var tokens: [FencingToken] = []
                for waiter in waiters { if let token = try? await waiter.end() { tokens.append(token) } }
                #expect(Set(tokens).count == tokens.count)
                _ = try? await holder.end()
                try await eventually("nothing is left") { try await first.statusOfAll().isEmpty }
            }
        }
    }

    @Test func `a lease that is shorter than the session's is refused`() async throws {
        let server = try await ZooKeeperServer.shared()
        try await withLockClient(server.chroot(timeout: 4)) { locks in
            _ = try await token(locks)
            let error = await #expect(throws: LockError.self) {
                try await locks.withLock("a", lease: .seconds(3)) { _ in }
            }
            #expect(error?.code == .invalidConfiguration)
        }
    }

    @Test func `the domain of tokens names the ensemble's history`() async throws {
        let server = try await ZooKeeperServer.shared()
        let url = server.chroot()
        func domain() async throws -> TokenDomain {
            try await withLockClient(url) { locks in try await locks.withLock("a") { $0.tokenDomain } }
        }
        let first = try await domain()
        #expect(first.rawValue.hasPrefix("zxid:"))
        #expect(try await domain() == first)
        // Another history.
        try await ZooKeeperServer.withServer { other async throws in
            try await withLockClient(other.chroot()) { locks async throws in
                #expect(try await locks.withLock("a") { $0.tokenDomain } != first)
            }
        }
    }
}
