public import DistributedLocks
import LockTransport

/// What `dlock init` does.
extension RedlockBackend {
    /// Opens a first installation at once.
    ///
    /// Instances that were never used open by themselves when the longest lease is over: they could be instances that have
    /// lost their memory. This opens them now, if all of them can be reached and none of them was used before; otherwise it
    /// changes nothing. It connects by itself: do not call ``run()``.
    ///
    /// - Throws: `LockError` `invalidConfiguration` if one of them was used before, or cannot be an instance;
    ///   `policyMismatch`; `unreachable`.
    public func initialize() async throws(LockError) {
        try self.configuration.check(isInstallation: true)
        let configuration = self.configuration
        try await self.whileLooking { (instances, then: @escaping (Result<Void, LockError>) -> Void) in
            RedlockInstaller(instances: instances, configuration: configuration).initialize { error in
                then(error.map { .failure($0) } ?? .success(()))
            }
        }
    }

    /// Makes one change of a Redlock that is in use: adds a member, removes one, or changes the longest lease or the clock skew.
    ///
    /// Locks are granted meanwhile. Clients follow by themselves; they need the new list before the next change. The next change
    /// is refused until most members have had the present policy for as long as a lease lasts. It connects by itself. If it fails
    /// on the way, call it again with the same: it goes on.
    ///
    /// - Parameters:
    ///   - old: What the Redlock is now.
    ///   - new: What it is to be. How the servers are spoken to is taken from here.
    /// - Returns: Which generation of the policy that is, and which instances do not have it yet, with the reason.
    /// - Throws: `LockError`: `invalidConfiguration` if it is not one step; `policyMismatch` if the Redlock is not what `old`
    ///   says; `noQuorum`, `unreachable` or `serverRefused` if it cannot be changed now.
    public static func change(
        from old: RedlockConfiguration, to new: RedlockConfiguration
    ) async throws(LockError) -> (generation: Int, lacking: [LockError.NodeFailure]) {
        let roles = try RedlockStep.roles(from: old, to: new)
        var union = new
        union.servers = roles.map(\.address)
        let byName = Dictionary(uniqueKeysWithValues: roles.map { (RedlockConfiguration.text($0.address), $0.role) })
        let configuration = union
        let backend = try RedlockBackend(configuration: configuration)
        let (policy, lacking) = try await backend.whileLooking { instances, then in
            RedlockInstaller(instances: instances, configuration: configuration).change(
                from: old, to: new, roles: byName, then: then)
        }
        return (policy.generation, lacking)
    }

    /// Connects, and changes nothing on the instances but what the body does.
    private func whileLooking<Answer: Sendable>(
        _ body: @escaping @Sendable (any RedlockInstances, @escaping (Result<Answer, LockError>) -> Void) -> Void
    ) async throws(LockError) -> Answer {
        let running = Task { await self.run(onlyLooks: true) }
        let result: Result<Answer, LockError>
        do throws(LockError) {
            result = .success(try await self.ask(body))
        } catch {
            result = .failure(error)
        }
        running.cancel()
        _ = await running.result
        return try result.get()
    }
}
