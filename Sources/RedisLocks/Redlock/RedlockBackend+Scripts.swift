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
        try await self.ask { core, then in
            core.loadScripts(RedisScript.allOfInstance[...]) { error in
                then(error.map { .failure($0) } ?? .success(()))
            }
        }
    }
}

extension RedlockCore {
    fileprivate func loadScripts(_ scripts: ArraySlice<RedisScript>, then: @escaping (LockError?) -> Void) {
        guard let script = scripts.first else { return then(nil) }
        self.gather(
            { instance, done in
                self.send(RedisCommand("SCRIPT", "LOAD", script.text), to: instance) { result in
                    done(result.map(\.value).mapError { LockError($0) })
                }
            },
            then: { (answers: [Result<RESPValue, LockError>]) in
                var nodes: [LockError.NodeFailure] = []
                for (instance, answer) in zip(self.instances, answers) {
                    switch answer {
                    case .success(let value) where value.string == script.hash: break
                    case .success:
                        nodes.append(
                            LockError.NodeFailure(
                                node: instance.name,
                                message: "it knows the script '\(script.name)' by another hash than it should"
                            )
                        )
                    case .failure(let error):
                        nodes.append(LockError.NodeFailure(node: instance.name, message: error.message))
                    }
                }
                guard nodes.isEmpty else {
                    return then(LockError(.noQuorum, "the scripts could not be loaded everywhere", nodes: nodes))
                }
                self.loadScripts(scripts.dropFirst(), then: then)
            })
    }
}
