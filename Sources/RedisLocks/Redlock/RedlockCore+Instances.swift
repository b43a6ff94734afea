import DistributedLocks
import LockKernel
import Logging
import NIOCore

extension RedlockCore {
    /// One instance, as this client sees it.
    final class Instance {
        let index: Int
        let name: String
        let client: RedisClient
        var machine = RedlockInstanceStateMachine()
        /// What has to be released there as soon as it can be reached: owners of rounds whose outcome is not known.
        var leftovers = Leftovers<Release>()
        /// The one of them that is tried again although the instance has refused it.
        var probe: Release?
        /// What it is asked with every time, while it is open: its node, as a bulk string.
        var nodeArgument = ByteBuffer()
        var isConnected = false
        /// What was logged of it last.
        var loggedRefusal: RedlockInstanceStateMachine.Refusal?
        /// It is being looked at whether it still has the policy that it had.
        var isConfirming = false
        /// How many times somebody has looked at it: late answers of earlier looks are of no interest.
        var looks = 0
        /// What was found when it was looked at last.
        var found: InstanceNodeReply?
        /// Before that was asked for, and when the answer had come.
        var lookedAt: BootInstant?
        var answeredAt: BootInstant?

        init(index: Int, name: String, client: RedisClient) {
            self.index = index
            self.name = name
            self.client = client
        }

        /// Why it cannot be asked now; `nil` if it can.
        func reason(now: BootInstant) -> String? {
            guard let reason = self.machine.reason(now: now) else { return nil }
            // As long as the first attempt goes on, the connection knows more.
            return self.machine.isUntried ? self.client.silence ?? reason : reason
        }
    }

    // MARK: Connections

    func connected(_ index: Int) {
        let instance = self.instances[index]
        instance.isConnected = true
        instance.machine.connected()
        self.introduce(instance)
        // So that the server knows the script before it is needed: the text of a release that is not known would come after the
        // requests that were sent meanwhile. It releases nothing.
        self.submit(
            .instanceRelease, to: instance, key: "dlock.node", [.text("")], deadline: self.deadline(nil)
        ) { _ in }
        self.releaseLeftovers(of: instance)
    }

    /// Asks an instance who it is.
    func introduce(_ instance: Instance) {
        instance.looks += 1
        let look = instance.looks
        self.send(RedisCommand("INFO", "server", "replication", "memory"), to: instance) { result in
            guard instance.looks == look else { return }
            self.introduced(instance, result)
        }
    }

    private func introduced(_ instance: Instance, _ result: Exchange) {
        let reply: RedisReply
        switch result {
        case .success(let success): reply = success
        case .failure(let error): return self.lookFailed(instance, error)
        }
        guard let info = InstanceInfo(reply.value) else {
            instance.machine.lookFailed("its answer to INFO makes no sense", isRefusal: true, now: self.now)
            return self.settled()
        }
        guard instance.machine.introduced(info, now: self.now) else { return self.settled() }
        for other in self.instances where other !== instance && other.machine.runID == info.runID {
            // Unless the other one was that server before, and is another one now.
            guard other.isConnected else { continue }
            instance.machine.isTwin(of: other.name, now: self.now)
            return self.settled()
        }
        self.look(instance)
    }

    /// Looks at the node of an instance.
    ///
    /// - Parameter policy: that it has, for all that is known; `nil`: the one that this client uses.
    func look(_ instance: Instance, as policy: RedlockPolicy? = nil) {
        let policy = policy ?? self.policies.current
        self.look(instance, self.onlyLooks ? "look" : "check", policy)
    }

    private func look(_ instance: Instance, _ mode: String, _ policy: RedlockPolicy, _ others: [ScriptArgument] = []) {
        instance.looks += 1
        let look = instance.looks
        self.askNode(of: instance, mode, policy, others) { result in
            guard instance.looks == look else { return }
            self.looked(instance, result, asked: policy)
        }
    }

