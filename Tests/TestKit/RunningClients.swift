package import DistributedLocks

/// Runs clients for as long as the body runs.
package func withRunning(
    _ clients: [LockClient], _ body: ([LockClient]) async throws -> Void
) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
        for client in clients { group.addTask { try await client.run() } }
        do {
            try await body(clients)
        } catch {
            group.cancelAll()
            try? await group.waitForAll()
            throw error
        }
        group.cancelAll()
        try await group.waitForAll()
    }
}
