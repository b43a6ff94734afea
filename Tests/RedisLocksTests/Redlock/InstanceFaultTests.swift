import DistributedLocks
import Foundation
import LockURLs
import TestKit
import Testing

@testable import RedisLocks

/// Q1 to Q5 on real servers: instances that are down, hung, slow, or have forgotten everything.
///
/// One after another: fifty clients in one process keep its event loops from the others for longer than those can bear.
@Suite(.serialized, .enabled(if: RedisServer.isRequired), .timeLimit(.minutes(3)))
struct InstanceFaultTests {
    enum Fault: CaseIterable { case down, hung, slow, refusing }

    /// The last two of five instances are in trouble.
    private static func cause(_ fault: Fault, _ servers: RedlockServers, _ proxies: [TCPProxy]) throws {
        for index in 3...4 {
            switch fault {
            case .down: servers[index].kill()
            case .hung: try servers[index].stop()
            case .slow: proxies[index].set(.delay(.milliseconds(700)), .toClient)
            case .refusing: try servers[index].command("CONFIG", "SET", "min-replicas-to-write", "1")
            }
        }
    }

    /// A name of a lock whose waiters wait at one of these instances.
    private static func name(ofLockAt gates: ClosedRange<Int>, _ proxies: [TCPProxy]) throws -> String {
        let order = proxies.indices.sorted { "127.0.0.1:\(proxies[$0].port)" < "127.0.0.1:\(proxies[$1].port)" }
        let name = (0..<100).map { "n\($0)" }.first {
            gates.contains(order[Int(StableHash.fnv1a("dlock:\($0)".utf8) % UInt64(order.count))])
        }
        return try #require(name)
    }

    // Q11
    @Test func `who waits at an instance that answers and refuses is granted soon after the lock is released`()
        async throws
    {
        try await withProxiedRedlock(5) { servers, proxies, url in
            let name = try Self.name(ofLockAt: 3...4, proxies)
            try await withRedlockClients(url, 2) { clients in
                for client in clients { _ = try await token(client, name) }
                for isRefusedBefore in [true, false] {
                    if isRefusedBefore { try Self.cause(.refusing, servers, proxies) }
                    let holder = Holder(clients[0], name, lease: .seconds(30))
                    await holder.isHeld()
                    let waiter = Holder(clients[1], name, lease: .seconds(30))
                    if !isRefusedBefore {
                        try await eventually("it waits") {
                            try servers.allLockKeys().contains { $0.hasSuffix("\tturn") }
                        }
                        try Self.cause(.refusing, servers, proxies)
                    }
                    holder.letGo()
                    let released = ContinuousClock.now
                    let token = try await holder.end()
                    await waiter.isHeld()
                    #expect(ContinuousClock.now - released < .seconds(2))
                    waiter.letGo()
                    #expect(try await waiter.end() > token)
                    for index in 3...4 { try servers[index].command("CONFIG", "SET", "min-replicas-to-write", "0") }
                }
            }
        }
    }

    /// A release that the gate misses: refused there, or on a link that is cut for that moment.
    @Test(arguments: [true, false])
    func `a gate that misses a release keeps nobody waiting for the rest of the lease`(isCut: Bool) async throws {
        try await RedlockServers.withServers(3) { servers in
            let url = servers.url + "?set=one"
            try await LockBackends.initialize(url: LockURL(url))
            let name = "a"
            // The holder has links of its own.
            try await servers.withLinks { links, own in
                try await withLockClient(own + "?set=one") { holders in
                    try await withLockClient(url) { waiters in
                        let holder = Holder(holders, name, lease: .seconds(30))
                        await holder.isHeld()
                        let waiter = Holder(waiters, name, lease: .seconds(30))
                        // Where an instance was late a moment ago, the next one is the gate.
                        var gates: [Int] = []
                        try await eventually("it waits at a gate") {
                            gates = try (0..<3).filter {
                                try servers[$0].command("EXISTS", "dlock:\(name)\tturn").integer == 1
                            }
                            return !gates.isEmpty
                        }
                        let gate = gates[0]
                        let link = links[gate]
                        if isCut {
                            link.setRefusing(true)
                            link.cutAll()
                        } else {
                            try servers[gate].command("CONFIG", "SET", "min-replicas-to-write", "1")
                        }
                        holder.letGo()
                        let released = ContinuousClock.now
                        let token = try await holder.end()
                        await waiter.isHeld()
                        #expect(ContinuousClock.now - released < .seconds(3))
                        try servers[gate].command("CONFIG", "SET", "min-replicas-to-write", "0")
                        waiter.letGo()
                        #expect(try await waiter.end() > token)
                        link.setRefusing(false)
                    }
                }
            }
        }
    }

