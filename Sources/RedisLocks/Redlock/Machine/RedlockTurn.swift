import DistributedLocks
import LockKernel

/// What a claim asks for at gates: the turn, which is an ordinary lock there. A part of ``RedlockClaim``; what the turn is for, and when
/// it is asked for, ``RedlockClaimStateMachine`` says. Pure.
///
/// It may have asked at several gates, one after another. It keeps its places there until it needs no turn any more, and has one of
/// them once at most.
struct RedlockTurn {
    typealias Instant = BootInstant
    typealias TurnRequest = RedlockMachine.TurnRequest

    /// The instances that it has asked for the turn.
    private var asked = InstanceSet()
    /// It has asked for a turn, so messages may name it.
    private(set) var isWaiter = false
    /// When it looked last whether the lock is free, or began to wait.
    private var lookedAt: Instant?

    var isAsked: Bool { !self.asked.isEmpty }

    /// The lock that is the turn: see Scripts/Lua/instance-common.lua.
    static func key(_ key: String) -> String { key + "\tturn" }

    /// The lease of the turn. Who dies with it keeps the others waiting for no longer.
    static func lease(_ claim: ClaimIdentity) -> Duration {
        min(max(claim.claim.lease, .milliseconds(200)), .seconds(1))
    }

    /// Asks for the turn; who waits for it already shows so that it is alive.
    mutating func ask(at gate: Int, for claim: ClaimIdentity, _ commons: inout RedlockCommons) {
        self.asked.insert(gate)
        if self.lookedAt == nil { self.lookedAt = commons.now }
        if !self.isWaiter {
            self.isWaiter = true
            commons.waiters[claim.claim.owner.secret] = claim.attempt
        }
        self.send(
            .ask(maximumWaiters: commons.configuration.maximumWaitersPerLock), to: gate, for: claim, &commons)
    }

    /// Renews it.
    func keep(at gate: Int, for claim: ClaimIdentity, _ commons: inout RedlockCommons) {
        self.send(.keep, to: gate, for: claim, &commons)
    }

    private func send(
        _ what: TurnRequest.What, to gate: Int, for claim: ClaimIdentity, _ commons: inout RedlockCommons
    ) {
        let request = TurnRequest(
            what: what, claim: claim.id, key: Self.key(claim.key), owner: claim.claim.owner.secret,
            metadata: claim.claim.owner.metadata, lease: Self.lease(claim),
            registration: WaitingStateMachine.registration(lease: claim.claim.lease))
        commons.outbox.ask(
            .turn(request), of: InstanceSet(gate), deadline: commons.deadline(lease: claim.claim.lease))
    }

    // MARK: Looking

    /// Whether it has not looked for some time whether the lock is free.
    func mayLook(for claim: ClaimIdentity, now: Instant) -> Bool {
        let usual = WaitingStateMachine.touchInterval(lease: claim.claim.lease)
        return self.lookedAt.map { now >= $0 + usual } ?? true
    }

    mutating func looked(now: Instant) { self.lookedAt = now }

    /// After what time it shows at the gate again that it is alive; `nil`: its place there is gone.
    static func nextRequest(after reply: ClaimReply?, for claim: ClaimIdentity) -> Duration? {
        switch reply {
        case .granted:
            return Self.renewalInterval(claim)
        case .queued(let place):
            let usual = WaitingStateMachine.touchInterval(lease: claim.claim.lease)
            // The next one asks when the turn must be free: who has it may have died.
            if case .milliseconds(let left) = place.remaining { return min(usual, .milliseconds(left + 1)) }
            return usual
        case .busy, .full, .gone, nil:
            return nil
        }
    }

    static func renewalInterval(_ claim: ClaimIdentity) -> Duration { Self.lease(claim).divided(by: 3) }

    // MARK: Leaving

    /// Gives its turn back, or does not wait for it any more.
    ///
    /// - Parameter kept: but for the turn at this gate.
    mutating func leave(for claim: ClaimIdentity, but kept: Int? = nil, _ commons: inout RedlockCommons) {
        var left = self.asked
        if let kept { left.remove(kept) }
        if !left.isEmpty { self.leave(left, for: claim, &commons) }
    }

    mutating func leave(at gate: Int, for claim: ClaimIdentity, _ commons: inout RedlockCommons) {
        self.leave(InstanceSet(gate), for: claim, &commons)
    }

    private mutating func leave(_ gates: InstanceSet, for claim: ClaimIdentity, _ commons: inout RedlockCommons) {
        self.asked = self.asked.subtracting(gates)
        commons.release(
            .turn, key: Self.key(claim.key), owner: claim.claim.owner.secret, of: claim.claim,
            lasts: WaitingStateMachine.registration(lease: claim.claim.lease), on: gates)
    }
}

extension RedlockClaimStateMachine.TurnAnswer {
    /// - Parameter reply: `nil`: no answer that helps.
    init(_ reply: ClaimReply?, isRefusal: Bool) {
        self =
            switch reply {
            case .granted: .granted
            case .queued(let place): .queued(isFirst: place.place == 0)
            case .full(let waiters): .full(waiters)
            case .gone: .gone
            case .busy, nil: isRefusal ? .refused : .failed
            }
    }
}
