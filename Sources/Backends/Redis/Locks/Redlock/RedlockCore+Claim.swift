import DistributedLocks
import LockKernel
import RedisClient

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
        // What it is set to in the core's deadlines.
        var wakeup: Instant?
        var ending: Instant?
        var patience: Instant?

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

    /// One round of a claim. It takes the answers of all instances: their numbers are 2 · instance, and one more if the script
    /// was sent with its text.
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
        private let arguments: [ScriptArgument]
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
            self.arguments = arguments
            self.command = RedisScript.instanceAcquire.command(.byHash, key: claim.key, arguments, tailCount: 1)
        }

        /// Whether the instance may be asked: it is open, and has not granted the token and forgotten it.
        func mayAsk(_ instance: Instance) -> Bool {
            instance.machine.isOpen && self.machine.token > instance.machine.floor
        }

        func submit(to instance: Instance) {
            self.submit(self.command, to: instance, number: 2 * instance.index)
        }

        private func submit(_ command: RedisCommand, to instance: Instance, number: Int) {
            var command = command
            command.tail = instance.nodeArgument
            instance.client.submit(command, deadline: self.deadline, handler: self, number: number)
        }

        func completed(_ number: Int, _ outcome: Exchange) {
            let instance = self.core.instances[number / 2]
            // What has been taken back meanwhile must not come after that.
            if case .failure(let error) = outcome, error.serverCode == "NOSCRIPT", number % 2 == 0,
                self.claim.isOf(self), self.mayAsk(instance)
            {
                let withText = RedisScript.instanceAcquire.command(
                    .withText, key: self.claim.key, self.arguments, tailCount: 1
                )
                return self.submit(withText, to: instance, number: number + 1)
            }
            self.core.answered(instance, self, self.claim, outcome)
        }
    }
}
