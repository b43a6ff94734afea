import DistributedLocks
import LockKernel

/// Renewals that are out. A part of ``RedlockMachine``. Pure.
///
/// Several are asked for at once, and answered at once: nobody hears of its renewal before all are decided. Each is decided by a quorum.
struct RedlockRenewals {
    typealias Instant = BootInstant
    typealias Answer = RedlockMachine.RenewalAnswer

    /// Who waits, and what is known so far.
    private struct Batch {
        var answers: [Answer?]
        var missing: Int
    }

    private struct Election {
        let call: CallID
        /// Its place among those that were asked for at once.
        let place: Int
        let claim: RedlockMachine.ClaimID
        /// Validity counts from here if it is renewed.
        let validUntil: Instant
        var ballot: Ballot
        var wasBroken = false
    }

    private var batches: [CallID: Batch] = [:]
    private var elections: [UInt64: Election] = [:]

    mutating func asked(
        _ renewals: [LockRenewal], _ call: CallID, _ claims: inout RedlockClaims, _ commons: inout RedlockCommons
    ) {
        guard let shortest = renewals.map(\.claim.lease).min() else {
            return commons.outbox.add(.answer(call, .renewed([])))
        }
        self.batches[call] = Batch(answers: Array(repeating: nil, count: renewals.count), missing: renewals.count)
        // One instance that hangs must not use up a short lease.
        let patience = commons.deadline(lease: shortest)
        for (place, renewal) in renewals.enumerated() {
            guard let (claim, owner) = claims.hold(of: renewal.claim.attempt) else {
                self.decided(.lost(.notOwner), call, place, &commons.outbox)
                continue
            }
            let number = commons.nextNumber()
            // Validity counts from before the first of the requests leaves.
            self.elections[number] = Election(
                call: call, place: place, claim: claim.id,
                validUntil: LockValidity.deadline(lease: renewal.claim.lease, sentAt: commons.now),
                ballot: Ballot(count: commons.members.count, quorum: commons.members.quorum))
            let request = RedlockMachine.Renewal(
                number: number, key: claim.key, owner: owner, metadata: renewal.claim.owner.metadata,
                leaseInMilliseconds: renewal.claim.lease.wholeMilliseconds, policy: commons.members.policyText)
            let voters = commons.members.voters
            commons.outbox.ask(.renew(request), of: voters, deadline: min(renewal.latest, patience))
            InstanceSet.all(commons.members.count).subtracting(voters).forEach { _ in
                self.voted(number, .none, &claims, &commons)
            }
        }
    }

    /// An instance has answered.
    ///
    /// - Parameter answer: `nil`: it makes no sense, or there is none.
    mutating func answered(
        _ number: UInt64, by index: Int, _ answer: Int64?, _ claims: inout RedlockClaims,
        _ commons: inout RedlockCommons
    ) {
        switch answer {
        case 1: self.voted(number, .yes, &claims, &commons)
        case 0: self.voted(number, .no, &claims, &commons)
        case -1: self.voted(number, .no, isBroken: true, &claims, &commons)
        case -9:
            commons.members.anotherPolicyFound(by: index, now: commons.now, &commons.outbox)
            self.voted(number, .none, &claims, &commons)
        default: self.voted(number, .none, &claims, &commons)
        }
    }

    private mutating func voted(
        _ number: UInt64, _ vote: Ballot.Vote, isBroken: Bool = false, _ claims: inout RedlockClaims,
        _ commons: inout RedlockCommons
    ) {
        guard var election = self.elections[number] else { return }
        if isBroken { election.wasBroken = true }
        let verdict = election.ballot.voted(vote)
        self.elections[number] = verdict == nil ? election : nil
        let answer: Answer
        switch verdict {
        case nil: return
        case _ where election.wasBroken: answer = .lost(.broken)
        case .yes: answer = .extended(until: election.validUntil)
        case .no: answer = .lost(.notOwner)
        case .undecided, .noQuorum: answer = .failed(commons.members.noQuorum(now: commons.now))
        }
        switch answer {
        case .extended(let until): claims.renewed(election.claim, until: until)
        case .lost: claims.lost(election.claim, &commons)
        case .failed: break
        }
        self.decided(answer, election.call, election.place, &commons.outbox)
    }

    private mutating func decided(
        _ answer: Answer, _ call: CallID, _ place: Int, _ outbox: inout RedlockMachine.Outbox
    ) {
        guard var batch = self.batches[call] else { preconditionFailure("a renewal was decided twice") }
        batch.answers[place] = answer
        batch.missing -= 1
        self.batches[call] = batch.missing == 0 ? nil : batch
        if batch.missing == 0 { outbox.add(.answer(call, .renewed(batch.answers.compactMap { $0 }))) }
    }
}
