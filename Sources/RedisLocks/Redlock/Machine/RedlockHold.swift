import DistributedLocks
import LockKernel

/// A lock that a claim holds, or has held until its release: the round that was won, and until when it is valid. A part of
/// ``RedlockClaim``. Pure.
struct RedlockHold {
    typealias Instant = BootInstant

    /// As it was granted, for who asks again.
    let grant: RedlockMachine.Grant
    /// What is answered late tells where the lock's key is.
    private var round: RedlockRound
    private var validUntil: Instant

    init(_ round: RedlockRound, validUntil: Instant) {
        guard let token = FencingToken(rawValue: round.token) else { preconditionFailure("a token of 0") }
        self.round = round
        self.validUntil = validUntil
        self.grant = RedlockMachine.Grant(token: token, validUntil: validUntil)
    }

    /// Whose key it is.
    var owner: LockOwner.Secret { self.round.owner }

    func hasEnded(now: Instant) -> Bool { now >= self.validUntil }

    mutating func renewed(until validUntil: Instant) { self.validUntil = validUntil }

    mutating func answered(
        _ number: UInt64, by index: Int, _ answer: RedlockRoundStateMachine.Answer,
        told: RedlockRoundStateMachine.Told?, now: Instant
    ) {
        if self.round.number == number { _ = self.round.answered(index, answer, told: told, now: now) }
    }

    func mayBeAskedAgain(_ index: Int, _ number: UInt64, _ members: borrowing RedlockMembers) -> Bool {
        self.round.mayBeAskedAgain(index, number, members)
    }

    /// Releases it on all instances.
    ///
    /// - Parameter call: who waits for a quorum to confirm it.
    func release(_ call: CallID?, for claim: ClaimIdentity, _ commons: inout RedlockCommons) {
        let count = commons.members.count
        // The gate last, and the turn behind it: who has it next finds the lock free.
        let gate = commons.members.firstUsable(from: claim.home) ?? 0
        commons.release(
            .lock, key: claim.key, owner: self.owner, of: claim.claim, lasts: claim.claim.lease,
            on: .all(count), from: (gate + 1) % count,
            // An instance that was away all the time has nothing of it.
            kept: self.round.mayHold,
            election: RedlockReleases.Election(
                claim.id, of: claim.claim.name, count: count, quorum: commons.members.quorum, call: call))
    }
}
