import DistributedLocks
import Logging
import RedisLocks
import ServiceLifecycle
import UnixSignals

// The samples of README.md, compiled. `Tests/HouseTests` sees to it that the two are the same.

private actor Shop: Service {
    private let locks: LockClient?
    init(locks: LockClient? = nil) { self.locks = locks }
    func run() async throws {}
    func sell(item: Int, fencingToken: FencingToken) async throws {}
}

private enum FirstScreen {
    static func run(_ shop: Shop) async throws {
        let locks = LockClient(backend: try RedisLockBackend(url: "redis://127.0.0.1"))
        let running = Task { try await locks.run() }
        try await locks.withLock("inventory/42", waitingAtMost: .seconds(5)) { held in
            try await shop.sell(item: 42, fencingToken: held.token)
        }
        running.cancel()
    }
}

private enum InAService {
    static func run() async throws {
        let logger = Logger(label: "shop")
        let redis = try RedisLockConfiguration(url: LockURL("redis://127.0.0.1"))
        var configuration = LockClient.Configuration()
        configuration.logger = logger
        let locks = LockClient(
            backend: try RedisLockBackend(configuration: redis, logger: logger), configuration: configuration)
        let shop = Shop(locks: locks)
        let group = ServiceGroup(services: [locks, shop], gracefulShutdownSignals: [.sigterm], logger: logger)
        try await group.run()
    }
}
