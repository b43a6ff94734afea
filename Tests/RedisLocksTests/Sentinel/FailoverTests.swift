import DistributedLocks
import Fencing
import Foundation
import LockKernel
import LockURLs
import TestKit
import Testing

@testable import RedisLocks

/// What happens when the master changes.
@Suite(.enabled(if: RedisServer.isRequired), .serialized)
struct FailoverTests {
    /// How many failovers each of the two kinds is put through under load. scripts/failovers.sh asks for more.
    private static let rounds =
        ProcessInfo.processInfo.environment["DLOCK_FAILOVERS"].flatMap { Int($0) }.map { $0 / 2 } ?? 1

    private static func bootTime() -> Int64 {
        var now = timespec()
        clock_gettime(CLOCK_BOOTTIME, &now)
        return Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)
    }

    private static func text(_ duration: Duration) -> String { "\(Int(duration / .milliseconds(1))) ms" }

    // R9
    @Test(.timeLimit(.minutes(60)), arguments: [true, false])
    func `under load from several processes every token is given once, and tokens rise, through failovers`(
        isKilled: Bool
    ) async throws {
        try await SentinelSetup.withSetup { setup in
            let agents = try (0..<3).map { _ in
                try AgentProcess.load(url: setup.url, names: 3, lease: .seconds(2))
            }
            defer { for agent in agents { agent.end() } }
            var failovers: [(at: Int64, epoch: Int64)] = []
            func grants() -> Int { agents.reduce(0) { $0 + $1.lines.count } }
            for _ in 0..<Self.rounds {
                try await setup.settled()
                let before = grants()
                try await eventually("locks are taken") { grants() > before + 100 }
                let epoch = try setup.epoch()
                failovers.append((Self.bootTime(), Int64(epoch)))
                if isKilled {
                    let dead = try setup.killMaster()
                    try await setup.revive(dead)
                } else {
                    try await setup.failOver()
                }
                let epochAfter = Int64(epoch)
                try await eventually(within: .seconds(60), "locks are taken on the new master") {
                    LoadRecord(agents, last: 50).grants.contains { $0.token.epoch > epochAfter }
                }
            }
            for agent in agents { agent.letGo() }
            try await eventually(within: .seconds(60), "the processes end by themselves") {
                agents.allSatisfy(\.isOver)
            }

            let record = LoadRecord(agents)
            #expect(record.duplicates == [])
            #expect(record.fallen(withinEpoch: true).map { "\($0)" } == [])
            let fallen = record.fallen(withinEpoch: false)
            // A master that is dead grants nothing. One that is replaced while it lives grants until it or its clients hear
            // of that; what it grants then has a lower epoch, and is refused at a resource.
            if isKilled { #expect(fallen.map { "\($0)" } == []) }
            #expect(fallen.allSatisfy { $0.later.token.epoch < $0.earlier.token.epoch })

            var pauses = failovers.compactMap { failover in
                record.grants.first { $0.token.epoch > failover.epoch }
                    .map { Duration.nanoseconds($0.grantedAt - failover.at) }
            }
            pauses.sort()
            #expect(pauses.count == Self.rounds)
            print(
                """
                failovers \(isKilled ? "by kill -9" : "by command"): \(Self.rounds); tokens: \(record.grants.count); \
                lost: \(record.lostCount); failed calls: \(record.errors); held by two: \(record.overlaps); \
                granted below an earlier one: \(fallen.count); writes that a fence refuses: \(record.refusedWrites); \
                until the next grant: p50 \(pauses.isEmpty ? "-" : Self.text(pauses[pauses.count / 2])), \
                max \(pauses.last.map(Self.text) ?? "-")
                """
            )
        }
    }

    // R9
    @Test(.timeLimit(.minutes(5)))
    func `a holder keeps a lock that the new master knows, and is told when it does not`() async throws {
        try await SentinelSetup.withSetup { setup in
            try await withLocks(setup.url) { locks async throws in
                let keeper = Holder(locks, "kept", lease: .seconds(20))
                await keeper.isHeld()
                try await eventually("the replicas know it") {
                    try setup.servers.allSatisfy { try $0.command("EXISTS", "dlock:kept") == .integer(1) }
                }
                let loser = Holder(locks, "lost", lease: .seconds(20))
                await loser.isHeld()
                // As if the grant had not reached the replicas.
                for server in setup.servers where server !== (try setup.agreedMaster()) {
                    try server.command("CONFIG", "SET", "replica-read-only", "no")
                    try server.command("DEL", "dlock:lost")
                }
                let dead = try setup.killMaster()
                let loss = try await loser.loss()
                #expect(loss.lossReason == .notOwner)
                keeper.letGo()
                _ = try await keeper.end()
                let next = try await locks.withLock("lost", waitingAtMost: .seconds(20)) { $0.token }
                // A busy machine may look like another master that died.
                #expect(next.epoch >= 1)
                #expect(try next > #require(loss.token))
                try await setup.revive(dead)
            }
        }
    }

    @Test(.timeLimit(.minutes(5)))
    func `a waiter waits on through a failover`() async throws {
        try await SentinelSetup.withSetup { setup in
            try await withLocks(setup.url) { first in
                try await withLocks(setup.url) { second async throws in
                    let holder = Holder(first, "a", lease: .seconds(20))
                    await holder.isHeld()
                    let waiter = Holder(second, "a", lease: .seconds(20))
                    try await eventually("the replicas know both") {
                        try setup.servers.allSatisfy {
                            try $0.command("EXISTS", "dlock.queue:{dlock:a}") == .integer(1)
                        }
                    }
                    try await setup.failOver()
                    holder.letGo()
                    let before = try await holder.end()
                    await waiter.isHeld()
                    waiter.letGo()
                    let token = try await waiter.end()
                    #expect(token > before && token.epoch >= 1)
                }
            }
        }
    }

    @Test(.timeLimit(.minutes(5)))
    func `a server that has become a replica has done nothing, and the call goes to the master when there is one`()
        async throws
    {
        // Sentinels that hold nothing for dead, so that nobody interferes.
        try await SentinelSetup.withSetup(SentinelSetup.Options(downAfter: .seconds(60))) { setup in
            try await withLocks(setup.url) { locks async throws in
                let first = try await token(locks)
                let master = try setup.agreedMaster()
                for sentinel in setup.sentinels { try sentinel.stop() }
                defer { for sentinel in setup.sentinels { sentinel.resume() } }
                // Connections stay: only an answer tells.
                try master.command("REPLICAOF", "127.0.0.1", "1")
                let next = Task { try await token(locks) }
                try await eventually("it was refused, and the connection given up") {
                    try master.command("INFO", "errorstats").string.contains("errorstat_READONLY")
                }
                try master.command("REPLICAOF", "NO", "ONE")
                for sentinel in setup.sentinels { sentinel.resume() }
                #expect(try await next.value > first)
            }
        }
    }

    // R9
    @Test(.enabled(if: NetworkNamespaces.isPossible), .timeLimit(.minutes(5)))
    func `a client on a master that is cut off is outranked at the resource, whatever the clocks say`() async throws {
        try await NetworkNamespaces.withHosts(3) { hosts in
            try await SentinelSetup.withSetup(SentinelSetup.Options(hosts: hosts)) { setup in
                func agent(on host: Int, _ name: String) throws -> AgentProcess {
                    try AgentProcess(url: setup.url, name: name, lease: .seconds(30), prefix: hosts.prefix(host))
                }
                let old = try agent(on: 1, "a")
                defer { old.end() }
                try await eventually("it holds") { old.said("held") }
                let waiting = try agent(on: 1, "a")
                defer { waiting.end() }
                try await eventually("the next one waits there") {
                    try setup.servers[0].command("EXISTS", "dlock.queue:{dlock:a}").string == "1"
                }
                // The cut-off master's clock is far ahead, as far as its counts go.
                try setup.servers[0].command("SET", "dlock.fence:{dlock:a}", "90000000000000q")
                try await eventually("the replicas have it, or it does not matter") {
                    try setup.servers[1].command("EXISTS", "dlock.fence:{dlock:a}").string == "1"
                }
                try hosts.setLink(1, isUp: false)
                for server in setup.servers[1...] {
                    try await eventually("it can be written to") {
                        try server.command("CONFIG", "SET", "replica-read-only", "no").string == "OK"
                    }
                    // As if the lock had never been replicated.
                    try server.command(
                        "DEL", "dlock:a", "dlock.fence:{dlock:a}", "dlock.queue:{dlock:a}", "dlock.waiters:{dlock:a}")
                }
                try await eventually(within: .seconds(60), "there is another master") {
                    try setup.sentinels[1].command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster").list?.first?
                        .string
                        != hosts.address(1)
                }
                let new = try agent(on: 2, "a")
                defer { new.end() }
                try await eventually(within: .seconds(60), "somebody holds on the new master") { new.said("held") }
                // And now, later, somebody is granted the lock on the old one, by a hand-over.
                old.letGo()
                try await eventually("the next one holds on the old master") { waiting.said("held") }

                let tokens = try [old, new, waiting].map { agent in
                    try #require(agent.tokenText.flatMap { FencingToken($0) })
                }
                #expect(tokens[1].epoch > tokens[0].epoch && tokens[2].epoch == tokens[0].epoch)
                #expect(tokens[2] > tokens[0])
                #expect(tokens[1] > tokens[2], "the count of the old master is \(tokens[2]), which is far ahead")
                var fence = FenceRule()
                #expect(fence.presented(FencingStamp(tokens[0], domain: .clock)).isAccepted)
                #expect(fence.presented(FencingStamp(tokens[1], domain: .clock)).isAccepted)
                #expect(!fence.presented(FencingStamp(tokens[0], domain: .clock)).isAccepted)
                #expect(!fence.presented(FencingStamp(tokens[2], domain: .clock)).isAccepted)
                #expect(fence.presented(FencingStamp(tokens[1], domain: .clock)).isAccepted)
            }
        }
    }
}
