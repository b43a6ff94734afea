import DistributedLocks
import Logging
import Moments
import NIOCore
import RESP
import RedisClient

extension RedlockCore {
    /// One instance, as this client sees it.
    final class Instance {
        let index: Int
        let name: String
        let client: RedisClient
        var machine = RedlockInstanceStateMachine()
        /// What has to be released there as soon as it can be reached: owners of rounds whose outcome is not known.
        var leftovers: [Leftover] = []
        /// What it is asked with every time, while it is open.
        var nodeArgument = ScriptArgument.text("")
        var floorArguments = ScriptArgument.number(0)
        /// How many times somebody has looked at it: late answers of earlier looks are of no interest.
        var looks = 0
        /// What was found, when nothing but looking was asked for.
        var found: InstanceNodeReply?
        /// A connection was lost, and it is not known yet that no other can be made.
        var isComingBack = false

        struct Leftover {
            let key: String
            let arguments: [ScriptArgument]
            /// The key has ended by then.
            let until: Instant
        }

        init(index: Int, name: String, client: RedisClient) {
            self.index = index
            self.name = name
            self.client = client
        }
    }

    /// More than this is not kept for an instance that cannot be reached: those keys end with their leases.
    static let maximumLeftovers = 10_000

    // MARK: Connections

    func connected(_ index: Int) {
        let instance = self.instances[index]
        instance.machine.connected()
        instance.isComingBack = true
        self.introduce(instance)
        // So that the server knows the script before it is needed: the text of a release that is not known would come after the
        // requests that were sent meanwhile. It releases nothing.
        self.submit(
            .instanceRelease, to: instance, key: "dlock.node", [.text(""), .number(1)], deadline: self.deadline(nil)
        ) { _ in }
        self.releaseLeftovers(of: instance)
        self.releasesChanged()
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
            instance.machine.lookFailed("its answer to INFO makes no sense", isRefusal: true, now: .now)
            return self.settled()
        }
        guard instance.machine.introduced(info, now: .now) else { return self.settled() }
        for other in self.instances where other !== instance && other.machine.runID == info.runID {
            // Unless the other one was that server before, and is another one now.
            guard other.client.state.isConnected else { continue }
            instance.machine.isTwin(of: other.name, now: .now)
            return self.settled()
        }
        self.look(instance)
    }

    /// Looks at the node of an instance.
    func look(_ instance: Instance) {
        instance.looks += 1
        let look = instance.looks
        self.askNode(of: instance, self.onlyLooks ? "look" : "check") { result in
            guard instance.looks == look else { return }
            self.looked(instance, result)
        }
    }

    /// - Parameter mode: what to do about the node: see Scripts/instance-node.lua.
    func askNode(of instance: Instance, _ mode: String, then: @escaping (Exchange) -> Void) {
        self.submit(
            .instanceNode,
            to: instance,
            key: "dlock.node",
            [
                .text(instance.machine.runID), .text(self.policy),
                .number(self.configuration.closedTime.wholeMilliseconds), .number(self.skew), .text(mode),
            ],
            deadline: self.deadline(nil),
            then: then
        )
    }

    private func looked(_ instance: Instance, _ result: Exchange) {
        let reply: RedisReply
        switch result {
        case .success(let success): reply = success
        case .failure(let error): return self.lookFailed(instance, error, calling: .instanceNode)
        }
        guard let node = InstanceNodeReply(reply.value) else {
            instance.machine.lookFailed("its answer makes no sense", isRefusal: true, now: .now)
            return self.settled()
        }
        instance.found = node
        self.times.told(node.time, by: instance.index, sentAt: reply.sent)
        if self.onlyLooks, node.node.isEmpty {
            instance.machine.foundNothing()
            return self.settled()
        }
        instance.machine.looked(node, policy: self.policy, now: .now)
        instance.nodeArgument = .encoded([.text(instance.machine.node)])
        instance.floorArguments = .encoded([.number(instance.machine.floor), .number(self.skew)])
        self.settled()
    }

    private func lookFailed(_ instance: Instance, _ error: RedisError, calling script: RedisScript? = nil) {
        let described = script.map { LockError(error, calling: $0) } ?? LockError(error)
        instance.machine.lookFailed(
            described.message,
            isRefusal: error.code == .refused && described.code == .serverRefused
                && !Self.passingRefusals.contains(error.serverCode ?? ""),
            now: .now
        )
        self.settled()
    }

    /// With these a server says that it cannot write at the moment, not that it must not be used.
    private static let passingRefusals: Set<String> = ["OOM", "MISCONF", "READONLY", "NOREPLICAS", "LOADING", "BUSY"]

    /// - Parameter wasConnected: a connection has ended; otherwise none could be made.
    func disconnected(_ index: Int, _ error: RedisError, wasConnected: Bool) {
        let instance = self.instances[index]
        instance.looks += 1
        instance.isComingBack = wasConnected
        instance.machine.disconnected(error.reason, isRefusal: error.code == .unusableServer)
        // Those who wait there keep their places: they are left when they are not needed any more.
        for claim in self.claims.values {
            self.perform(claim.machine.lost(index, gate: self.gate(of: claim)), for: claim)
        }
        self.settled()
        self.releasesChanged()
    }

    func pushed(_ elements: [RESPValue], from index: Int) {
        guard let message = InstanceMessage(elements) else { return }
        switch message {
        case .turn(let waiter, let fence, let key):
            guard let attempt = self.waiters[waiter.key], let claim = self.claims[attempt] else {
                // Nobody wants it any more: the next one is not to be kept waiting.
                let arguments: [ScriptArgument] = [.text(""), .number(1_000), .text(waiter.text)]
                return self.release(key, arguments, lease: .seconds(1), on: self.instances[index])
            }
            self.told(fence, to: claim)
            self.turn(claim, at: index)
        case .revoked(let owner):
            guard let claim = self.claims.values.first(where: { $0.owner.map(OwnerKey.init) == owner }) else { return }
            self.tell(.lost(claim.claim.attempt, .revoked))
        }
    }

    // MARK: Leftovers

    /// Releases on one instance what this client must not leave there. It is repeated until the instance has answered, or the
    /// lease is over.
    ///
    /// - Parameters:
    ///   - isKept: whether there may be something to release, if the instance cannot be reached now.
    ///   - then: what the instance answered; `nil`: nothing, or it cannot be reached now.
    func release(
        _ key: String,
        _ arguments: [ScriptArgument],
        lease: Duration,
        on instance: Instance,
        command: RedisCommand? = nil,
        isKept: Bool = true,
        then: @escaping (Int64?) -> Void = { _ in }
    ) {
        let leftover = Instance.Leftover(key: key, arguments: arguments, until: .now + lease)
        guard instance.client.state.isConnected else {
            if isKept { self.keep(leftover, for: instance) }
            return then(nil)
        }
        self.releasesOut += 1
        self.submit(
            .instanceRelease,
            to: instance,
            key: key,
            arguments,
            deadline: self.deadline(nil),
            command: command
        ) { result in
            defer {
                self.releasesOut -= 1
                self.releasesChanged()
            }
            switch result {
            case .success(let reply):
                self.answered(instance, reply)
                then(reply.value.int)
            case .failure:
                self.keep(leftover, for: instance)
                then(nil)
            }
        }
    }

    private func keep(_ leftover: Instance.Leftover, for instance: Instance) {
        let now = Instant.now
        if instance.leftovers.count >= Self.maximumLeftovers { instance.leftovers.removeAll { $0.until <= now } }
        guard instance.leftovers.count < Self.maximumLeftovers, leftover.until > now else { return }
        instance.leftovers.append(leftover)
    }

    private func releaseLeftovers(of instance: Instance) {
        let leftovers = instance.leftovers
        instance.leftovers = []
        let now = Instant.now
        for leftover in leftovers where leftover.until > now {
            self.release(leftover.key, leftover.arguments, lease: leftover.until - now, on: instance)
        }
    }
}

extension RedisClientState {
    var isConnected: Bool {
        if case .connected = self { true } else { false }
    }
}
