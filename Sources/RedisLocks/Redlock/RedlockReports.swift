import DistributedLocks

/// What the instances of a Redlock have answered to what people ask, and what it says together. Pure.
struct RedlockReports<Value> {
    typealias Answer = Result<Value, LockError>

    let standing: RedlockStanding
    /// In the order of the instances.
    let answers: [Answer]

    var values: [Value] { self.answers.compactMap { try? $0.get() } }

    /// Why too few have answered; `nil` if a quorum has.
    var noQuorum: LockError? {
        var nodes: [LockError.NodeFailure] = []
        var refusals = 0
        for (instance, answer) in zip(self.standing.instances, self.answers) {
            guard case .failure(let error) = answer else { continue }
            if error.code == .serverRefused { refusals += 1 }
            nodes.append(LockError.NodeFailure(node: instance.name, message: error.message))
        }
        if self.answers.count - nodes.count >= self.standing.quorum { return nil }
        // With a list that is shorter than a quorum is, nobody has to refuse for that.
        if refusals > Swift.max(0, self.standing.instances.count - self.standing.quorum) {
            return LockError(.serverRefused, "too many instances refuse to tell", nodes: nodes)
        }
        return LockError(
            .noQuorum,
            "\(self.standing.quorum) of \(self.standing.memberCount) instances are needed, and fewer answered",
            nodes: nodes
        )
    }
}

extension RedlockReports<RESPValue> {
    /// What most instances say of a lock; and what each of them says.
    ///
    /// - Parameter turns: what they say of its turn, with which those stand who wait.
    func status(of name: LockName, key: String, _ turns: [Answer]) -> LockStatus {
        var byHolder: [String: [LockStatus]] = [:]
        var nodes: [LockStatus.Node] = []
        var lastToken: FencingToken?
        var obstacles: [LockStatus.Obstacle] = []
        for (instance, answer) in zip(self.standing.instances, self.answers) {
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
                    state: Self.text(one, isReserved: isReserved, closed: instance.closed)
                )
            )
            lastToken = Self.max(lastToken, one.lastToken)
            if !isReserved, one.holder != nil {
                byHolder[String(reply.holder.prefix(OwnerText.secretLength)), default: []].append(one)
            }
        }
        // One that has no quorum is not the holder: it tries, or it has failed a moment ago.
        let (owner, held) = byHolder.first { $0.value.count >= self.standing.quorum } ?? (nil, nil)
        let queue = Self.queue(of: name, key: key, holder: owner, turns)
        return LockStatus(
            name: name,
            holders: held.flatMap(self.holder).map { [$0] } ?? [],
            waiters: queue.waiters,
            lastToken: lastToken,
            tokenDomain: .clock,
            nodes: nodes,
            waiterCount: queue.count,
            obstacles: obstacles
        )
    }

    /// It is held for as long as a quorum has it, a key that never ends the longest; with the token that they agree on.
    private func holder(_ held: [LockStatus]) -> LockStatus.Holder? {
        guard var holder = held.first?.holder else { return nil }
        let ending = held.compactMap { $0.holder?.remainingLease }.sorted(by: >)
        let place = self.standing.quorum - 1 - (held.count - ending.count)
        holder.remainingLease = place >= 0 ? ending[place] : nil
        holder.token = held.compactMap { $0.holder?.token }.max()
        holder.isBroken = held.contains { $0.holder?.isBroken ?? false }
        return holder
    }

    /// Who waits, by the instance that knows of most. Who has the turn waits, unless the lock is its own; since when, no key says.
    ///
    /// - Parameter holder: what the lock's key says.
    private static func queue(
        of name: LockName, key: String, holder: String?, _ turns: [Answer]
    ) -> (waiters: [LockStatus.Waiter], count: Int) {
        var most: (waiters: [LockStatus.Waiter], count: Int) = ([], 0)
        for answer in turns {
            guard case .success(let value) = answer, let reply = StatusReply(value) else { continue }
            let turn = reply.status(of: name, key: RedlockTurn.key(key))
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

    private static func max(_ left: FencingToken?, _ right: FencingToken?) -> FencingToken? {
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

    /// What the lock's key says of its holder; `nil`: nobody has it.
    var brokenHolder: String? {
        let holders = self.values.compactMap(\.string)
        guard !holders.isEmpty else { return nil }
        // What a quorum has counts. Where nobody has one, it is one of our own that tries, if there is any.
        let bySecret = Dictionary(grouping: holders) { $0.prefix(OwnerText.secretLength) }
        let most = bySecret.values.first { $0.count >= self.standing.quorum }?.first
        return most ?? holders.first(where: OwnerText.isOurs) ?? holders[0]
    }
}

extension RedlockReports<[String]> {
    /// The names of all locks that any instance has keys of.
    func names(prefix: String) -> [LockName] {
        var names: Set<LockName> = []
        for keys in self.values {
            for key in keys
            where !RedisLockConfiguration.reservedPrefixes.contains(where: { key.hasPrefix($0) }) {
                if let name = try? LockName(String(key.dropFirst(prefix.count))) { names.insert(name) }
            }
        }
        return names.sorted { $0.rawValue < $1.rawValue }
    }
}
