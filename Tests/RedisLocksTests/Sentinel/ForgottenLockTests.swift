import DistributedLocks
import TestKit
import Testing

/// S15 under Sentinel: the master, or the one that takes its place, does not know what is held.
@Suite(.enabled(if: RedisServer.isRequired), .serialized, .timeLimit(.minutes(5)))
struct ForgottenLockTests {
    /// A third of it, when its renewal would be due, is far away.
    private static let longLease: Duration = .seconds(120)

    @Test func `who holds a lock that a restarted master has forgotten is told with the reconnect`() async throws {
        // Sentinels that hold nothing for dead, so that the master stays the master.
        try await SentinelSetup.withSetup(SentinelSetup.Options(downAfter: .seconds(60))) { setup in
            try await withLocks(setup.url) { locks async throws in
                let holders = (0..<20).map { Holder(locks, "a\($0)", lease: Self.longLease) }
                for holder in holders { await holder.isHeld() }
                let master = try setup.agreedMaster()
                master.kill()
                try await onThread { try master.startServer() }
                let reconnected = try await token(locks, "b")
                let since = ContinuousClock.now
                for (number, holder) in holders.enumerated() {
                    let loss = try await holder.loss()
                    #expect(loss.lossReason == .notOwner)
                    #expect(try await token(locks, "a\(number)") > #require(loss.token))
                }
                #expect(ContinuousClock.now - since < .seconds(4))
                #expect(reconnected.epoch == 0)
            }
        }
    }

    @Test func `who holds a lock that the promoted replica has never seen is told with the reconnect`() async throws {
        try await SentinelSetup.withSetup { setup in
            try await withLocks(setup.url) { locks async throws in
                let loser = Holder(locks, "lost", lease: Self.longLease)
                await loser.isHeld()
                let master = try setup.agreedMaster()
                try await eventually("the replicas know it") {
                    try setup.servers.allSatisfy { try $0.command("EXISTS", "dlock:lost") == .integer(1) }
                }
                // As if the grant had not reached them.
                for server in setup.servers where server !== master {
                    try server.command("CONFIG", "SET", "replica-read-only", "no")
                    try server.command("DEL", "dlock:lost")
                }
                try await setup.failOver()
                try await eventually(within: .seconds(60), "it is served by the new master") {
                    try await token(locks, "b").epoch >= 1
                }
                let since = ContinuousClock.now
                let loss = try await loser.loss()
                #expect(loss.lossReason == .notOwner)
                #expect(ContinuousClock.now - since < .seconds(4))
                #expect(try await token(locks, "lost") > #require(loss.token))
            }
        }
    }

    @Test func `who holds a lock that was flushed is told within a third of the lease`() async throws {
        try await SentinelSetup.withSetup(SentinelSetup.Options(downAfter: .seconds(60))) { setup in
            try await withLocks(setup.url) { locks async throws in
                let holder = Holder(locks, "a", lease: .seconds(15))
                await holder.isHeld()
                try setup.agreedMaster().command("FLUSHALL")
                let flushed = ContinuousClock.now
                let loss = try await holder.loss()
                #expect(loss.lossReason == .notOwner)
                // A third of the lease, and an exchange on a busy machine.
                #expect(ContinuousClock.now - flushed < .seconds(9))
                #expect(try await token(locks) > #require(loss.token))
            }
        }
    }
}
