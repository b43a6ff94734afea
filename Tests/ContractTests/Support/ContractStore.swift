import DistributedLocks
import Foundation
import LockTesting
import LockURLs
import TestKit
import Testing

/// The backends that the contract suite runs over. A new one joins with a case here and its fixture below.
enum ContractBackend: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case memory
    case embedded
    case redis
    case sentinel
    case redlock
    case zookeeper

    var testDescription: String { self.rawValue }

    /// Those that can run on this machine. Where CI is set a missing server is a failure.
    static let allCases: [Self] =
        [.memory, .embedded] + (RedisServer.isRequired ? [.redis, .sentinel, .redlock] : [])
        + (ZooKeeperServer.isRequired ? [.zookeeper] : [])

    /// Those that other processes can reach.
    static let reachable = Self.allCases.filter { $0 != .memory }

    /// A lease for tests in which holders are killed: short where nothing else tells of their death.
    var crashLease: Duration {
        switch self {
        case .memory, .embedded: .seconds(30)
        case .redis, .sentinel, .redlock: .seconds(2)
        case .zookeeper: .seconds(4)
        }
    }

    /// What a holder that has just been granted the lock still has, at least.
    var shortestLease: Duration {
        switch self {
        case .memory, .embedded, .redis, .sentinel, .redlock: .seconds(60)
        case .zookeeper: self.crashLease
        }
    }

    /// A lease of this length, or the shortest that is allowed.
    func allowed(_ lease: Duration) -> Duration {
        switch self {
        case .memory, .embedded, .redis, .sentinel, .redlock: lease
        case .zookeeper: max(lease, self.crashLease)
        }
    }

    /// How long it may take until the next one holds when a holder was killed.
    var longestTakeover: Duration {
        switch self {
        case .memory, .embedded: .milliseconds(200)
        case .redis, .sentinel, .redlock, .zookeeper: self.crashLease + .seconds(1)
        }
    }

    /// Runs a body with a store of its own, which vanishes afterwards.
    ///
    /// - Parameter isCrashing: whether holders are killed, so that leases should be short.
    func withStore(isCrashing: Bool = false, _ body: (ContractStore) async throws -> Void) async throws {
        switch self {
        case .memory:
            let store = InMemoryLockStore()
            try await body(ContractStore(url: nil) { store.connect() })
        case .embedded:
            try await withFolder { folder in
                let url = "embedded://\(folder.path)/locks.db"
                try await body(ContractStore(url: url) { try LockBackends.backend(url: url) })
            }
        case .redis:
            try await RedisServer.withServer { server in
                let url = server.url
                try await body(ContractStore(url: url) { try LockBackends.backend(url: url) })
            }
        case .sentinel:
            let setup = try await SentinelSetup.shared()
            let url = setup.url("?prefix=\(UUID().uuidString):")
            try await body(ContractStore(url: url) { try LockBackends.backend(url: url) })
        case .redlock:
            let servers = try await RedlockServers.shared()
            try await Self.initialized.value
            let url = "\(servers.url)?prefix=\(UUID().uuidString):"
            try await body(ContractStore(url: url) { try LockBackends.backend(url: url) })
        case .zookeeper:
            let server = try await ZooKeeperServer.shared()
            let url =
                "\(server.url)/\(UUID().uuidString)?session-timeout=\(isCrashing ? self.crashLease.components.seconds : 10)s"
            try await body(ContractStore(url: url) { try LockBackends.backend(url: url) })
        }
    }
}

extension ContractBackend {
    /// The shared Redlock is opened once.
    private static let initialized = Task {
        try await LockBackends.initialize(url: LockURL(RedlockServers.shared().url))
    }
}

/// One store of locks, and ways to reach it.
struct ContractStore: Sendable {
    /// By which other processes reach it; `nil` if none can.
    let url: String?
    /// Another connection to it.
    let makeBackend: @Sendable () throws -> any LockBackend

    init(url: String?, makeBackend: @escaping @Sendable () throws -> any LockBackend) {
        self.url = url
        self.makeBackend = makeBackend
    }

    /// Runs clients that share no connection, for as long as the body runs.
    func withClients(
        _ count: Int,
        wrapping wrap: (any LockBackend) -> any LockBackend = { $0 },
        _ body: ([LockClient]) async throws -> Void
    ) async throws {
        let clients = try (0..<count).map { _ in
            LockClient(backend: wrap(try self.makeBackend()))
        }
        try await withRunning(clients, body)
    }

    func withClient(_ body: (LockClient) async throws -> Void) async throws {
        try await self.withClients(1) { try await body($0[0]) }
    }

    /// Runs a backend by itself, to be asked without a client.
    func withBackend(_ body: (any LockBackend, RecordedEvents) async throws -> Void) async throws {
        let backend = try self.makeBackend()
        let events = RecordedEvents()
        backend.start(delivering: events)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await backend.run() }
            do {
                try await body(backend, events)
            } catch {
                group.cancelAll()
                try? await group.waitForAll()
                throw error
            }
            group.cancelAll()
            try await group.waitForAll()
        }
    }
}

/// Claims for tests that ask a backend without a client.
enum Claims {
    static func make(_ name: LockName, attempt: UInt64, lease: Duration = .seconds(60)) -> LockClaim {
        var generator = SystemRandomNumberGenerator()
        return LockClaim(
            attempt: AttemptID(rawValue: attempt),
            name: name,
            owner: LockOwner(secret: LockOwner.Secret(using: &generator), metadata: .current()),
            lease: lease
        )
    }
}