    // Q1
    @Test(arguments: Fault.allCases)
    func `those who wait for a lock at an instance in trouble are served, and the lock is one's at a time`(fault: Fault)
        async throws
    {
        try await withProxiedRedlock(5) { servers, proxies, url in
            let name = try Self.name(ofLockAt: 3...4, proxies)
            let log = TokenLog()
            try await withRedlockClients(url, 4) { clients in
                for client in clients { _ = try await token(client, name) }
                try Self.cause(fault, servers, proxies)
                let slowest = try await withThrowingTaskGroup(of: Duration.self) { group in
                    for client in clients {
                        group.addTask {
                            var slowest = Duration.zero
                            for _ in 0..<10 {
                                let started = ContinuousClock.now
                                try await client.withLock(name, lease: .seconds(20), waitingAtMost: .seconds(30)) {
                                    held in
                                    slowest = max(slowest, ContinuousClock.now - started)
                                    await log.enter(held.token)
                                    // The others come and wait.
                                    try await Task.sleep(for: .milliseconds(5))
                                    await log.leave()
                                }
                            }
                            return slowest
                        }
                    }
                    return try await group.reduce(.zero) { max($0, $1) }
                }
                // Much less than a lease.
                #expect(slowest < .seconds(6))
                servers[3].resume()
                servers[4].resume()
            }
            #expect(await log.tokens.count == 40)
            #expect(await log.overlaps == 0)
            #expect(await log.rise)
        }
    }

    // Q1
    @Test(arguments: Fault.allCases)
    func `two of five instances in trouble keep nobody waiting for a free lock`(fault: Fault) async throws {
        try await withProxiedRedlock(5) { servers, proxies, url in
            try await withLockClient(url) { locks in
                _ = try await token(locks)
                try Self.cause(fault, servers, proxies)
                var last = try await token(locks)
                var times: [Duration] = []
                for _ in 0..<40 {
                    let started = ContinuousClock.now
                    let next = try await token(locks)
                    times.append(ContinuousClock.now - started)
                    #expect(next > last)
                    last = next
                }
                // The patience with one instance is 500 ms. A busy machine may take a moment now and then.
                #expect(times.sorted()[20] < .milliseconds(200))
                servers[3].resume()
                servers[4].resume()
            }
        }
    }

