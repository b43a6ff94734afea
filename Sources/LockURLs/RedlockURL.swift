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

    /// Makes one change of a Redlock that is in use: adds a member, removes one, or changes the longest lease or the clock skew.
    ///
    /// - Parameters:
    ///   - old: What the Redlock is now.
    ///   - new: What it is to be.
    /// - Returns: Which generation of the policy that is, and which instances do not have it yet, with the reason.
    /// - Throws: `LockError`: `invalidConfiguration` if it is not one step; `policyMismatch` if the Redlock is not what `old`
    ///   says; `noQuorum`, `unreachable` or `serverRefused` if it cannot be changed now.
    public static func change(
        from old: LockURL, to new: LockURL
    ) async throws(LockError) -> (generation: Int, lacking: [LockError.NodeFailure]) {
        try await RedlockBackend.change(from: RedlockConfiguration(url: old), to: RedlockConfiguration(url: new))
    }
}
