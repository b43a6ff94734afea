public import DistributedLocks
import RedisLocks

extension LockBackends {
    /// Prepares a backend that needs it: opens the instances of a new Redlock at once.
    ///
    /// - Throws: `LockError`: `invalidConfiguration` if the backend needs no preparation, or if an instance was used before
    ///   (then nothing is changed); `policyMismatch`; `unreachable` if not all instances can be reached.
    public static func initialize(url: LockURL) async throws(LockError) {
        guard let backend = try Self.backend(url: url) as? RedlockBackend else {
            throw LockURL.invalid("\(url.scheme): needs no preparation")
        }
        try await backend.initialize()
    }
}
