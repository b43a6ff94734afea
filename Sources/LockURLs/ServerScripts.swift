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
        let ofOneMaster = RedisLockBackend.scripts
        return Self.public(ofOneMaster + RedlockBackend.scripts.filter { !ofOneMaster.contains($0) })
    }

    private static func `public`(_ scripts: [RedisLockScript]) -> [ServerScript] {
        scripts.map { ServerScript(name: $0.name, hash: $0.hash, text: $0.text) }
    }

    /// Loads the scripts into the servers that a URL names, for users who may not use EVAL.
    ///
    /// - Returns: what was loaded: the scripts that this backend runs.
    /// - Throws: `LockError`: `invalidConfiguration` if the backend runs no scripts; `unreachable`, `serverRefused`, `noQuorum`.
    @discardableResult
    public static func loadServerScripts(url: LockURL) async throws(LockError) -> [ServerScript] {
        switch try Self.backend(url: url) {
        case let backend as RedisLockBackend:
            let running = Task { try await backend.run() }
            defer { running.cancel() }
            try await backend.loadScripts()
            return Self.public(RedisLockBackend.scripts)
        case let backend as RedlockBackend:
            let running = Task { try await backend.run() }
            defer { running.cancel() }
            try await backend.loadScripts()
            return Self.public(RedlockBackend.scripts)
        default:
            throw LockURL.invalid("\(url.scheme): runs no scripts on a server")
        }
    }
}
