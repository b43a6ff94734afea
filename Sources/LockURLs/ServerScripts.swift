public import DistributedLocks
import RedisLocks

/// A script that a backend runs on its servers.
public struct ServerScript: Sendable, Hashable {
    /// What it is for.
    public let name: String
    /// The SHA-1 by which the server knows it, in 40 hexadecimal digits.
    public let hash: String
    /// Its text.
    public let text: String
}

extension LockBackends {
    /// The scripts that this version runs on Redis servers.
    public static var serverScripts: [ServerScript] {
        let scripts =
            RedisLockBackend.scripts + RedlockBackend.scripts.filter { !RedisLockBackend.scripts.contains($0) }
        return scripts.map { ServerScript(name: $0.name, hash: $0.hash, text: $0.text) }
    }

    /// Loads the scripts into the servers that a URL names, for users who may not use EVAL.
    ///
    /// - Throws: `LockError`: `invalidConfiguration` if the backend runs no scripts; `unreachable`, `serverRefused`.
    public static func loadServerScripts(url: LockURL) async throws(LockError) {
        switch try Self.backend(url: url) {
        case let backend as RedisLockBackend:
            let running = Task { try await backend.run() }
            defer { running.cancel() }
            try await backend.loadScripts()
        case let backend as RedlockBackend:
            let running = Task { try await backend.run() }
            defer { running.cancel() }
            try await backend.loadScripts()
        default:
            throw LockURL.invalid("\(url.scheme): runs no scripts on a server")
        }
    }
}
