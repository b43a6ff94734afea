import DistributedLocks
import LockKernel
import NIOCore

extension RedlockCore {
    /// One claim.
    final class Claim {
        let claim: LockClaim
        let key: String
        /// The first instance in the order in which those who want the lock look for a gate.
        let home: Int
        let leaseInMilliseconds: Int64
        var machine: RedlockClaimStateMachine
        var request: RequestContinuation?
        var round: Round?
        /// Whose key it is, when it is held.
        var owner: LockOwner.Secret? { self.won?.owner }
        var grant: LockGrant?
        /// The round that was granted.
        var won: Round?
        /// The next token has to be above this.
        var lowestToken: Int64 = 0
        /// The instances that it has asked for the turn.
        var askedForTurn: Set<Int> = []
        /// It has asked for a turn, so messages may name it.
        var isWaiter = false
        /// Until when others may hold the lock, by what instances said in the last round.
        var heldByOthersUntil: Instant?
        /// When it looked last whether the lock is free, or began to wait.
        var lookedAt: Instant?
        /// Until when it is held.
        var validUntil: Instant?
        var holder = ""
        /// Why instances were of no use in the last round.
        var failures: [(instance: Int, reason: String)] = []
        var times = ClaimTimers.Times()

        /// - Parameter instanceCount: how many instances there are.
        init(claim: LockClaim, key: String, joinsQueue: Bool, instanceCount: Int) {
            self.claim = claim
            self.key = key
            self.home = Int(StableHash.fnv1a(key.utf8) % UInt64(instanceCount))
            self.leaseInMilliseconds = claim.lease.wholeMilliseconds
            self.machine = RedlockClaimStateMachine(joinsQueue: joinsQueue)
        }

        /// The lock that is the turn: see Scripts/Lua/instance-common.lua.
        var turnKey: String { RedlockCore.turnKey(self.key) }

        /// The lease of the turn. Who dies with it keeps the others waiting for no longer.
        var turnLease: Duration { min(max(self.claim.lease, .milliseconds(200)), .seconds(1)) }
    }

    /// One round of a claim. It takes the answers of all instances, by their indices.
    ///
    /// Made and called on the event loop only.
    final class Round: RedisOutcomeHandler, @unchecked Sendable {
        var machine: RedlockRoundStateMachine
        let owner: LockOwner.Secret
        /// When the instances must have answered.
        let deadline: Instant
        /// The claim has the turn: where the lock is held, the instance tells it when that is over.
        let isTold: Bool
        // The core has the clients, whose requests have this. All of those have ended before it is gone.
        private unowned let core: RedlockCore
        /// Whose round this is. Until it is forgotten, the claim has the round, too.
        private let claim: Claim
        /// The policy that was used when it began: what instances of different generations grant is not counted together.
        private let policyNumber: Int
        /// What all instances are asked, but for the node.
        private let command: RedisCommand

        /// How many ticks a token may be ahead, by the script, if that is not said.
        private static let scriptsSkew: Int64 = 625_000

        init(
            _ machine: RedlockRoundStateMachine,
            of claim: Claim,
            owner: LockOwner.Secret,
            deadline: Instant,
            hasTurn: Bool,
            core: RedlockCore
        ) {
            self.machine = machine
            self.claim = claim
            self.owner = owner
            self.deadline = deadline
            self.core = core
            self.isTold = hasTurn
            self.policyNumber = core.policyNumber
            var arguments = [
                core.owner(owner, of: claim.claim), .number(machine.token), .number(claim.leaseInMilliseconds),
            ]
            if self.isTold || core.skew != Self.scriptsSkew { arguments.append(.number(core.skew)) }
            if self.isTold {
                arguments.append(core.owner(claim.claim.owner.secret, of: claim.claim))
            }
            self.command = RedisScript.instanceAcquire.command(key: claim.key, arguments, tailCount: 1)
        }

        /// Whether the instance may be asked: it is open, by the policy of the round, and has not granted the token and forgotten it.
        func mayAsk(_ instance: Instance) -> Bool {
            instance.machine.isOpen && self.machine.token > instance.machine.floor
                && self.policyNumber == self.core.policyNumber
        }

        func submit(to instance: Instance) {
            instance.client.submit(
                self.command, tail: instance.nodeArgument, deadline: self.deadline, handler: self,
                number: instance.index)
        }

        /// What has been taken back meanwhile must not come after that.
        func isWanted(_ index: Int) -> Bool { self.claim.isOf(self) && self.mayAsk(self.core.instances[index]) }

        func tail(_ index: Int) -> ByteBuffer? { self.core.instances[index].nodeArgument }

        func completed(_ index: Int, _ outcome: Exchange) {
            self.core.answered(self.core.instances[index], self, self.claim, outcome)
        }
    }
}
