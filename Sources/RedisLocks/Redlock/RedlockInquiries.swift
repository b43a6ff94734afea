import DistributedLocks

/// What people ask. Lives on the event loop of the instances; what the answers say together, ``RedlockReports`` knows.
struct RedlockInquiries {
    let instances: any RedlockInstances
    let configuration: RedlockConfiguration

    func status(of name: LockName, then: @escaping (Result<LockStatus, LockError>) -> Void) {
        let key: String
        do throws(LockError) {
            key = try self.key(of: name)
        } catch {
            return then(.failure(error))
        }
        self.instances.askAll(.status, key: key, [.number(Int64(StatusReply.maximumWaiters))]) { answers in
            if let error = self.reports(answers).noQuorum { return then(.failure(error)) }
            // Who waits stands with the turn.
            self.instances.askAll(
                .status, key: RedlockTurn.key(key), [.number(Int64(StatusReply.maximumWaiters))]
            ) { turns in
                then(.success(self.reports(answers).status(of: name, key: key, turns)))
            }
        }
    }

    private func key(of name: LockName) throws(LockError) -> String {
        try self.configuration.server(self.configuration.servers[0]).key(of: name)
    }

    private func reports<Value>(_ answers: [Result<Value, LockError>]) -> RedlockReports<Value> {
        RedlockReports(standing: self.instances.standing, answers: answers)
    }

    /// The names of all locks that any instance knows.
    func names(then: @escaping (Result<[LockName], LockError>) -> Void) {
        let prefix = self.configuration.keyPrefix
        self.instances.gather(
            { instance, done in
                self.scan(instance, cursor: "0", found: [], then: done)
            },
            then: { (answers: [Result<[String], LockError>]) in
                let reports = self.reports(answers)
                then(reports.noQuorum.map { .failure($0) } ?? .success(reports.names(prefix: prefix)))
            })
    }

    private func scan(
        _ instance: InstanceStanding,
        cursor: String,
        found: [String],
        then: @escaping (Result<[String], LockError>) -> Void
    ) {
        let pattern = RedisLockBackend.globEscaped(self.configuration.keyPrefix) + "*"
        let command = RedisCommand("SCAN", cursor, "MATCH", pattern, "COUNT", "1000")
        self.instances.ask(command, of: instance.index) { result in
            switch result {
            case .failure(let error):
                then(.failure(LockError(error)))
            case .success(let reply):
                guard let parts = reply.value.elements, parts.count == 2, let next = parts[0].string,
                    let page = parts[1].elements
                else { return then(.failure(LockError(.serverRefused, "the answer to SCAN makes no sense"))) }
                let all = found + page.compactMap(\.validString)
                if next == "0" { return then(.success(all)) }
                self.scan(instance, cursor: next, found: all, then: then)
            }
        }
    }

    func breakLock(_ name: LockName, immediately: Bool, then: @escaping (Result<BreakReply, LockError>) -> Void) {
        let key: String
        do throws(LockError) {
            key = try self.key(of: name)
        } catch {
            return then(.failure(error))
        }
        self.instances.askAll(.instanceBreak, key: key, [.number(immediately ? 1 : 0)]) { answers in
            let reports = self.reports(answers)
            if let error = reports.noQuorum { return then(.failure(error)) }
            guard let holder = reports.brokenHolder else { return then(.success(.notHeld)) }
            if immediately || OwnerText.isOurs(holder) {
                return then(.success(.broken(OwnerText.metadata(of: holder))))
            }
            self.status(of: name) { status in
                then(status.map { .cannotBeTold(remainingLease: $0.holder?.remainingLease) })
            }
        }
    }

    /// Loads scripts into all instances.
    func loadScripts(_ scripts: ArraySlice<RedisScript>, then: @escaping (LockError?) -> Void) {
        guard let script = scripts.first else { return then(nil) }
        self.instances.gather(
            { instance, done in
                self.instances.ask(RedisCommand("SCRIPT", "LOAD", script.text), of: instance.index) { result in
                    done(result.map(\.value).mapError { LockError($0) })
                }
            },
            then: { (answers: [Result<RESPValue, LockError>]) in
                var nodes: [LockError.NodeFailure] = []
                for (instance, answer) in zip(self.instances.standing.instances, answers) {
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
