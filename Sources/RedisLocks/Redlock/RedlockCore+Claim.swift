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
        /// The instances in whose queue it may stand, or that may have reserved the lock for it.
        var registered: Set<Int> = []
        /// It has been in a queue, so messages may name it.
        var isWaiter = false
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

        /// For how long the lock is reserved for the one whose turn it is. `nil`: as long as the scripts do by themselves.
        var reservation: ScriptArgument? {
            self.leaseInMilliseconds < 1_000 ? .number(self.leaseInMilliseconds) : nil
        }
    }

    /// One round of a claim. It takes the answers of all instances, by their indices.
    ///
    /// Made and called on the event loop only.
    final class Round: RedisOutcomeHandler, @unchecked Sendable {
        var machine: RedlockRoundStateMachine
        let owner: LockOwner.Secret
        /// When the instances must have answered.
        let deadline: Instant
        let hasTurn: Bool
        /// It is put into an instance's queue where it is refused. The others go to the gate.
        let isQueued: Bool
        // The core has the clients, whose requests have this. All of those have ended before it is gone.
        private unowned let core: RedlockCore
        /// Whose round this is. Until it is forgotten, the claim has the round, too.
        private let claim: Claim
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
            self.hasTurn = hasTurn
            self.core = core
            self.isQueued = hasTurn && claim.machine.joinsQueue
            var arguments = [
                core.owner(owner, of: claim.claim), .number(machine.token), .number(claim.leaseInMilliseconds),
            ]
            if self.isQueued || core.skew != Self.scriptsSkew { arguments.append(.number(core.skew)) }
            if self.isQueued {
                arguments += [
                    core.owner(claim.claim.owner.secret, of: claim.claim),
                    .number(WaitingStateMachine.registration(lease: claim.claim.lease).wholeMilliseconds),
                    .number(Int64(core.configuration.maximumWaitersPerLock)),
                ]
            }
            self.command = RedisScript.instanceAcquire.command(key: claim.key, arguments, tailCount: 1)
        }

        /// Whether the instance may be asked: it is open, and has not granted the token and forgotten it.
        func mayAsk(_ instance: Instance) -> Bool {
            instance.machine.isOpen && self.machine.token > instance.machine.floor
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
