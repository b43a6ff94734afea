public import DistributedLocks

/// Runs a test with a lock client on a store of its own, in memory.
///
/// ```swift
/// @Test func `an item is sold once`() async throws {
///     try await withInMemoryLocks { locks, store in
///         let shop = Shop(locks: locks)
///         async let first = shop.sell(item: 42)
///         async let second = shop.sell(item: 42)
///         #expect(try await [first, second].filter { $0 }.count == 1)
///         #expect(store.isEmpty)
///     }
/// }
/// ```
///
/// The client's `run()` is under way while the body runs, and is cancelled after it. A ``ManualClock`` is set free then, so
/// that nothing waits for it.
///
/// - Parameters:
///   - clock: The clock of both the client and the store.
///   - configuration: The client's. Its clock is replaced by `clock`.
///   - store: The store, if it is not to be a new one. Its clock should be `clock`.
///   - isolation: Where the body runs. Leave it out.
///   - body: The test. It gets a client that runs, and the store, with which more clients can be made and faults scripted.
/// - Returns: What the body returned.
/// - Throws: What the body throws.
public func withInMemoryLocks<Success>(
    clock: any LockClock = SystemLockClock(),
    configuration: LockClient.Configuration = LockClient.Configuration(),
    store: InMemoryLockStore? = nil,
    isolation: isolated (any Actor)? = #isolation,
    body: (LockClient, InMemoryLockStore) async throws -> Success
) async throws -> Success {
    let store = store ?? InMemoryLockStore(clock: clock)
    var configuration = configuration
    configuration.clock = clock
    let locks = LockClient(backend: store.connect(), configuration: configuration)
    return try await withThrowingTaskGroup(of: Void.self, isolation: isolation) { group in
        group.addTask { try await locks.run() }
        // The body finds a client that runs, so that no timer of a call that waits for that confuses it.
        _ = try? await locks.statusOfAll()
        let result: Result<Success, any Error>
        do {
            result = .success(try await body(locks, store))
        } catch {
            result = .failure(error)
        }
        group.cancelAll()
        (clock as? ManualClock)?.runFreely()
        try await group.waitForAll(isolation: isolation)
        return try result.get()
    }
}

extension LockClient {
    /// The client's connection to its ``InMemoryLockStore``, for scripting faults. Only for clients of such a store.
    public var inMemoryBackend: InMemoryLockBackend {
        guard let backend = self.backend as? InMemoryLockBackend else {
            preconditionFailure("the client's backend is \(self.backend.identity), not an in-memory store")
        }
        return backend
    }
}
