public import DistributedLocks
import RedisLocks

extension LockBackends {
    /// Makes the epochs of a master's Sentinels outrank those that its data has seen: the cure for `DLOCKEPOCH`, which
    /// locks are refused with after the Sentinels were set up anew.
    ///
    /// No failover is needed, and no holder loses a lock. See `raiseEpoch()` of `RedisLockBackend`, and
    /// docs/sentinel.md.
    ///
    /// - Parameter url: a `redis+sentinel:` or `rediss+sentinel:` URL that names all the Sentinels.
    /// - Returns: the Sentinels' epoch from now on.
    /// - Throws: `LockError` `invalidConfiguration` if the URL names no Sentinels; `unreachable` if not all of them can be
    ///   reached, agree where the master is, and see no failover; `serverRefused`.
    @discardableResult
    public static func raiseEpoch(url: LockURL) async throws(LockError) -> Int64 {
        let backend = try Self.backend(url: url)
        guard url.scheme.hasSuffix("+sentinel"), let backend = backend as? RedisLockBackend else {
            throw LockURL.invalid("\(url.scheme): has no Sentinels, and so no epoch to raise")
        }
        let running = Task { try await backend.run() }
        defer { running.cancel() }
        return try await backend.raiseEpoch()
    }
}
