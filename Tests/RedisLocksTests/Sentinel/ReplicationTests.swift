import DistributedLocks
import Foundation
import LockURLs
import TestKit
import Testing

@testable import RedisLocks

/// Grants that replicas have to confirm.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(3)))
struct ReplicationTests {
    // R10
    @Test func `a grant that no replica confirms is given back, and the acquire fails`() async throws {
        try await RedisServer.withServer { server in
            try await withLocks(server.url + "?replication-acks=1") { locks async throws in
                let error = await #expect(throws: LockError.self) {
                    try await locks.withLock("a", waitingAtMost: .seconds(10)) { _ in }
                }
                #expect(error?.code == .unreachable)
                #expect(error?.message.contains("0 of 1 replicas") == true, "\(error?.message ?? "")")
                #expect(try server.command("EXISTS", "dlock:a") == .integer(0))
                await #expect(throws: LockError.self) { try await locks.withLockIfAvailable("a") { _ in } }
                #expect(try server.command("EXISTS", "dlock:a") == .integer(0))
            }
        }
    }

    // R10
    @Test func `a grant by push that no replica confirms is given back, and the acquire fails`() async throws {
        try await RedisServer.withServer { server in
            try await withLocks(server.url) { first in
                try await withLocks(server.url + "?replication-acks=1") { second async throws in
                    let holder = Holder(first, "a")
                    await holder.isHeld()
                    let waiter = Holder(second, "a")
                    try await eventually("somebody waits") {
                        try server.command("EXISTS", "dlock.queue:{dlock:a}").integer == 1
                    }
                    waiter.letGo()
                    holder.letGo()
                    try await holder.end()
                    let error = await #expect(throws: LockError.self) { try await waiter.end() }
                    #expect(error?.code == .unreachable)
                    #expect(error?.message.contains("0 of 1 replicas") == true, "\(error?.message ?? "")")
                    try await eventually("the key is gone") { try server.command("EXISTS", "dlock:a") == .integer(0) }
                    _ = try await token(first)
                }
            }
        }
    }

    @Test func `replicas that are there confirm grants of both kinds, and fewer than wanted do not`() async throws {
        try await SentinelSetup.withSetup(SentinelSetup.Options(downAfter: .seconds(60))) { setup in
            let url = setup.url("?replication-acks=2")
            try await withLocks(url) { first in
                try await withLocks(url) { second async throws in
                    let holder = Holder(first, "a")
                    await holder.isHeld()
                    let master = try setup.agreedMaster()
                    let replica = try #require(setup.servers.first { $0 !== master })
                    #expect(try replica.command("EXISTS", "dlock:a") == .integer(1))
                    let waiter = Holder(second, "a")
                    try await eventually("somebody waits") {
                        try master.command("EXISTS", "dlock.queue:{dlock:a}").integer == 1
                    }
                    holder.letGo()
                    let before = try await holder.end()
                    await waiter.isHeld()
                    // Each grant was on every replica when it was told.
                    let told = try replica.command("GET", "dlock:a").string
                    #expect(try told == master.command("GET", "dlock:a").string)
                    waiter.letGo()
                    #expect(try await waiter.end() > before)

                    try replica.stop()
                    defer { replica.resume() }
                    let error = await #expect(throws: LockError.self) {
                        try await first.withLock("b", waitingAtMost: .seconds(10)) { _ in }
                    }
                    #expect(error?.message.contains("1 of 2 replicas") == true, "\(error?.message ?? "")")
                    #expect(try master.command("EXISTS", "dlock:b") == .integer(0))
                }
            }
        }
    }

    @Test func `renewals are not kept waiting by those who wait for replicas`() async throws {
        try await SentinelSetup.withSetup(SentinelSetup.Options(downAfter: .seconds(60))) { setup in
            var configuration = try RedisLockConfiguration(url: LockURL(setup.url("?replication-acks=2")))
            // The longest that is waited on a connection. A lease that is not much longer is lost by one renewal behind that.
            configuration.replicationTimeout = .milliseconds(1_500)
            try await withLockClient(RedisLockBackend(configuration: configuration)) { locks async throws in
                let holder = Holder(locks, "a", lease: .milliseconds(1_800))
                await holder.isHeld()
                let master = try setup.agreedMaster()
                let replica = try #require(setup.servers.first { $0 !== master })
                try replica.stop()
                defer { replica.resume() }
                // There is always somebody who waits on the connection, for up to 1.5 s each.
                let end = ContinuousClock.now + .seconds(8)
                var failures = 0
                while ContinuousClock.now < end {
                    do {
                        _ = try await locks.withLock("b", lease: .seconds(30), waitingAtMost: .seconds(10)) { _ in }
                    } catch {
                        failures += 1
                    }
                }
                #expect(failures >= 2)
                holder.letGo()
                _ = try await holder.end()
            }
        }
    }
}
