import DistributedLocks
import LockURLs

/// Runs a client on a server, or on a proxy before it.
func withLocks<Success>(
    _ url: String,
    isolation: isolated (any Actor)? = #isolation,
    _ body: (LockClient) async throws -> Success
) async throws -> Success {
    try await withLockClient(url, body)
}
