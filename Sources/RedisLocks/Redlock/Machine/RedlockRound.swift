import DistributedLocks
import LockKernel

/// What a claim is, whatever becomes of it.
struct ClaimIdentity: Sendable {
    let id: RedlockMachine.ClaimID
    let claim: LockClaim
    let key: String
    /// The first instance in the order in which those who want the lock look for a gate.
    let home: Int
    let leaseInMilliseconds: Int64

    /// - Parameter instanceCount: how many instances there are.
    init(_ id: RedlockMachine.ClaimID, _ claim: LockClaim, key: String, instanceCount: Int) {
        self.id = id
        self.claim = claim
        self.key = key
        // In place: byte by byte a string takes ten times as long.
        var text = key
        self.home = text.withUTF8 { Int(StableHash.fnv1a($0) % UInt64(instanceCount)) }
        self.leaseInMilliseconds = claim.lease.wholeMilliseconds
    }

    var attempt: AttemptID { self.id.attempt }
}

/// One round of a claim: its ``RedlockRoundStateMachine``, and what it asks the instances with. A part of ``RedlockClaim``. Pure.
struct RedlockRound {
    typealias Instant = BootInstant
    typealias Action = RedlockRoundStateMachine.Action

    /// What an instance has said to a round.
    enum Said {
        case granted
        /// Anything else.
        case replied(InstanceAcquireReply)
        /// No answer that helps.
        case failed(String)
        /// The server refuses it, and goes on refusing until somebody changes something.
        case refused(String)

        var told: RedlockRoundStateMachine.Told? {
            if case .replied(let reply) = self { reply.told } else { nil }
        }

        /// - Parameter isTold: a busy instance tells the round when the lock is free.
        func answer(isTold: Bool) -> RedlockRoundStateMachine.Answer {
            switch self {
            case .granted: .granted
            case .failed(let reason): .failed(reason)
            case .refused(let reason): .refused(reason)
            case .replied(let reply):
                switch reply.outcome {
                case .granted: .granted
                case .behind(let holder): .behind(holder: holder)
                case .tooFarAhead: .tooFarAhead
                case .anotherNode: .failed("not open: it has restarted")
                case .busy(let holder): .busy(holder: holder, isQueued: isTold)
                }
            }
        }
    }

    let number: UInt64
    /// Whose key it is where the lock is granted.
    let owner: LockOwner.Secret
    /// When the instances must have answered.
    let deadline: Instant
    /// The claim has the turn: where the lock is held, the instance tells it when that is over.
    let isTold: Bool
    /// The policy that was used when it began: what instances of different generations grant is not counted together.
    private let policyNumber: Int
    private var machine: RedlockRoundStateMachine

    /// - Parameter lowestToken: the token has to be above this.
    init(
        of claim: ClaimIdentity, hasTurn: Bool, failsEarly: Bool, above lowestToken: Int64,
        _ commons: inout RedlockCommons
    ) {
        let now = commons.now
        let roll = commons.members.roll(now: now)
        self.machine = RedlockRoundStateMachine(
            instances: roll.reasons,
            isLate: roll.isLate,
            quorum: commons.members.quorum,
            token: commons.tokens.proposal(
                for: claim.claim.name, above: lowestToken, skew: commons.members.skew, now: now
            ) { commons.members.floor(atMost: $0) },
            lease: claim.claim.lease,
            minimumValidity: claim.claim.lease.divided(by: 2),
            failsEarly: failsEarly,
            skew: commons.members.skew,
            startedAt: now
        )
        self.number = commons.nextNumber()
        self.owner = claim.claim.owner.secret.next(using: &commons.generator)
        self.deadline = commons.deadline(lease: claim.claim.lease)
        self.isTold = hasTurn
        self.policyNumber = commons.members.policyNumber
    }

    var token: Int64 { self.machine.token }
    var nextToken: Int64 { self.machine.nextToken() }
    var failure: RedlockRoundStateMachine.Failure { self.machine.failure }

    /// On which instances the lock's key may be this round's: granted, or not known.
    var mayHold: InstanceSet { self.machine.mayHold }

    // MARK: Asking

    /// Asks all instances that can be asked.
    mutating func began(for claim: ClaimIdentity, _ commons: inout RedlockCommons) -> Action {
        var asked = InstanceSet()
        var action = Action.none
        for index in 0..<commons.members.count where self.machine.isAsked(index) {
            if self.mayAsk(index, commons.members) {
                asked.insert(index)
            } else {
                action = self.wasBehind(index, commons)
                // The round may be over, and with it what is asked.
                if action != .none { break }
            }
        }
        self.ask(asked, for: claim, &commons.outbox)
        return action
    }

    /// An instance says that the lock is free for this round now. Returns what follows; `nil`: it is not waited for there.
    mutating func freed(_ index: Int, for claim: ClaimIdentity, _ commons: inout RedlockCommons) -> Action? {
        guard self.machine.turn(index) else { return nil }
        guard self.mayAsk(index, commons.members) else { return self.wasBehind(index, commons) }
        self.ask(InstanceSet(index), for: claim, &commons.outbox)
        return Action.none
    }

    /// As the script of an instance would answer that must not be asked.
    private mutating func wasBehind(_ index: Int, _ commons: RedlockCommons) -> Action {
        let now = commons.now
        let told = RedlockRoundStateMachine.Told(fence: commons.members.floor(of: index), time: 0)
        return self.machine.answered(index, .behind(holder: ""), told: told, now: now)
    }

    private func mayAsk(_ index: Int, _ members: borrowing RedlockMembers) -> Bool {
        members.mayBeAsked(index, token: self.token, policyNumber: self.policyNumber)
    }

    private func ask(_ instances: InstanceSet, for claim: ClaimIdentity, _ outbox: inout RedlockMachine.Outbox) {
        let proposal = RedlockMachine.Proposal(
            claim: claim.id, number: self.number, key: claim.key, owner: self.owner,
            metadata: claim.claim.owner.metadata, token: self.token, skew: self.machine.skew,
            leaseInMilliseconds: claim.leaseInMilliseconds,
            told: self.isTold ? claim.claim.owner.secret : nil)
        outbox.ask(.lock(proposal), of: instances, deadline: self.deadline)
    }

    /// Whether an instance may be asked again, as it did not know the script.
    func mayBeAskedAgain(_ index: Int, _ number: UInt64, _ members: borrowing RedlockMembers) -> Bool {
        self.number == number && self.mayAsk(index, members)
    }

    // MARK: Answers

    mutating func answered(
        _ index: Int, _ answer: RedlockRoundStateMachine.Answer, told: RedlockRoundStateMachine.Told?,
        now: Instant
    ) -> Action {
        self.machine.answered(index, answer, told: told, now: now)
    }

    mutating func timeIsOver() -> Action { self.machine.timeIsOver() }

    /// Releases a lost round wherever it may have been granted, also where no answer has come.
    func giveUp(for claim: ClaimIdentity, _ commons: inout RedlockCommons) {
        commons.release(
            .lock, key: claim.key, owner: self.owner, of: claim.claim, lasts: claim.claim.lease, on: self.mayHold)
    }
}
