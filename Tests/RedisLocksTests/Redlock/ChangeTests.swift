import DistributedLocks
import Foundation
import LockURLs
import TestKit
import Testing

@testable import RedisLocks

/// The members and the policy of a Redlock are changed while clients use it, on real servers.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(2)))
struct RedlockChangeTests {
    /// So that the next step can follow soon.
    private static let options = "?longest-lease=1s&max-clock-skew=500ms"

    private static func url(_ servers: RedlockServers, _ indices: [Int], _ options: String = Self.options) -> String {
        "redlock://" + indices.map { "127.0.0.1:\(servers[$0].port)" }.joined(separator: ",") + options
    }

    /// One step, as soon as it is allowed.
    private static func change(_ old: String, _ new: String) async throws -> (generation: Int, lacking: [String]) {
        let deadline = ContinuousClock.now + .seconds(20)
        while true {
            do throws(LockError) {
                let (generation, lacking) = try await LockBackends.change(from: LockURL(old), to: LockURL(new))
                return (generation, lacking.map(\.node))
            } catch {
                let isEarly = error.code == .noQuorum && error.message.hasPrefix("nothing was changed")
                guard isEarly, ContinuousClock.now < deadline else { throw error }
            }
            // Not before a lease is over.
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    private static func withSet(_ count: Int, first: [Int], _ body: (RedlockServers, String) async throws -> Void)
        async throws
    {
        try await RedlockServers.withServers(count) { servers in
            let url = Self.url(servers, first)
            try await LockBackends.initialize(url: LockURL(url))
            try await body(servers, url)
        }
    }

    /// Takes locks all the time, on all clients, while the body runs. Returns what was granted.
    private static func underLoad(
        _ clients: [LockClient], _ body: (TokenLog) async throws -> Void
    ) async throws -> TokenLog {
        let log = TokenLog()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for client in clients {
                group.addTask {
                    while !Task.isCancelled {
                        try await client.withLock("hot", lease: .seconds(1), waitingAtMost: .seconds(20)) { held in
                            await log.enter(held.token)
                            await log.leave()
                        }
                        _ = try await client.withLock("own", lease: .seconds(1), waitingAtMost: .seconds(20)) {
                            $0.token
                        }
                    }
                }
            }
            let result: Result<Void, any Error>
            do {
                result = .success(try await body(log))
            } catch {
                result = .failure(error)
            }
            group.cancelAll()
            while let end = await group.nextResult() {
                if case .failure(let error) = end, !(error is CancellationError) { throw error }
            }
            try result.get()
        }
        return log
    }

    private static func check(_ log: TokenLog) async {
        let (rise, overlaps, tokens) = (await log.rise, await log.overlaps, await log.tokens)
        #expect(rise && overlaps == 0, "\(tokens.count) grants, \(overlaps) at once")
    }

    /// Waits until more is granted.
    private static func goesOn(_ log: TokenLog) async throws {
        let before = await log.tokens.count
        try await eventually("grants go on") { await log.tokens.count >= before + 5 }
    }

    // Q12
    @Test func `a member is replaced by two steps, and grants go on, with the old list and with the new one`()
        async throws
    {
        try await Self.withSet(4, first: [0, 1, 2]) { servers, first async throws in
            let second = Self.url(servers, [0, 1, 2, 3])
            let third = Self.url(servers, [1, 2, 3])
            try await withRedlockClients(first, 2) { old in
                let log = try await Self.underLoad(old) { log in
                    try await Self.goesOn(log)
                    #expect(try await Self.change(first, second) == (2, []))
                    try await Self.goesOn(log)
                    // Clients that are restarted have the new list.
                    try await withRedlockClients(second, 2) { new in
                        let tokens = try await Self.underLoad(new) { tokens in
                            try await Self.goesOn(tokens)
                            #expect(try await Self.change(second, third) == (3, []))
                            try await Self.goesOn(log)
                            try await Self.goesOn(tokens)
                            try await withLockClient(third) { locks in
                                for _ in 0..<20 { _ = try await token(locks, "hot", lease: .seconds(1)) }
                            }
                        }
                        await Self.check(tokens)
                    }
                }
                await Self.check(log)
            }
            // The first one is a member no more.
            #expect(try servers[0].command("GET", "dlock.node").string.contains(" removed "))
            let fence = try servers[0].command("GET", "dlock.fence:{dlock:late}")
            try await withLockClient(third) { locks in _ = try await token(locks, "late", lease: .seconds(1)) }
            #expect(try servers[0].command("GET", "dlock.fence:{dlock:late}") == fence)
        }
    }

    @Test func `a lock that is held stays held through both steps`() async throws {
        try await Self.withSet(4, first: [0, 1, 2]) { servers, first async throws in
            let second = Self.url(servers, [0, 1, 2, 3])
            let third = Self.url(servers, [0, 1, 3])
            try await withLockClient(first) { locks in
                try await servers.allServe(locks, [0, 1, 2], lease: .seconds(1))
                let held = try await locks.acquire("a", lease: .seconds(1), waitingAtMost: .seconds(5))
                _ = try await Self.change(first, second)
                _ = try await Self.change(second, third)
                for _ in 0..<3 {
                    try held.checkValid()
                    try await withLockClient(third) { other in
                        let busy = await #expect(throws: LockError.self) {
                            try await other.withLock("a", lease: .seconds(1), waitingAtMost: .milliseconds(500)) { _ in
                            }
                        }
                        #expect(busy?.code == .timedOut || busy?.code == .busy)
                    }
                }
                try held.checkValid()
                try await held.release()
            }
        }
    }

