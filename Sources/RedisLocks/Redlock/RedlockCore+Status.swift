import DistributedLocks
import LockKernel
import NIOCore

/// What people ask.
extension RedlockCore {
    /// Asks all instances that can be reached the same thing.
    func askAll(
        _ script: RedisScript,
        key: String,
        _ arguments: [ScriptArgument],
        then: @escaping ([Result<RESPValue, LockError>]) -> Void
    ) {
        self.gather(
            { instance, done in
                self.submit(script, to: instance, key: key, arguments, deadline: self.deadline(nil)) { result in
                    done(result.map(\.value).mapError { LockError($0) })
                }
            }, then: then)
    }

    /// Lets all instances that can be reached do something, and waits for all of them.
    func gather<Value>(
        _ ask: (Instance, @escaping (Result<Value, LockError>) -> Void) -> Void,
        then: @escaping ([Result<Value, LockError>]) -> Void
    ) {
        var answers: [Result<Value, LockError>?] = Array(repeating: nil, count: self.instances.count)
        let now = self.now
        func answered(_ index: Int, _ answer: Result<Value, LockError>) {
            answers[index] = answer
            if answers.allSatisfy({ $0 != nil }) { then(answers.compactMap { $0 }) }
        }
        for instance in self.instances {
            guard instance.client.state.isConnected else {
                let reason = instance.reason(now: now) ?? "not connected"
                answered(instance.index, .failure(LockError(.unreachable, reason)))
                continue
            }
            ask(instance) { answered(instance.index, $0) }
        }
    }

    /// Waits until all instances have been reached or have turned out not to be, or the time for that is over.
    func whenSettled(_ body: @escaping () -> Void) {
        if self.isSettled { body() } else { self.settledWaiters.append(body) }
    }

    func status(of name: LockName, then: @escaping (Result<LockStatus, LockError>) -> Void) {
        let key: String
        do throws(LockError) {
            key = try self.key(of: name)
        } catch {
            return then(.failure(error))
        }
        self.askAll(.status, key: key, [.number(Int64(StatusReply.maximumWaiters))]) { answers in
            guard answers.count(where: { $0.isSuccess }) >= self.quorum else {
                return then(.failure(self.noQuorum(answers)))
            }
            // Who waits stands with the turn.
            self.askAll(.status, key: Self.turnKey(key), [.number(Int64(StatusReply.maximumWaiters))]) { turns in
                then(.success(self.status(of: name, key: key, answers, turns)))
            }
        }
    }

    func key(of name: LockName) throws(LockError) -> String {
        try self.configuration.server(self.configuration.servers[0]).key(of: name)
    }

    private func noQuorum<Value>(_ answers: [Result<Value, LockError>]) -> LockError {
        var nodes: [LockError.NodeFailure] = []
        var refusals = 0
        for (instance, answer) in zip(self.instances, answers) {
            guard case .failure(let error) = answer else { continue }
            if error.code == .serverRefused { refusals += 1 }
            nodes.append(LockError.NodeFailure(node: instance.name, message: error.message))
        }
        if refusals > self.instances.count - self.quorum {
            return LockError(.serverRefused, "too many instances refuse to tell", nodes: nodes)
        }
        return LockError(
            .noQuorum,
            "\(self.quorum) of \(self.policies.current.count) instances are needed, and fewer answered",
            nodes: nodes
        )
    }

    /// What most instances say; and what each of them says.
    private func status(
        of name: LockName, key: String, _ answers: [Result<RESPValue, LockError>],
        _ turns: [Result<RESPValue, LockError>]
    ) -> LockStatus {
        var byHolder: [String: [LockStatus]] = [:]
        var nodes: [LockStatus.Node] = []
        var lastToken: FencingToken?
        var obstacles: [LockStatus.Obstacle] = []
        let now = self.now
        for (instance, answer) in zip(self.instances, answers) {
            guard case .success(let value) = answer, let reply = StatusReply(value) else {
                var message = "its answer makes no sense"
                if case .failure(let error) = answer { message = error.message }
                nodes.append(LockStatus.Node(name: instance.name, state: message))
                continue
            }
            let one = reply.status(of: name, key: key)
            for obstacle in one.obstacles where !obstacles.contains(obstacle) { obstacles.append(obstacle) }
            let isReserved = OwnerText.isReserved(reply.holder)
            nodes.append(
                LockStatus.Node(
                    name: instance.name,
                    state: Self.text(one, isReserved: isReserved, closed: instance.machine.reason(now: now))
                )
            )
            lastToken = max(lastToken, one.lastToken)
            if !isReserved, one.holder != nil {
                byHolder[String(reply.holder.prefix(OwnerText.secretLength)), default: []].append(one)
            }
        }
        // One that has no quorum is not the holder: it tries, or it has failed a moment ago.
        let (owner, held) = byHolder.first { $0.value.count >= self.quorum } ?? (nil, nil)
        let queue = self.queue(of: name, key: key, holder: owner, turns)
        var holder = held?.first?.holder
        if let held, holder != nil {
            // It is held for as long as a quorum has it, a key that never ends the longest; with the token that they agree on.
            let ending = held.compactMap { $0.holder?.remainingLease }.sorted(by: >)
            let place = self.quorum - 1 - (held.count - ending.count)
            holder?.remainingLease = place >= 0 ? ending[place] : nil
            holder?.token = held.compactMap { $0.holder?.token }.max()
            holder?.isBroken = held.contains { $0.holder?.isBroken ?? false }
        }
        return LockStatus(
            name: name,
            holders: holder.map { [$0] } ?? [],
            waiters: queue.waiters,
            lastToken: lastToken,
            tokenDomain: .clock,
            nodes: nodes,
            waiterCount: queue.count,
            obstacles: obstacles
        )
    }