    /// - Parameters:
    ///   - mode: what to do about the node: see Scripts/Lua/instance-node.lua.
    ///   - policy: that it has, or gets. How long it stays closed if it has restarted is what that says, and not what this client
    ///     does with less.
    func askNode(
        of instance: Instance, _ mode: String, _ policy: RedlockPolicy, _ others: [ScriptArgument] = [],
        then: @escaping (Exchange) -> Void
    ) {
        self.submit(
            .instanceNode,
            to: instance,
            key: "dlock.node",
            [
                .text(instance.machine.runID), .text(policy.text), .number(policy.closedTime.wholeMilliseconds),
                .number(policy.skew.ticks), .text(mode),
            ] + others,
            deadline: self.deadline(nil),
            then: then
        )
    }

    private func looked(_ instance: Instance, _ result: Exchange, asked: RedlockPolicy) {
        let reply: RedisReply
        switch result {
        case .success(let success): reply = success
        case .failure(let error): return self.lookFailed(instance, error, calling: .instanceNode)
        }
        guard let node = InstanceNodeReply(reply.value) else {
            instance.machine.lookFailed("its answer makes no sense", isRefusal: true, now: self.now)
            return self.settled()
        }
        instance.found = node
        instance.lookedAt = reply.sentAt
        instance.answeredAt = self.now
        self.times.told(node.time, by: instance.index, sentAt: reply.sentAt)
        if let theirs = instance.machine.looked(node, asked: asked, policies: self.policies, now: self.now) {
            return self.look(instance, as: theirs)
        }
        instance.nodeArgument.clear()
        instance.nodeArgument.writeRESPBulk(instance.machine.node)
        self.settled()
    }

    /// What is known of the policies of the instances.
    var sightings: [RedlockPolicyStateMachine.Sighting] {
        let now = self.now
        return self.instances.map {
            .init(
                kind: $0.machine.sighting, seenAt: $0.lookedAt ?? now, answeredAt: $0.answeredAt ?? now,
                floor: $0.machine.floor)
        }
    }

    /// The instances may have another policy than they had.
    func followPolicies() {
        if self.policies.saw(self.sightings) {
            let policy = self.policies.current
            self.use(policy)
            if policy.generation > 1 {
                self.logger.notice(
                    "the members or the policy of this Redlock were changed",
                    metadata: [
                        "redlock.generation": "\(policy.generation)", "redlock.members": "\(policy.count)",
                        "redlock.quorum": "\(policy.quorum)",
                    ])
            }
        }
        let now = self.now
        let hasQuorum = self.policies.isUsable
        for instance in self.instances {
            instance.machine.follow(self.policies.current, hasQuorum: hasQuorum, now: now)
            if instance.machine.isToBeJudgedAgain(by: self.policies) { self.introduce(instance) }
        }
    }

    /// A renewal found another policy than the one by which the lock is held.
    func hasAnotherPolicy(_ instance: Instance) {
        guard instance.machine.isOpen else { return }
        instance.machine.foundAnotherNode()
        self.look(instance)
    }

    /// Gives this client's policy to instances that have none, or an earlier one, if it is sure of it.
    func givePolicies() {
        guard self.wantsLocks, !self.onlyLooks, self.isSettled else { return }
        switch self.policies.gifts(self.sightings) {
        case .none: break
        case .look(let indices):
            for index in indices { self.confirm(self.instances[index]) }
        case .give(let gifts):
            let policy = self.policies.current
            for gift in gifts {
                let instance = self.instances[gift.instance]
                instance.machine.isGiven()
                if let expected = gift.expected {
                    let delay = expected.delay(of: policy).wholeMilliseconds
                    self.look(instance, "step", policy, [.text(expected.text), .number(gift.floor), .number(delay)])
                } else {
                    self.look(instance, "adopt", policy)
                }
            }
        }
    }

    /// Looks whether an instance still has the policy that it was seen to have. It goes on meanwhile.
    private func confirm(_ instance: Instance) {
        guard !instance.isConfirming else { return }
        instance.isConfirming = true
        let look = instance.looks
        self.askNode(of: instance, "look", self.policies.current) { result in
            instance.isConfirming = false
            guard instance.looks == look, case .success(let reply) = result, let node = InstanceNodeReply(reply.value)
            else { return }
            guard node.policy == instance.machine.policy?.text, !node.isRemoved else {
                instance.machine.foundAnotherNode()
                instance.machine.looksAgain()
                return self.look(instance)
            }
            instance.lookedAt = reply.sentAt
            self.settled()
        }
    }

