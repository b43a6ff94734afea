import DistributedLocks
import NIOCore

/// What a client asks the instances of a Redlock, as commands.
struct InstanceEncodings {
    typealias Request = RedlockMachine.Request

    /// What stands behind the secrets of this client's owners.
    private var suffixes: EncodedMetadata

    /// How many ticks a token may be ahead, by the script, if that is not said.
    private static let scriptsSkew: Int64 = 625_000

    init(client: String) {
        self.suffixes = EncodedMetadata { OwnerText.suffix(client: client, metadata: $0) }
    }

    mutating func command(_ request: Request) -> RedisCommand {
        switch request {
        case .lock(let proposal):
            // The instance's node follows.
            return RedisScript.instanceAcquire.command(key: proposal.key, self.arguments(proposal), tailCount: 1)
        case .release(let release):
            let script = release.what == .lock ? RedisScript.instanceRelease : RedisScript.cancel
            return script.command(key: release.key, [self.owner(release.owner, release.metadata)])
        case .renew(let renewal):
            return RedisScript.instanceRenew.command(
                key: renewal.key,
                [
                    self.owner(renewal.owner, renewal.metadata), .number(renewal.leaseInMilliseconds),
                    .text(renewal.policy),
                ])
        case .turn(let turn):
            return self.command(turn)
        case .introduction:
            return RedisCommand("INFO", "server", "replication", "memory")
        case .node(let node):
            return Self.command(node)
        case .nothing:
            return RedisScript.instanceRelease.command(key: "dlock.node", [.text("")])
        }
    }

    private mutating func owner(_ secret: LockOwner.Secret, _ metadata: OwnerMetadata) -> ScriptArgument {
        .owner(secret, suffix: self.suffixes.bytes(of: metadata))
    }

    private mutating func arguments(_ proposal: RedlockMachine.Proposal) -> [ScriptArgument] {
        var arguments = [
            self.owner(proposal.owner, proposal.metadata), .number(proposal.token),
            .number(proposal.leaseInMilliseconds),
        ]
        if proposal.told != nil || proposal.skew != Self.scriptsSkew { arguments.append(.number(proposal.skew)) }
        if let told = proposal.told { arguments.append(self.owner(told, proposal.metadata)) }
        return arguments
    }

    private mutating func command(_ turn: RedlockMachine.TurnRequest) -> RedisCommand {
        var arguments: [ScriptArgument] = [
            self.owner(turn.owner, turn.metadata), .number(turn.lease.wholeMilliseconds),
            .number(turn.registration.wholeMilliseconds),
        ]
        switch turn.what {
        case .ask(let maximumWaiters):
            arguments.append(.number(Int64(maximumWaiters)))
            return RedisScript.acquire.command(key: turn.key, arguments)
        case .keep:
            return RedisScript.touch.command(key: turn.key, arguments)
        }
    }

    /// How long an instance stays closed if it has restarted is what the policy says that it has, or gets, and not what this client
    /// does with less.
    static func command(_ node: RedlockMachine.NodeRequest) -> RedisCommand {
        var arguments: [ScriptArgument] = [
            .text(node.runID), .text(node.policy.text), .number(node.policy.closedTime.wholeMilliseconds),
            .number(node.policy.skew.ticks), .text(node.mode),
        ]
        if let change = node.change {
            arguments += [
                .text(change.expected), .number(change.floor), .number(change.delay.wholeMilliseconds),
            ]
        }
        return RedisScript.instanceNode.command(key: "dlock.node", arguments)
    }
}

extension RedlockMachine.Request {
    /// The instance's node is its last argument, which is another one for each.
    var endsWithNode: Bool {
        if case .lock = self { true } else { false }
    }
}
