import DistributedLocks
import Foundation
import LockURLs
import TestKit
import Testing

/// Q6, Q7, Q9 and bad input, on real servers.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(2)))
struct RedlockPolicyTests {
    private func refusal(_ url: String, _ name: String = "a") async -> LockError? {
        await #expect(throws: LockError.self) {
            try await withLockClient(url) { locks in
                try await locks.withLock("a", waitingAtMost: .seconds(5)) { _ in }
            }
        }
    }

    // Q6
    @Test(arguments: ["?longest-lease=90s", "?max-clock-skew=15s", "?set=other"])
    func `a client with another policy is refused`(query: String) async throws {
        try await withRedlock(3) { servers, url in
            let error = await self.refusal(url + query)
            #expect(error?.code == .policyMismatch)
            #expect(error?.message.contains("127.0.0.1:") == true)
        }
    }

    @Test func `a client may ask for shorter leases than the instances allow`() async throws {
        try await withRedlock(3) { servers, url in
            try await withLockClient(url + "?longest-lease=40s") { locks in
                let first = try await token(locks)
                // It closes one that has restarted for the longer lease, as others may have that.
                try servers[1].command("FLUSHALL")
                #expect(try await token(locks) > first)
                try await eventually("it has the policy of the others") {
                    let node = try servers[1].command("GET", "dlock.node").string
                    guard node.contains(" 3 2 60000 10000 "), let state = node.split(separator: " ").last else {
                        return false
                    }
                    let opensAt = Double(state.dropLast(2)) ?? 0
                    return opensAt / 1_000 - Date().timeIntervalSince1970 > 50
                }
            }
        }
    }

    @Test func `two sets that share an instance do not both grant`() async throws {
        try await RedlockServers.withServers(5) { servers in
            func url(_ indices: [Int]) -> String {
                "redlock://" + indices.map { "127.0.0.1:\(servers[$0].port)" }.joined(separator: ",")
            }
            try await LockBackends.initialize(url: LockURL(url([0, 1, 2])))
            let init2 = await #expect(throws: LockError.self) {
                try await LockBackends.initialize(url: LockURL(url([0, 3, 4])))
            }
            #expect(init2?.code == .policyMismatch)
            #expect(init2?.message.contains(":\(servers[0].port)") == true)
            let error = await self.refusal(url([0, 3, 4]))
            #expect(error?.code == .policyMismatch)
            let fewer = await self.refusal(url([0, 1, 2, 3, 4]))
            #expect(fewer?.code == .policyMismatch)
            try await withLockClient(url([2, 1, 0])) { locks in _ = try await token(locks) }
        }
    }

    @Test func `a first installation is opened once, and only when all instances are new`() async throws {
        try await withRedlock(3) { servers, url in
            let again = await #expect(throws: LockError.self) { try await LockBackends.initialize(url: LockURL(url)) }
            #expect(again?.code == .invalidConfiguration)
            #expect(again?.message.contains("nothing was changed") == true)
            try await servers[1].restart()
            _ = await #expect(throws: LockError.self) { try await LockBackends.initialize(url: LockURL(url)) }
            #expect(try servers[1].command("GET", "dlock.node") == .null)
        }
    }

    @Test func `new instances that nobody opened open by themselves after the longest lease`() async throws {
        try await RedlockServers.withServers(3) { servers in
            let url = servers.url + "?longest-lease=1s"
            let started = ContinuousClock.now
            try await withLockClient(url) { locks in
                let handle = try await locks.acquire("a", lease: .seconds(1), waitingAtMost: .seconds(10))
                #expect(ContinuousClock.now - started >= .seconds(1))
                // A second is short on a busy machine.
                try? await handle.release()
            }
        }
    }

    // Q7
    @Test func `a replica among the instances is done without, and named where that leaves no quorum`() async throws {
        try await withRedlock(3) { servers, url in
            try servers[2].command("REPLICAOF", "127.0.0.1", "\(servers[0].port)")
            try await withLockClient(url) { locks in _ = try await token(locks) }
            try servers[1].command("REPLICAOF", "127.0.0.1", "\(servers[0].port)")
            let error = await self.refusal(url)
            #expect(error?.code == .serverRefused)
            #expect([1, 2].contains { error?.message.contains(":\(servers[$0].port)") == true })
            #expect(error?.message.contains("replica") == true)
        }
    }

    @Test func `the same server by two addresses is refused by name`() async throws {
        try await RedlockServers.withServers(2) { servers in
            let url = "redlock://127.0.0.1:\(servers[0].port),127.0.0.1:\(servers[1].port),localhost:\(servers[1].port)"
            let error = await self.refusal(url)
            #expect(error?.code == .serverRefused)
            #expect(error?.message.contains("the same server as") == true)
            #expect(error?.message.contains(":\(servers[1].port)") == true)
        }
    }

    @Test(arguments: ["one", "twice", "lease", "option"])
    func `a URL that cannot be a Redlock is refused before anything is connected`(kind: String) throws {
        let url =
            switch kind {
            case "one": "redlock://a"
            case "twice": "redlock://a,b,A:6379"
            case "lease": "redlock://a,b,c?longest-lease=1ms"
            default: "redlock://a,b,c?nonsense=1"
            }
        let error = #expect(throws: LockError.self) { try LockBackends.backend(url: url) }
        #expect(error?.code == .invalidConfiguration)
    }

    enum Wrong: CaseIterable { case password, eviction, lease }

    private static func spoil(_ server: RedisServer, _ wrong: Wrong) throws {
        switch wrong {
        case .password: try server.command("CONFIG", "SET", "requirepass", "secret-of-its-own")
        case .eviction: try server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        case .lease:
            var words = try server.command("GET", "dlock.node").string.split(separator: " ").map(String.init)
            words[4] = "33000"
            try server.command("SET", "dlock.node", words.joined(separator: " "))
        }
    }

    @Test(arguments: Wrong.allCases)
    func `one bad instance of three is told of and done without, and two are refused by name`(wrong: Wrong)
        async throws
    {
        try await withRedlock(3) { servers, url in
            try Self.spoil(servers[1], wrong)
            let warnings = Warnings()
            try await withLockClient(LockBackends.backend(url: url, logger: warnings.logger)) { locks in
                let first = try await token(locks)
                #expect(try await token(locks) > first)
            }
            #expect(warnings.texts.contains { $0.contains(":\(servers[1].port)") }, "\(warnings.texts)")
            try Self.spoil(servers[2], wrong)
            let started = ContinuousClock.now
            let error = await self.refusal(url)
            // At once: waiting does not help.
            #expect(ContinuousClock.now - started < .seconds(4))
            #expect(error?.code == (wrong == .lease ? .policyMismatch : .serverRefused), "\(error as Any)")
            #expect([1, 2].contains { error?.message.contains(":\(servers[$0].port)") == true }, "\(error as Any)")
            #expect(error.map(String.init(describing:))?.contains("secret-of-its-own") == false)
        }
    }

    @Test func `looking changes nothing on new instances, and they can be opened also after somebody wanted a lock`()
        async throws
    {
        try await RedlockServers.withServers(3) { servers in
            try await withLockClient(servers.url) { locks in
                #expect(try await locks.status(of: "a").holder == nil)
                for server in servers.servers { #expect(try server.command("DBSIZE").integer == 0) }
                await #expect(throws: LockError.self) {
                    try await locks.withLock("a", waitingAtMost: .milliseconds(500)) { _ in }
                }
                for server in servers.servers {
                    #expect(try server.command("GET", "dlock.node").string.hasSuffix(".0"))
                }
                try await LockBackends.initialize(url: LockURL(servers.url))
                _ = try await token(locks)
            }
            let again = await #expect(throws: LockError.self) {
                try await LockBackends.initialize(url: LockURL(servers.url))
            }
            #expect(again?.code == .invalidConfiguration)
        }
    }

    @Test func `a client with a wrong policy does not give it to an instance that has lost its data`() async throws {
        try await withRedlock(3) { servers, url in
            try servers[2].command("FLUSHALL")
            let error = await self.refusal(url + "?longest-lease=77s")
            #expect(error?.code == .policyMismatch)
            #expect(try servers[2].command("GET", "dlock.node") == .null)
            // One with the right policy does.
            try await withLockClient(url) { locks in _ = try await token(locks) }
            try await eventually("it has the policy of the others") {
                try servers[2].command("GET", "dlock.node").string.contains(" 3 2 ")
            }
        }
    }

    @Test func `a lease beyond the longest is refused`() async throws {
        try await withRedlock(3, query: "?longest-lease=5s") { _, url in
            try await withLockClient(url) { locks in
                let error = await #expect(throws: LockError.self) {
                    try await locks.withLock("a", lease: .seconds(6)) { _ in }
                }
                #expect(error?.code == .invalidConfiguration)
            }
        }
    }

    // Q9
    @Test(arguments: [Duration.seconds(86_400), .seconds(-86_400)])
    func `one instance whose clock is a day off stops nobody, and tokens rise`(step: Duration) async throws {
        let folder = temporaryFolder("clock")
        defer { try? FileManager.default.removeItem(at: folder) }
        let clock = try await onThread { try ClockShim(folder: folder) }
        try await RedlockServers.withServers(2) { servers in
            try await RedisServer.withServer(RedisServer.Options(environment: clock.environment)) { wild in
                let url = "\(servers.url),127.0.0.1:\(wild.port)"
                try await LockBackends.initialize(url: LockURL(url))
                try await withRedlockClients(url, 2) { clients in
                    var last = try await token(clients[0])
                    try clock.set(step)
                    for number in 0..<20 {
                        let next = try await token(clients[number % 2])
                        #expect(next > last)
                        last = next
                    }
                    // Told of such a time it does not believe: the other two are asked for that.
                    let ticks = Double(last.rawValue) / 62_500 + 1_735_689_600
                    #expect(abs(ticks - Date().timeIntervalSince1970) < 60)
                    try clock.set(.zero)
                    #expect(try await token(clients[1]) > last)
                }
            }
        }
    }
}
