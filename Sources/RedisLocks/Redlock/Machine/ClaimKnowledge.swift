import DistributedLocks
import LockKernel

/// What a claim has heard of its lock: who holds it, until when, and which token would do. A part of ``RedlockClaim``. Pure.
struct ClaimKnowledge {
    typealias Instant = BootInstant

    /// The next token has to be above this.
    private(set) var lowestToken: Int64 = 0
    /// As the lock's key names it; empty: not known.
    private(set) var holder = ""
    /// Until when others may hold the lock, by what instances said in the last round.
    private var heldByOthersUntil: Instant?
    /// Why instances were of no use in the last round.
    private(set) var failures: [(instance: Int, reason: String)] = []

    /// A round begins.
    mutating func roundBegan() { self.heldByOthersUntil = nil }

    /// An instance has answered a round.
    mutating func heard(_ said: RedlockRound.Said, now: Instant) {
        guard case .replied(let reply) = said else { return }
        if let left = reply.remaining {
            self.heldByOthersUntil = max(now + left, self.heldByOthersUntil ?? now)
        }
        switch reply.outcome {
        case .busy(let holder): self.holder = holder
        case .behind(let holder): if !holder.isEmpty { self.holder = holder }
        case .granted, .tooFarAhead, .anotherNode: break
        }
    }

    mutating func roundFailed(_ failure: RedlockRoundStateMachine.Failure) { self.failures = failure.reasons }

    /// An instance has told a fence. The token has to be above it, unless it is wild.
    mutating func told(_ fence: Int64, _ commons: borrowing RedlockCommons) {
        if !commons.tokens.isWild(fence, skew: commons.members.skew, now: commons.now) {
            self.lowestToken = max(self.lowestToken, fence)
        }
    }

    /// A gate has given a place in its queue. Who has the turn has the lock, as a rule.
    mutating func queued(_ place: ClaimReply.QueueReply) {
        if self.holder.isEmpty { self.holder = place.holder }
    }

    /// When who waits to be told that the lock is free tries without: the holder may have died, or a release may not have come to
    /// the gate.
    func nextTry(lease: Duration, now: Instant) -> Instant {
        let usual = now + WaitingStateMachine.touchInterval(lease: lease)
        return self.heldByOthersUntil.map { min(usual, max($0, now) + .milliseconds(1)) } ?? usual
    }
}