    /// Who waits, by the instance that knows of most. Who has the turn waits, unless the lock is its own; since when, no key says.
    ///
    /// - Parameter holder: what the lock's key says.
    private func queue(
        of name: LockName, key: String, holder: String?, _ turns: [Result<RESPValue, LockError>]
    ) -> (waiters: [LockStatus.Waiter], count: Int) {
        var most: (waiters: [LockStatus.Waiter], count: Int) = ([], 0)
        for answer in turns {
            guard case .success(let value) = answer, let reply = StatusReply(value) else { continue }
            let turn = reply.status(of: name, key: Self.turnKey(key))
            var queue = (waiters: turn.waiters, count: turn.waiterCount)
            if let owner = turn.holder, holder.map({ OwnerText.isOfSameClaim($0, reply.holder) }) != true {
                queue.waiters.insert(
                    LockStatus.Waiter(metadata: owner.metadata, waitingFor: nil), at: 0)
                queue.count += 1
            }
            if queue.count > most.count { most = queue }
        }
        return most
    }

    private func max(_ left: FencingToken?, _ right: FencingToken?) -> FencingToken? {
        guard let left, let right else { return left ?? right }
        return Swift.max(left, right)
    }

    private static func text(_ status: LockStatus, isReserved: Bool, closed: String?) -> String {
        var text = "free"
        if let holder = status.holder {
            let who = holder.metadata?.description ?? status.obstacles.first?.reason ?? "another program"
            text = isReserved ? "reserved for \(who)" : "held by \(who)"
            if let remaining = holder.remainingLease {
                text += ", for \(remaining.wholeMilliseconds) ms"
            }
        }
        if let token = status.lastToken { text += ", last token \(token)" }
        if let closed { text += " (\(closed))" }
        return text
    }

    /// The names of all locks that any instance knows.
    func names(then: @escaping (Result<[LockName], LockError>) -> Void) {
        let prefix = self.configuration.keyPrefix
        self.gather(
            { instance, done in
                self.scan(instance, cursor: "0", found: [], then: done)
            },
            then: { (answers: [Result<[String], LockError>]) in
                guard answers.count(where: { $0.isSuccess }) >= self.quorum else {
                    return then(.failure(self.noQuorum(answers)))
                }
                var names: Set<LockName> = []
                for case .success(let keys) in answers {
                    for key in keys
                    where !RedisLockConfiguration.reservedPrefixes.contains(where: { key.hasPrefix($0) }) {
                        if let name = try? LockName(String(key.dropFirst(prefix.count))) { names.insert(name) }
                    }
                }
                then(.success(names.sorted { $0.rawValue < $1.rawValue }))
            })
    }

    private func scan(
        _ instance: Instance,
        cursor: String,
        found: [String],
        then: @escaping (Result<[String], LockError>) -> Void
    ) {
        let pattern = RedisLockBackend.globEscaped(self.configuration.keyPrefix) + "*"
        self.send(RedisCommand("SCAN", cursor, "MATCH", pattern, "COUNT", "1000"), to: instance) { result in
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
        self.askAll(.instanceBreak, key: key, [.number(immediately ? 1 : 0)]) { answers in
            guard answers.count(where: { $0.isSuccess }) >= self.quorum else {
                return then(.failure(self.noQuorum(answers)))
            }
            let holders = answers.compactMap { try? $0.get().string }
            guard !holders.isEmpty else { return then(.success(.notHeld)) }
            // What a quorum has counts. Where nobody has one, it is one of our own that tries, if there is any.
            let bySecret = Dictionary(grouping: holders) { $0.prefix(OwnerText.secretLength) }
            let most = bySecret.values.first { $0.count >= self.quorum }?.first
            let holder = most ?? holders.first(where: OwnerText.isOurs) ?? holders[0]
            if immediately || OwnerText.isOurs(holder) {
                return then(.success(.broken(OwnerText.metadata(of: holder))))
            }
            self.status(of: name) { status in
                then(status.map { .cannotBeTold(remainingLease: $0.holder?.remainingLease) })
            }
        }
    }
}

extension Result {
    fileprivate var isSuccess: Bool {
        if case .success = self { true } else { false }
    }
}
