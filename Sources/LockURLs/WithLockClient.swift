public import DistributedLocks

/// Runs a body with a client for the backend that a URL names, and stops the client afterwards.
///
/// For scripts and tests. A service adds a `LockClient` to its `ServiceGroup` instead.
///
/// ```swift
/// try await withLockClient("embedded:") { locks in
///     try await locks.withLock("nightly-report") { held in
///         try await report.write(fencingToken: held.token)
///     }
/// }
/// ```
///
/// The backend tells of its servers' troubles by the configuration's logger.
///
/// When the body has ended, whatever is still held is released within the client's shutdown timeout (2 s).
///
/// - Throws: `LockError` `invalidConfiguration` if the URL names no backend; what the body throws; what makes the
///   backend unable to go on. Cancelling the caller cancels the body.
public func withLockClient<Success>(
    _ url: String,
    configuration: LockClient.Configuration = LockClient.Configuration(),
    isolation: isolated (any Actor)? = #isolation,
    _ body: (LockClient) async throws -> Success
) async throws -> Success {
    let backend = try LockBackends.backend(url: url, logger: configuration.logger)
    return try await withLockClient(backend, configuration: configuration, body)
}

/// Runs a body with a client for a backend, and stops the client afterwards.
///
/// As ``withLockClient(_:configuration:isolation:_:)`` with a URL, for a backend that was made before.
///
/// - Throws: What the body throws; what makes the backend unable to go on. Cancelling the caller cancels the body.
public func withLockClient<Success>(
    _ backend: any LockBackend,
    configuration: LockClient.Configuration = LockClient.Configuration(),
    isolation: isolated (any Actor)? = #isolation,
    _ body: (LockClient) async throws -> Success
) async throws -> Success {
    let client = LockClient(backend: backend, configuration: configuration)
    let running = Task { try await client.run() }
    let result: Result<Success, any Error>
    do {
        result = .success(try await body(client))
    } catch {
        result = .failure(error)
    }
    running.cancel()
    let end = await running.result
    if case .success = result, case .failure(let error) = end { throw error }
    return try result.get()
}
