public import DistributedLocks

extension RedlockBackend {
    /// All the scripts that this version uses on an instance.
    public static var scripts: [RedisLockScript] {
        RedisScript.allOfInstance.map { RedisLockScript(name: $0.name, hash: $0.hash, text: $0.text) }
    }

    /// Loads the scripts into all instances, for users who may call EVALSHA but not EVAL.
    ///
    /// A server forgets them when it restarts and by `SCRIPT FLUSH`: then they have to be loaded again. Call it while
    /// ``run()`` runs.
    ///
    /// - Throws: `LockError` `noQuorum` if an instance cannot be reached or refuses, with what each of them said.
    public func loadScripts() async throws(LockError) {
        let inquiries = self.inquiries
        try await self.ask { instances, then in
            inquiries(instances).loadScripts(RedisScript.allOfInstance[...]) { error in
                then(error.map { .failure($0) } ?? .success(()))
            }
        }
    }
}