    /// Once for each instance, until something else is wrong with it.
    func logRefusals() {
        for instance in self.instances {
            guard let refusal = instance.machine.refusal, refusal != instance.loggedRefusal else { continue }
            instance.loggedRefusal = refusal
            self.logger.warning(
                "an instance cannot be used",
                metadata: ["redlock.instance": "\(instance.name)", "redlock.reason": "\(refusal.reason)"])
        }
    }

    private func lookFailed(_ instance: Instance, _ error: RedisError, calling script: RedisScript? = nil) {
        let described = script.map { LockError(error, calling: $0) } ?? LockError(error)
        instance.machine.lookFailed(
            described.message,
            isRefusal: error.code == .refused && described.code == .serverRefused
                && !error.isPassingRefusal,
            now: self.now
        )
        self.settled()
    }

    /// A connection has ended, or none could be made.
    func disconnected(_ index: Int, _ error: RedisError) {
        let instance = self.instances[index]
        instance.looks += 1
        instance.isConnected = false
        instance.machine.disconnected(error.reason, isRefusal: error.code == .unusableServer)
        self.cannotBeAsked(index)
    }

    /// What an instance has not done, it may not do for others either.
    func heard(_ error: RedisError, from instance: Instance) {
        if error.code == .outcomeUnknown {
            instance.machine.wasLate()
            // The connection may lead nowhere, while a new one would not.
            instance.client.reconnectIfSilent(for: max(self.configuration.instanceTimeout, Self.shortestSilence))
        }
        self.refused(error, by: instance)
        // A master no more: the next connection finds out what it is.
        if error.isNoMaster, let connection = error.connection {
            instance.client.reconnect(connection, error)
        }
    }

    private static let shortestSilence: Duration = .milliseconds(250)

    /// An instance that answers and refuses is done without until it does again what it is asked.
    private func refused(_ error: RedisError, by instance: Instance) {
        let isPassing = error.isPassingRefusal
        // One that refuses for good is told of where there is no quorum without it.
        guard isPassing || error.isPermission && self.openCount > self.quorum,
            instance.machine.refusedToWrite(LockError(error).message, isPassing: isPassing, now: self.now)
        else { return }
        self.logger.warning(
            "an instance refuses what it is asked; it is done without until it does not",
            metadata: ["redlock.instance": "\(instance.name)", "redis.error": "\(error.message)"])
        // Not in the middle of what was answered.
        let core = NIOLoopBound(self, eventLoop: self.eventLoop)
        let index = instance.index
        self.eventLoop.execute { core.value.cannotBeAsked(index) }
    }

    /// Those who wait there go elsewhere. They keep their places: they are left when they are not needed any more.
    private func cannotBeAsked(_ index: Int) {
        for attempt in self.claims.keys.sorted() {
            guard let claim = self.claims[attempt] else { continue }
            self.perform(claim.machine.lost(index, gate: self.gate(of: claim)), for: claim)
        }
        self.settled()
    }

    func pushed(_ elements: [RESPValue], from index: Int) {
        guard let message = InstanceMessage(elements) else { return }
        switch message {
        case .turn(let owner, let time):
            guard let attempt = self.waiters[owner], let claim = self.claims[attempt] else { return }
            // Who had it before took its lock before that.
            self.told(time, to: claim)
            self.hasTurn(claim, at: index)
        case .freed(let owner, let fence):
            guard let attempt = self.waiters[owner], let claim = self.claims[attempt] else { return }
            self.told(fence, to: claim)
            self.freed(claim, at: index)
        case .broken(let owner):
            guard let claim = self.claims.values.first(where: { $0.owner == owner }) else { return }
            self.leaveTurnOfLost(claim)
            self.tell(.lost(claim.claim.attempt, .broken))
        }
    }
}

extension RedisClientState {
    var isConnected: Bool {
        if case .connected = self { true } else { false }
    }
}
