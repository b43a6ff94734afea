import LockKernel

extension LockEngine {
    enum Effect: Sendable {
        /// Whoever waits for the start goes on.
        case start(Starter)
        /// Whoever waits for the attempt goes on with its end.
        case resume(Waiter, AttemptEnd)
        /// Declare the grant lost: ``lossFound(_:)`` and, if that is news to its holder, ``lossDeclared(_:now:)`` follow.
        case lose(Held, LockError.LossReason)
        /// The client does not wait for the holder any more, who is told that the grant is lost.
        case end(Held)
        /// As ``end(_:)``, and what is left on the store is taken back: ``cleanUpWanted(_:now:)`` follows.
        case takeBack(Held)
        /// ``cleanUpWanted(_:now:)`` follows.
        case cleanUp(LockClaim)
        /// Tell the holder its new validity deadline.
        case extend(Held, until: BootInstant)
        /// Too many claims are to be taken back already: this one is released without an answer, if the backend can.
        case releaseUnremembered(LockClaim)
        /// The store told whom a call waits for, which is news.
        case reportWait(LockClaim, for: [OwnerMetadata])
        /// It could not be taken back before its lease ended.
        case reportAbandoned(LockClaim)
        /// The timer loop sleeps longer than it may.
        case wake
    }

    /// What one event has done, in order. Most have one effect, or none: that needs no memory of its own.
    struct Effects: Sendable {
        private var first: Effect?
        private var others: [Effect] = []

        init(_ effect: Effect? = nil) { self.first = effect }

        mutating func append(_ effect: Effect) {
            if self.first == nil { self.first = effect } else { self.others.append(effect) }
        }

        func forEach(_ body: (Effect) -> Void) {
            guard let first = self.first else { return }
            body(first)
            for effect in self.others { body(effect) }
        }
    }

    /// What becomes of a grant that its caller has come to take.
    enum Taken: Sendable, Equatable {
        case held(wake: Bool)
        case hasEnded(LockError.LossReason)
        /// Its token does not rise.
        case refused(highest: FencingToken)
        case stopped
    }

    /// What is due besides effects.
    struct Due: Sendable {
        var renewals: [LockRenewal] = []
        var withdrawals: [LockClaim] = []
        var heldCount = 0
        var waiterCount = 0
    }
}
