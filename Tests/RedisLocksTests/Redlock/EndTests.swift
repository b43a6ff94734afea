import DistributedLocks
import LockURLs
import Logging
import TestKit
import Testing

@testable import RedisLocks

/// What a client still does for the locks that it had when it ends.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(2)))
struct RedlockEndTests {
    enum Fault: CaseIterable { case refusesConnections, isSlow }

    // S4, S13
    @Test(arguments: Fault.allCases)
    func `a client that ends takes its locks back also where it has to connect first, longer than one answer may take`(
        fault: Fault
    ) async throws {
        try await withProxiedRedlock(3) { servers, proxies, url in
            for _ in 0..<2 {
                let trouble = try await withLockClient(url) { locks -> Task<Void, any Error> in
                    try await servers.allServe(locks)
                    let handle = try await locks.acquire("a", lease: .seconds(30), waitingAtMost: .seconds(20))
                    try await eventually("it is held everywhere") {
                        try (0..<3).allSatisfy { try servers.lockKeys($0).contains("dlock:a") }
                    }
                    switch fault {
                    case .refusesConnections: proxies[0].setRefusing(true)
                    // The handshake takes two round trips, the release another.
                    case .isSlow: proxies[0].set(.delay(.milliseconds(400)), .toClient)
                    }
                    let before = proxies[0].acceptedCount
                    proxies[0].cutAll()
                    try await handle.release()
                    return Task {
                        try await eventually("it tries to connect") { proxies[0].acceptedCount > before }
                        // More than `instance-timeout`.
                        try await Task.sleep(for: .milliseconds(600))
                        proxies[0].setRefusing(false)
                    }
                }
                #expect(try servers.describeLockKeys() == [])
                try await trouble.value
                proxies[0].passAll()
            }
        }
    }

    @Test func `a client does not wait long for an instance that does not come back, and says what it has left there`()
        async throws
    {
        try await RedlockServers.withServers(3) { servers in
            try await LockBackends.initialize(url: LockURL(servers.url))
            let warnings = Warnings()
            let backend = try RedlockBackend(servers, logger: warnings.logger)
            var ending = ContinuousClock.now
            try await withLockClient(backend) { locks in
                try await servers.allServe(locks)
                let handle = try await locks.acquire("a", lease: .seconds(30), waitingAtMost: .seconds(20))
                try await eventually("it is held everywhere") {
                    try (0..<3).allSatisfy { try servers.lockKeys($0).contains("dlock:a") }
                }
                try servers[1].stop()
                try await handle.release()
                ending = .now
            }
            let took = ContinuousClock.now - ending
            servers[1].resume()
            #expect(took >= .milliseconds(1_900) && took < .seconds(4), "\(took)")
            #expect(warnings.texts.contains { $0.contains("locks may be left on") }, "\(warnings.texts)")
            try await eventually("what was sent to it is carried out") { try servers.allLockKeys().isEmpty }
        }
    }

    @Test func `a client whose instances are all well ends at once`() async throws {
        try await withRedlock(3) { servers, url in
            var ending = ContinuousClock.now
            try await withLockClient(url) { locks in
                for number in 0..<10 { _ = try await token(locks, "\(number)") }
                ending = .now
            }
            #expect(ContinuousClock.now - ending < .seconds(1))
            #expect(try servers.allLockKeys().isEmpty)
        }
    }

    // Q11
    @Test func `a release that an instance has refused is made when the instance takes it`() async throws {
        try await withRedlock(3) { servers, url in
            try await withLockClient(url) { locks in
                try await servers.allServe(locks)
                let handles = try await ["a", "b", "c"].asyncMap {
                    try await locks.acquire($0, lease: .seconds(30), waitingAtMost: .seconds(20))
                }
                try await eventually("they are held everywhere") {
                    try (0..<3).allSatisfy { try servers.lockKeys($0).count == 3 }
                }
                try servers[1].command("CONFIG", "SET", "min-replicas-to-write", "1")
                for handle in handles { try await handle.release() }
                try await eventually("the others have released them") {
                    try servers.lockKeys(0).isEmpty && servers.lockKeys(2).isEmpty
                }
                #expect(try servers.lockKeys(1).count == 3)
                try servers[1].command("CONFIG", "SET", "min-replicas-to-write", "0")
                try await eventually(within: .seconds(5), "this one has, too") { try servers.lockKeys(1).isEmpty }
            }
        }
    }

    // S14
    @Test func `a waiter whom all instances refuse for good is told why`() async throws {
        try await withRedlock(3) { servers, url in
            try await withRedlockClients(url, 2) { clients in
                let holder = Holder(clients[0], "a", lease: .seconds(30))
                await holder.isHeld()
                let waiter = Task { try await clients[1].withLock("a", lease: .seconds(30)) { _ in } }
                try await eventually("it waits") {
                    try servers.allLockKeys().contains("dlock:a\tturn")
                }
                for server in servers.servers {
                    try server.withConnection { connection in
                        _ = try connection.command("MULTI")
                        _ = try connection.command("DEL", "dlock:a")
                        _ = try connection.command("HSET", "dlock:a", "field", "value")
                        _ = try connection.command("EXEC")
                    }
                }
                let start = ContinuousClock.now
                let error = await #expect(throws: LockError.self) { try await waiter.value }
                #expect(error?.code == .serverRefused, "\(error as Any)")
                // A quorum of them says it all.
                #expect(error.map { $0.nodes.count >= 2 } == true)
                #expect(error?.nodes.allSatisfy { $0.message.contains("WRONGTYPE") } == true, "\(error as Any)")
                #expect(ContinuousClock.now - start < .seconds(15))
                for server in servers.servers { try server.command("DEL", "dlock:a") }
                holder.letGo()
                _ = try? await holder.end()
            }
        }
    }

    @Test func `an instance that becomes a replica is left, and counts as down`() async throws {
        try await withRedlock(3) { servers, url in
            let warnings = Warnings()
            let backend = try RedlockBackend(servers, logger: warnings.logger)
            _ = url
            try await withLockClient(backend) { locks in
                let first = try await token(locks)
                try servers[2].command("REPLICAOF", "127.0.0.1", "1")
                var last = first
                try await eventually("it was looked at again") {
                    last = try await token(locks)
                    return try await locks.status(of: "a").nodes.contains { $0.state.contains("this is a replica") }
                }
                #expect(last > first)
            }
        }
    }
}

extension RedlockBackend {
    convenience init(_ servers: RedlockServers, logger: Logger) throws {
        try self.init(
            configuration: RedlockConfiguration(
                servers: servers.servers.map { .tcp(host: "127.0.0.1", port: $0.port) }),
            logger: logger
        )
    }
}

extension Array {
    /// One after another.
    fileprivate func asyncMap<Result>(_ body: (Element) async throws -> Result) async throws -> [Result] {
        var results: [Result] = []
        for element in self { results.append(try await body(element)) }
        return results
    }
}
