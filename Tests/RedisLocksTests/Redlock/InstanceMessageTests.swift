import DistributedLocks
import Foundation
import LockURLs
import TestKit
import Testing

@testable import RedisLocks

/// What happens when messages between a client and some instances are lost or late.
@Suite(.serialized, .enabled(if: RedisServer.isRequired), .timeLimit(.minutes(3)))
struct RedlockLostMessageTests {
    // S3, S4: where a quorum is cut, and where one instance is.
    @Test(arguments: TCPProxy.Direction.allCases, [1, 2])
    func `connections that are cut at any byte of a cycle cost no grant and leave no key`(
        direction: TCPProxy.Direction,
        count: Int
    ) async throws {
        try await withProxiedRedlock(3) { servers, proxies, url in
            let (first, bytesOfCycle) = try await withLockClient(url) { locks in
                _ = try await token(locks)
                let before = proxies[0].passedBytes(direction)
                var last = try await token(locks)
                for _ in 1..<10 { last = try await token(locks) }
                // A quorum may have answered before this instance.
                try await eventually("it has taken part in all of them") {
                    try servers[0].command("GET", "dlock.fence:{dlock:a}").string.hasPrefix("\(last)")
                }
                return (last, (proxies[0].passedBytes(direction) - before + 9) / 10)
            }
            var last = first
            let warnings = Warnings()
            var configuration = LockClient.Configuration()
            configuration.logger = warnings.logger
            // Each byte once: the odd ones with one instance, the even ones with two.
            for bytes in stride(from: count % 2, through: bytesOfCycle, by: 2) {
                try await withLockClient(url, configuration: configuration) { locks in
                    _ = try await token(locks)
                    for proxy in proxies.prefix(count) { proxy.set(.cut(afterBytes: bytes), direction) }
                    let next = try await locks.withLock("a", lease: .seconds(30), waitingAtMost: .seconds(20)) {
                        $0.token
                    }
                    #expect(next > last)
                    last = next
                    for proxy in proxies { proxy.passAll() }
                }
            }
            // Long before the leases have passed.
            do {
                try await eventually(within: .seconds(5), "nothing is left") { try servers.allLockKeys().isEmpty }
            } catch {
                Issue.record("\(error): \(try servers.describeLockKeys()) \(warnings.texts)")
            }
        }
    }

    /// A waiter's connection to the gate ends, and it cannot connect again until it has been granted elsewhere.
    @Test func `a turn at an instance that could not be reached is given back as soon as it can be`()
        async throws
    {
        try await withProxiedRedlock(3) { servers, proxies, url in
            try await withRedlockClients(url, 2) { clients in
                for client in clients { try await servers.allServe(client) }
                let holder = Holder(clients[0], "a", lease: .seconds(30))
                await holder.isHeld()
                // A quorum may have granted it before the gate has.
                try await eventually("it is held everywhere") {
                    try (0..<3).allSatisfy { try servers.lockKeys($0).contains("dlock:a") }
                }
                let waiter = Holder(clients[1], "a", lease: .seconds(30))
                var gate = 0
                try await eventually("it waits") {
                    for index in 0..<3 where try servers.lockKeys(index).contains("dlock:a\tturn") {
                        gate = index
                        return true
                    }
                    return false
                }
                // Both clients lose the gate; the holder's release there is kept, too.
                proxies[gate].setRefusing(true)
                proxies[gate].cutAll()
                try await eventually("they have lost it") { proxies[gate].openCount == 0 }
                // By itself it would end within a second.
                _ = try servers[gate].command("PEXPIRE", "dlock:a\tturn", "60000")
                holder.letGo()
                let token = try await holder.end()
                await waiter.isHeld()
                waiter.letGo()
                #expect(try await waiter.end() > token)
                #expect(try servers.lockKeys(gate).contains("dlock:a\tturn"))
                proxies[gate].setRefusing(false)
                try await eventually(within: .seconds(5), "nothing is left") { try servers.allLockKeys().isEmpty }
            }
        }
    }

    /// Answers come in any order, rounds are given up with answers still out, and callers go away at any moment.
    @Test func `whatever is late, and whoever is cancelled, nothing is left on the instances`() async throws {
        try await withProxiedRedlock(5) { servers, proxies, url in
            try await withRedlockClients(url, 6) { clients in
                for client in clients { _ = try await token(client, "warm-up") }
                let cancelled = try await withThrowingTaskGroup(of: Int.self) { group in
                    for client in clients { group.addTask { try await Self.trouble(client, proxies) } }
                    var cancelled = 0
                    while let count = try await group.next() {
                        cancelled += count
                        // Those who are still at it find servers that know no script.
                        for index in 0..<5 { _ = try servers[index].command("SCRIPT", "FLUSH") }
                    }
                    return cancelled
                }
                #expect(cancelled > 0)
                for proxy in proxies { proxy.passAll() }
                do {
                    try await eventually(within: .seconds(10), "nothing is left") { try servers.allLockKeys().isEmpty }
                } catch {
                    Issue.record("\(try servers.describeLockKeys())")
                }
            }
        }
    }

    /// Takes locks while other instances are slow each time, and goes away from one in three. Returns from how many.
    private static func trouble(_ client: LockClient, _ proxies: [TCPProxy]) async throws -> Int {
        var cancelled = 0
        for number in 0..<25 {
            proxies.randomElement()?.set(
                .delay(.milliseconds(.random(in: 0...40))), TCPProxy.Direction.allCases.randomElement()!)
            proxies.randomElement()?.passAll()
            let attempt = Task {
                try await client.withLock("\(number % 2)", lease: .seconds(30), waitingAtMost: .seconds(30)) { _ in }
            }
            if Int.random(in: 0..<3) == 0 {
                try await Task.sleep(for: .milliseconds(.random(in: 0...30)))
                attempt.cancel()
                cancelled += 1
            }
            do { try await attempt.value } catch is CancellationError { continue }
        }
        return cancelled
    }

    // Q1
    @Test func `an instance that cannot write at the moment counts as down, and is used when it can`() async throws {
        try await withRedlock(3, query: "?longest-lease=1s&max-clock-skew=500ms") { servers, url in
            func token(_ locks: LockClient) async throws -> FencingToken {
                try await locks.withLock("a", lease: .seconds(1), waitingAtMost: .seconds(10)) { $0.token }
            }
            try await servers[0].restart()
            _ = try servers[0].command("CONFIG", "SET", "maxmemory", "1")
            try await withLockClient(url) { locks in
                _ = try await token(locks)
                #expect(try servers[0].command("EXISTS", "dlock.node").integer == 0)
                _ = try servers[0].command("CONFIG", "SET", "maxmemory", "0")
                try await eventually("it is used again") {
                    _ = try await token(locks)
                    return try servers[0].command("EXISTS", "dlock.fence:{dlock:a}").integer == 1
                }
            }
        }
    }
}