    // Q2
    @Test func `with three of five down there is no quorum, each is named, and nothing is left`() async throws {
        try await withRedlock { servers, url in
            try await withLockClient(url) { locks in
                _ = try await token(locks)
                for index in 0..<3 { servers[index].kill() }
                let started = ContinuousClock.now
                let error = await #expect(throws: LockError.self) {
                    try await locks.withLock("a", lease: .seconds(20), waitingAtMost: .seconds(2)) { _ in }
                }
                #expect(error?.code == .noQuorum)
                #expect(error?.nodes.count == 3)
                for index in 0..<3 {
                    #expect(error?.nodes.contains { $0.node.hasSuffix(":\(servers[index].port)") } == true)
                }
                #expect(ContinuousClock.now - started < .seconds(3))
                try await eventually("nothing is left") {
                    try servers.lockKeys(3).isEmpty && servers.lockKeys(4).isEmpty
                }
                // They come back empty, and there is a quorum again when they are open.
                for index in 0..<3 { try await servers[index].start() }
                let closed = await #expect(throws: LockError.self) {
                    try await locks.withLock("a", waitingAtMost: .seconds(3)) { _ in }
                }
                #expect(closed?.code == .noQuorum)
                #expect("\(closed.map(String.init(describing:)) ?? "")".contains("dlock init"))
            }
        }
    }

    // Q3
    @Test func `an instance that has forgotten its lock does not help another to it`() async throws {
        try await withRedlock(query: "?longest-lease=3s") { servers, url in
            try await withRedlockClients(url, 2) { clients in
                // The lock stands on three instances only.
                servers[3].kill()
                servers[4].kill()
                let holder = Holder(clients[0], "a", lease: .seconds(3))
                await holder.isHeld()
                // Each of them is closed for the longest lease from its start.
                let forgotten = ContinuousClock.now
                try await servers[3].start()
                try await servers[4].start()
                try await servers[2].restart()
                // Three of five know nothing of the lock now.
                let second = try await clients[1].acquire("a", lease: .seconds(2), waitingAtMost: .seconds(20))
                #expect(ContinuousClock.now - forgotten >= .seconds(3))
                let loss = try await holder.loss()
                #expect(loss.code == .lost)
                #expect(try #require(loss.token) < second.token)
                try await second.release()
            }
        }
    }

    @Test func `an instance that may have granted a token and forgotten it is not asked for it`() async throws {
        try await withRedlock(3) { servers, url in
            // It has restarted with a clock that was an hour ahead.
            let node = try servers[1].command("GET", "dlock.node").string
            var words = node.split(separator: " ").map(String.init)
            words[6] = "\(try #require(Int64(words[6])) + 3_600 * 62_500)"
            try servers[1].command("SET", "dlock.node", words.joined(separator: " "))
            try await withLockClient(url) { locks in
                for _ in 0..<3 {
                    let handle = try await locks.acquire("a", lease: .seconds(5), waitingAtMost: .seconds(5))
                    try await handle.release()
                }
            }
            for (index, isAsked) in [true, false, true].enumerated() {
                let fences = try servers[index].command("KEYS", "dlock.fence:*").list ?? []
                #expect(fences.count == (isAsked ? 1 : 0), "instance \(index)")
            }
        }
    }

    @Test func `an instance that restarts with its data stays closed as well`() async throws {
        let options = RedisServer.Options(isPersistent: true)
        try await withRedlock(3, query: "?longest-lease=2s", options: options) { servers, url in
            try await withLockClient(url) { locks in
                let first = try await locks.acquire("a", lease: .seconds(2), waitingAtMost: .seconds(5))
                try await first.release()
                servers[0].kill()
                let restarted = ContinuousClock.now
                try await servers[1].restart()
                let handle = try await locks.acquire("a", lease: .seconds(2), waitingAtMost: .seconds(20))
                #expect(handle.token > first.token)
                #expect(ContinuousClock.now - restarted >= .seconds(2))
                try await handle.release()
            }
        }
    }

    // Q5
    @Test func `a round that is slower than a quarter of the lease is given back everywhere`() async throws {
        try await withProxiedRedlock(3) { servers, proxies, url in
            try await withLockClient(url) { locks in
                _ = try await token(locks)
                for proxy in proxies[..<2] { proxy.set(.delay(.milliseconds(300)), .toClient) }
                let error = await #expect(throws: LockError.self) {
                    try await locks.withLock("a", lease: .milliseconds(800), waitingAtMost: .seconds(2)) { _ in }
                }
                #expect(error?.code == .noQuorum || error?.code == .timedOut)
                try await eventually("nothing is left") { try servers.allLockKeys().isEmpty }
                for proxy in proxies { proxy.passAll() }
                _ = try await token(locks)
            }
        }
    }

    // Q4
    @Test(arguments: [2, 5, 50])
    func `clients that start at the same instant, again and again, are all served`(count: Int) async throws {
        try await withRedlock { servers, url in
            let rounds = count == 50 ? 4 : 20
            let log = TokenLog()
            try await withRedlockClients(url, count) { clients in
                for client in clients { _ = try await token(client, "warm-up") }
                for _ in 0..<rounds {
                    let slowest = try await withThrowingTaskGroup(of: Duration.self) { group in
                        for client in clients {
                            group.addTask {
                                let started = ContinuousClock.now
                                return try await client.withLock("a", lease: .seconds(5), waitingAtMost: .seconds(30)) {
                                    held in
                                    await log.enter(held.token)
                                    await log.leave()
                                    return ContinuousClock.now - started
                                }
                            }
                        }
                        return try await group.reduce(.zero) { max($0, $1) }
                    }
                    // Some milliseconds each, where nothing else runs.
                    #expect(slowest < .seconds(count == 50 ? 10 : 5))
                }
            }
            #expect(await log.tokens.count == count * rounds)
            #expect(await log.overlaps == 0)
            #expect(await log.rise)
            // A client that ends while its machine is overloaded may leave a key, which ends with its lease, and a place in a
            // queue, which nobody is kept waiting by.
            try await eventually(within: .seconds(20), "no lock is left") {
                try servers.allLockKeys().allSatisfy { !$0.hasPrefix("dlock:") }
            }
            try await withLockClient(url) { locks in
                try await locks.withLock("a", lease: .seconds(5), waitingAtMost: .seconds(10)) { held in
                    await log.enter(held.token)
                }
            }
            #expect(await log.rise)
        }
    }

    @Test func `one of those who do not wait gets a free lock, however many ask at once`() async throws {
        try await withRedlock { _, url in
            try await withRedlockClients(url, 8) { clients in
                for client in clients { _ = try await token(client, "warm-up") }
                for number in 0..<10 {
                    let won = try await withThrowingTaskGroup(of: Bool.self) { group in
                        for client in clients {
                            group.addTask {
                                guard let handle = try await client.acquireIfAvailable("\(number)") else {
                                    return false
                                }
                                await Task.yield()
                                try await handle.release()
                                return true
                            }
                        }
                        return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
                    }
                    #expect(won >= 1)
                }
            }
        }
    }

    // Q8
    @Test func `tokens rise while instances are killed, stopped and come back empty`() async throws {
        try await withRedlock(query: "?longest-lease=1s&max-clock-skew=500ms") { servers, url in
            let log = TokenLog()
            try await withRedlockClients(url, 4) { clients in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for client in clients {
                        group.addTask {
                            while !Task.isCancelled {
                                do {
                                    try await client.withLock("a", lease: .seconds(1), waitingAtMost: .seconds(5)) {
                                        held in
                                        await log.enter(held.token)
                                        await Task.yield()
                                        await log.leave()
                                    }
                                } catch let error as LockError
                                    where [.lost, .noQuorum, .timedOut, .unreachable, .outcomeUnknown].contains(
                                        error.code)
                                {
                                    continue
                                } catch is CancellationError {
                                    return
                                }
                            }
                        }
                    }
                    for round in 0..<3 {
                        let seen = await log.tokens.count
                        // Two at most at a time, and the restarted one is closed for a second.
                        try servers[round % 5].stop()
                        try await servers[(round + 2) % 5].restart()
                        try await eventually("grants go on") { await log.tokens.count > seen + 20 }
                        servers[round % 5].resume()
                        let later = await log.tokens.count
                        try await eventually("grants go on") { await log.tokens.count > later + 20 }
                    }
                    group.cancelAll()
                    try? await group.waitForAll()
                }
            }
            #expect(await log.rise)
            #expect(await log.overlaps == 0)
        }
    }
}
