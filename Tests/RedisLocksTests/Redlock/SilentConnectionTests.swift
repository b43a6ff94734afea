import DistributedLocks
import LockURLs
import TestKit
import Testing

/// What becomes of those who hold and wait when connections to instances lead nowhere.
@Suite(.serialized, .enabled(if: RedisServer.isRequired), .timeLimit(.minutes(2)))
struct SilentConnectionTests {
    /// Of a quorum, and of all.
    @Test(arguments: [2, 3])
    func `a short lease outlives connections that lead nowhere while new ones work`(count: Int) async throws {
        try await RedlockServers.withServers(3) { servers in
            let url = servers.url + "?set=one"
            try await LockBackends.initialize(url: LockURL(url))
            // The holder has links of its own.
            try await servers.withLinks { links, own in
                try await withLockClient(own + "?set=one") { holders in
                    try await servers.allServe(holders)
                    try await withLockClient(url) { others in
                        let holder = Holder(holders, "a", lease: .seconds(5))
                        await holder.isHeld()
                        let waiter = Holder(others, "a", lease: .seconds(5))
                        try await eventually("it waits") { others.queuedCount == 1 }
                        let before = links.map(\.acceptedCount)
                        for link in links.prefix(count) { link.blackHole() }
                        try await eventually("it has connected anew") {
                            links.indices.prefix(count).allSatisfy { links[$0].acceptedCount > before[$0] }
                        }
                        // Past the lease that was known when the connections were lost.
                        let end = ContinuousClock.now + .seconds(6)
                        try await eventually("time passes") { ContinuousClock.now >= end }
                        #expect(others.queuedCount == 1)
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
}
