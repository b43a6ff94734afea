import DistributedLocks
import LockKernel

/// What `dlock init` does: the first installation, and each change of it. Lives on the event loop of the instances.
struct RedlockInstaller {
    let instances: any RedlockInstances
    let configuration: RedlockConfiguration

    /// Opens instances that were never used, at once; changes nothing if one of them was.
    func initialize(then: @escaping (LockError?) -> Void) {
        if let refusal = self.instances.refusal { return then(refusal) }
        let policy = self.configuration.policy
        for instance in self.instances.standing.instances {
            guard instance.isConnected, let found = instance.found else {
                let reason = instance.reason ?? "no answer"
                return then(
                    LockError(.unreachable, "all instances are needed, and \(instance.name) cannot be used: \(reason)")
                )
            }
            guard found.wasNeverOpen else {
                return then(
                    LockError(
                        .invalidConfiguration,
                        "the instance \(instance.name) has been used before, and nothing was changed: "
                            + "an instance that has restarted or is new opens by itself after the longest lease "
                            + "(\(self.configuration.longestLease.brief))"
                    )
                )
            }
            guard found.node.isEmpty || found.policy == policy.text else {
                return then(
                    LockError(.policyMismatch, "the instance \(instance.name) was set up by another client meanwhile"))
            }
        }
        self.instances.gather(
            { instance, done in
                self.instances.askNode(of: instance, "init", policy) { result in
                    done(result.map(\.value).mapError { LockError($0) })
                }
            },
            then: { (answers: [Result<RESPValue, LockError>]) in
                for (instance, answer) in zip(self.instances.standing.instances, answers) {
                    switch answer {
                    case .failure(let error):
                        return then(LockError(error.code, "the instance \(instance.name): \(error.message)"))
                    case .success(let value):
                        guard let reply = InstanceNodeReply(value), reply.policy == policy.text, reply.opensIn == .zero
                        else {
                            return then(
                                LockError(
                                    .serverRefused, "the instance \(instance.name) was used by another client meanwhile"
                                )
                            )
                        }
                    }
                }
                then(nil)
            })
    }

    // MARK: Changes

    /// Makes one change of the policy. The instances of both lists are this backend's.
    ///
    /// - Parameters:
    ///   - roles: what each of them is, by its name.
    ///   - then: gets the policy, and which instances do not have it, with the reason.
    func change(
        from old: RedlockConfiguration,
        to new: RedlockConfiguration,
        roles: [String: RedlockStep.Role],
        then: @escaping (Result<(RedlockPolicy, [LockError.NodeFailure]), LockError>) -> Void
    ) {
        var sightings: [RedlockStep.Sighting] = []
        for instance in self.instances.standing.instances {
            if let refusal = instance.refusal, refusal.isOfWholeSet, !refusal.isPolicy {
                return then(.failure(LockError(.serverRefused, "the instance \(instance.name): \(refusal.reason)")))
            }
            sightings.append(
                RedlockStep.Sighting(
                    name: instance.name,
                    role: roles[instance.name] ?? .stays,
                    found: instance.isConnected ? instance.found : nil,
                    reason: instance.reason ?? "no answer"
                ))
        }
        let step: RedlockStep
        do throws(LockError) {
            step = try RedlockStep(from: old, to: new, sightings)
        } catch {
            return then(.failure(error))
        }
        self.carryOut(step, from: 0, [:]) { results in
            do throws(LockError) {
                then(.success((step.policy, try step.lacking(sightings, results))))
            } catch {
                then(.failure(error))
            }
        }
    }

    /// - Parameter results: of the writes before, by the index of the instance; `nil`: it has the policy.
    private func carryOut(
        _ step: RedlockStep, from number: Int, _ results: [Int: String?], then: @escaping ([Int: String?]) -> Void
    ) {
        guard number < step.writes.count, step.goesOn(after: results) else { return then(results) }
        let write = step.writes[number]
        let instance = self.instances.standing.instances[write.instance]
        let change = RedlockMachine.NodeRequest.Change(
            expected: write.expected, floor: step.floor, delay: step.delay(of: write))
        self.instances.askNode(of: instance, write.mode.rawValue, step.policy, change) { result in
            let problem: String?
            switch result {
            case .failure(let error): problem = LockError(error, calling: .instanceNode).message
            case .success(let reply):
                let isDone = InstanceNodeReply(reply.value)?.policy == step.policy.text
                problem = isDone ? nil : "it was changed by another client meanwhile"
            }
            var results = results
            results[write.instance] = .some(problem)
            self.carryOut(step, from: number + 1, results, then: then)
        }
    }
}
