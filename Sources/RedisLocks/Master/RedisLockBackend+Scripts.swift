public import DistributedLocks

/// A Lua script that lock users call by its hash.
public struct RedisLockScript: Sendable, Hashable {
    /// What it is for: `acquire`, `release`, `renew`, `touch`, `cancel`, `break`, `status`.
    public let name: String
    /// The SHA-1 by which the server knows it, in 40 hexadecimal digits.
    public let hash: String
    /// Its text.
    public let text: String
}

extension RedisLockBackend {
    /// All the scripts that this version uses.
    public static var scripts: [RedisLockScript] {
        RedisScript.all.map { RedisLockScript(name: $0.name, hash: $0.hash, text: $0.text) }
    }

    /// Loads the scripts into the server, for users who may call EVALSHA but not EVAL.
    ///
    /// A server forgets them when it restarts and by `SCRIPT FLUSH`: then they have to be loaded again. Call it while
    /// ``run()`` runs.
    ///
    /// - Throws: `LockError` `unreachable`, `serverRefused` (without permission for SCRIPT LOAD), `outcomeUnknown`.
    public func loadScripts() async throws(LockError) {
        for script in RedisScript.all {
            let reply = try await self.ask(
                RedisCommand("SCRIPT", "LOAD", script.text), deadline: self.deadline(nil))
            guard reply.value.string == script.hash else {
                throw LockError(
                    .serverRefused,
                    "the server knows the script '\(script.name)' by another hash than it should"
                )
            }
        }
    }

    /// Tells which scripts the server does not know.
    ///
    /// - Throws: `LockError` as ``loadScripts()``.
    public func missingScripts() async throws(LockError) -> [RedisLockScript] {
        let reply = try await self.ask(
            RedisCommand(["SCRIPT", "EXISTS"] + Self.scripts.map(\.hash)), deadline: self.deadline(nil))
        guard let known = reply.value.elements, known.count == Self.scripts.count else {
            throw LockError(.serverRefused, "the server's answer to SCRIPT EXISTS makes no sense")
        }
        return zip(Self.scripts, known).filter { $1.int != 1 }.map { $0.0 }
    }
}