    @Test func `one of three that has died is replaced: removed first, and then another one is added`() async throws {
        try await Self.withSet(4, first: [0, 1, 2]) { servers, first async throws in
            let two = Self.url(servers, [0, 1])
            let third = Self.url(servers, [0, 1, 3])
            try await withRedlockClients(first, 2) { clients in
                servers[2].kill()
                let held = try await clients[1].acquire("a", lease: .seconds(1), waitingAtMost: .seconds(5))
                let log = try await Self.underLoad(clients) { log in
                    try await Self.goesOn(log)
                    // With the new one three of four would be needed, and those that know three servers have two of them.
                    let early = await #expect(throws: LockError.self) {
                        try await LockBackends.change(
                            from: LockURL(first), to: LockURL(Self.url(servers, [0, 1, 2, 3])))
                    }
                    #expect(early?.code == .noQuorum && early?.message.contains("remove one that has died") == true)
                    #expect(try servers[3].command("EXISTS", "dlock.node").integer == 0)
                    try await Self.goesOn(log)
                    #expect(try await Self.change(first, two) == (2, ["127.0.0.1:\(servers[2].port)"]))
                    try await Self.goesOn(log)
                    // Who is started meanwhile has a list of two.
                    try await withLockClient(two) { locks in _ = try await token(locks, "hot", lease: .seconds(1)) }
                    #expect(try await Self.change(two, third) == (3, []))
                    try await Self.goesOn(log)
                    try await withLockClient(third) { locks in
                        for _ in 0..<20 { _ = try await token(locks, "hot", lease: .seconds(1)) }
                    }
                }
                await Self.check(log)
                try held.checkValid()
                try await held.release()
            }
        }
    }

    @Test func `a member that was away during the change is brought on by a client when it comes back`() async throws {
        let options = RedisServer.Options(isPersistent: true)
        try await RedlockServers.withServers(5, options: options) { servers in
            let first = Self.url(servers, [0, 1, 2, 3])
            let second = Self.url(servers, [0, 1, 2, 3, 4])
            try await LockBackends.initialize(url: LockURL(first))
            servers[2].kill()
            #expect(try await Self.change(first, second) == (2, ["127.0.0.1:\(servers[2].port)"]))
            try await servers[2].start()
            #expect(try servers[2].command("GET", "dlock.node").string.contains(" 4 3 "))
            // One with the old list leaves it alone.
            try await withLockClient(first) { locks in
                _ = try? await locks.withLock("a", lease: .seconds(1), waitingAtMost: .milliseconds(300)) { _ in }
            }
            #expect(try servers[2].command("GET", "dlock.node").string.contains(" 4 3 "))
            try await withLockClient(second) { locks in
                _ = try await token(locks, lease: .seconds(1))
                try await eventually("it has gone on") {
                    try servers[2].command("GET", "dlock.node").string.contains(" 5 3 ")
                }
                try await servers.allServe(locks, lease: .seconds(1))
            }
        }
    }

    @Test func `a step is refused until most have had the present policy for a lease, and nothing is changed by that`()
        async throws
    {
        try await Self.withSet(5, first: [0, 1, 2]) { servers, first async throws in
            let second = Self.url(servers, [0, 1, 2, 3])
            let third = Self.url(servers, [0, 1, 2, 3, 4])
            for new in [third, Self.url(servers, [0, 1, 3]), first] {
                let error = await #expect(throws: LockError.self) {
                    try await LockBackends.change(from: LockURL(first), to: LockURL(new))
                }
                #expect(error?.code == .invalidConfiguration)
            }
            #expect(try await Self.change(first, second) == (2, []))
            let started = ContinuousClock.now
            let early = await #expect(throws: LockError.self) {
                try await LockBackends.change(from: LockURL(second), to: LockURL(third))
            }
            if ContinuousClock.now - started < .milliseconds(900) { #expect(early?.code == .noQuorum) }
            // What is done already is done again by nothing.
            #expect(try await Self.change(first, second) == (2, []))
            #expect(try await Self.change(second, third) == (3, []))
            let late = await #expect(throws: LockError.self) {
                try await LockBackends.change(from: LockURL(first), to: LockURL(second))
            }
            #expect(late?.code == .policyMismatch && late?.message.contains("of generation 3") == true)
        }
    }

    @Test func `of two different changes at once one is made, and the other one is refused until it begins from there`()
        async throws
    {
        try await Self.withSet(4, first: [0, 1, 2, 3]) { servers, first async throws in
            let lists = [[1, 2, 3], [0, 1, 2]].map { Self.url(servers, $0) }
            let done = await withTaskGroup(of: (Int, LockError?).self) { group in
                for (index, list) in lists.enumerated() {
                    group.addTask {
                        do throws(LockError) {
                            _ = try await LockBackends.change(from: LockURL(first), to: LockURL(list))
                            return (index, nil)
                        } catch {
                            return (index, error)
                        }
                    }
                }
                return await group.reduce(into: [Int: LockError?]()) { $0[$1.0] = .some($1.1) }
            }
            let winners = lists.indices.filter { index in done[index].map { $0 == nil } == true }
            try #require(winners.count == 1, "\(done)")
            let (winner, loser) = (lists[winners[0]], lists[1 - winners[0]])
            let error = await #expect(throws: LockError.self) {
                try await LockBackends.change(from: LockURL(first), to: LockURL(loser))
            }
            #expect(error?.code == .policyMismatch, "\(error as Any)")
            // What the other one had got, if anything, is put right.
            #expect(try await Self.change(first, winner) == (2, []))
            try await withLockClient(winner) { locks in _ = try await token(locks, lease: .seconds(1)) }
            let refused = await #expect(throws: LockError.self) {
                try await withLockClient(loser) { locks in
                    try await locks.withLock("a", lease: .seconds(1), waitingAtMost: .seconds(1)) { _ in }
                }
            }
            #expect(refused?.code == .policyMismatch)
        }
    }

    @Test func `a client with the list from before a change that finds no quorum is told so`() async throws {
        try await Self.withSet(4, first: [0, 1, 2]) { servers, first async throws in
            _ = try await Self.change(first, Self.url(servers, [0, 1, 2, 3]))
            servers[2].kill()
            let error = await #expect(throws: LockError.self) {
                try await withLockClient(first) { locks in
                    try await locks.withLock("a", lease: .seconds(1), waitingAtMost: .milliseconds(500)) { _ in }
                }
            }
            let texts = "\(error as Any)"
            #expect(texts.contains("the list from before a change"), "\(texts)")
        }
    }

    /// Right after a change floors are as far ahead of the clocks as the policy's skew, which is more than this client's own.
    @Test func `a client with a smaller clock skew than the set has is granted locks right after a change`()
        async throws
    {
        try await Self.withSet(4, first: [0, 1, 2]) { servers, first async throws in
            let second = Self.url(servers, [0, 1, 2, 3])
            let modest = Self.url(servers, [0, 1, 2, 3], "?longest-lease=300ms&max-clock-skew=100ms")
            _ = try await Self.change(first, second)
            for _ in 0..<3 {
                try await withLockClient(modest) { locks in
                    // With the first round: a token that is too far ahead is refused, and asked for again some milliseconds later.
                    try await locks.withLock("a", lease: .milliseconds(300), waitingAtMost: .zero) { _ in }
                }
            }
        }
    }

    @Test func `where all is lost after a change, it begins anew with no less than was promised, and all go on`()
        async throws
    {
        try await Self.withSet(4, first: [0, 1, 2]) { servers, first async throws in
            let second = Self.url(servers, [0, 1, 2, 3])
            _ = try await Self.change(first, second)
            let modest = Self.url(servers, [0, 1, 2, 3], "?longest-lease=300ms&max-clock-skew=200ms")
            try await withLockClient(second) { running in
                var last = try await token(running, lease: .seconds(1))
                try await withLockClient(modest) { locks in
                    _ = try await token(locks, lease: .milliseconds(300))
                    for server in servers.servers { try server.command("FLUSHALL") }
                    last = max(last, try await token(locks, lease: .milliseconds(300)))
                    for server in servers.servers {
                        #expect(try server.command("GET", "dlock.node").string.contains(" 4 3 1000 500 "))
                    }
                }
                // It has known the set by the name from before.
                for _ in 0..<3 {
                    let next = try await token(running, lease: .seconds(1))
                    #expect(next > last)
                    last = next
                }
                try await withLockClient(second) { locks in
                    let next = try await token(locks, lease: .seconds(1))
                    #expect(next > last)
                }
            }
        }
    }

    @Test func `a client with the list of the next change comes too early, and is told so`() async throws {
        try await Self.withSet(4, first: [0, 1, 2]) { servers, first async throws in
            let second = Self.url(servers, [0, 1, 2, 3])
            let error = await #expect(throws: LockError.self) {
                try await withLockClient(second) { locks in
                    try await locks.withLock("a", lease: .seconds(1), waitingAtMost: .seconds(5)) { _ in }
                }
            }
            #expect(error?.code == .policyMismatch)
            #expect(try servers[3].command("EXISTS", "dlock.node").integer == 0)
        }
    }

    @Test func `a client with an old list does not bring back a removed member that has lost its data`() async throws {
        try await Self.withSet(4, first: [0, 1, 2]) { servers, first async throws in
            let second = Self.url(servers, [0, 1, 2, 3])
            let third = Self.url(servers, [1, 2, 3])
            _ = try await Self.change(first, second)
            _ = try await Self.change(second, third)
            try servers[0].command("FLUSHALL")
            try await withLockClient(first) { locks in
                for _ in 0..<5 { _ = try await token(locks, lease: .seconds(1)) }
            }
            #expect(try servers[0].command("EXISTS", "dlock.node").integer == 0)
        }
    }

    @Test func `the longest lease is raised and lowered, and clients that ask for more are refused`() async throws {
        try await Self.withSet(3, first: [0, 1, 2]) { servers, first async throws in
            let long = Self.url(servers, [0, 1, 2], "?longest-lease=2s&max-clock-skew=500ms")
            try await withLockClient(first) { locks in
                #expect(try await Self.change(first, long) == (2, []))
                _ = try await token(locks, lease: .seconds(1))
                try await withLockClient(long) { other in
                    try await other.withLock("b", lease: .seconds(2), waitingAtMost: .seconds(5)) { _ in }
                }
                #expect(try await Self.change(long, first) == (3, []))
                _ = try await token(locks, lease: .seconds(1))
                let error = await #expect(throws: LockError.self) {
                    try await withLockClient(long) { other in
                        try await other.withLock("b", lease: .seconds(1), waitingAtMost: .seconds(5)) { _ in }
                    }
                }
                #expect(error?.code == .policyMismatch)
            }
        }
    }
}
