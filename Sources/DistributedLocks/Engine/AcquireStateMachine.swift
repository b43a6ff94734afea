import LockKernel

/// Decides what becomes of one attempt to acquire one lock.
///
/// States: *requesting* (a request is out, its outcome unknown), *backing off* (between two tries of the same request),
/// *queued* (the store has promised a grant), *finished*. Every event is allowed in every state, because replies, pushes,
/// deadlines and cancellation race with each other; what must never happen is that a grant is left to nobody, and that is
/// why whatever comes late is withdrawn.
struct AcquireStateMachine: Sendable {
    /// How an attempt ends.
    enum Outcome: Sendable {
        case granted(LockGrant)
        /// `withdraw` says whether the store may know of the claim, so that it has to be taken back.
        case failed(Failure, withdraw: Bool)
    }

    enum Failure: Sendable {
        case error(LockError)
        case cancelled
        /// No grant came in time. The lock is held by these, as was heard last.
        case timedOut(heldBy: [OwnerMetadata])
        /// No answer to the request came in time.
        case noAnswer
        case clientStopped
    }

    enum ReplyAction: Sendable {
        case finish(Outcome)
        /// Wait for an event.
        case wait
        /// The place in the queue is gone already: ask again with a new owner.
        case startAnew
        /// Nobody waits for this any more, and the store may hold a grant or a place for it.
        case withdraw
    }

    enum FailureAction: Sendable {
        case finish(Outcome)
        /// Send the same request with the same owner after a pause.
        case retry(after: Duration)
        case withdraw
    }

    enum EventAction: Sendable {
        case finish(Outcome)
        case startAnew
        /// Noted; the reply that is still out will find it.
        case none
        case withdraw
    }

    private enum State: Sendable {
        case requesting(early: Early)
        /// After this error.
        case backingOff(LockError)
        case queued
        case finished(isGranted: Bool)
    }

    /// What was heard while the request was still out.
    private enum Early: Sendable {
        case nothing
        case granted(LockGrant)
        case gone
        case failed(LockError)
    }

    /// When the caller gives up; `nil` if never.
    private let deadline: BootInstant?
    private var state: State = .requesting(early: .nothing)
    private var failures = 0
    /// Why the grant is lost already, although nobody has taken it yet.
    private(set) var loss: LockError.LossReason?
    /// Who holds the lock, as was heard last.
    private(set) var holders: [OwnerMetadata] = []

    /// A request whose outcome is unknown is sent again at most this often.
    static let maximumRetries = 20

    init(deadline: BootInstant?) {
        self.init(latest: deadline)
    }

    init(latest: BootInstant?) {
        self.deadline = latest
    }

    var isFinished: Bool {
        switch self.state {
        case .finished: true
        case .requesting, .backingOff, .queued: false
        }
    }

    var isQueued: Bool {
        switch self.state {
        case .queued: true
        case .requesting, .backingOff, .finished: false
        }
    }

    /// The reply to the request arrived.
    mutating func replyArrived(_ reply: AcquireReply) -> ReplyAction {
        switch self.state {
        case .requesting(let early):
            switch (reply, early) {
            case (.granted(let grant), _), (.queued, .granted(let grant)), (.busy, .granted(let grant)):
                self.state = .finished(isGranted: true)
                return .finish(.granted(grant))
            case (.queued(let place), .nothing):
                self.state = .queued
                self.loss = nil
                // What was told meanwhile is no older.
                if self.holders.isEmpty { self.holders = place.holders }
                return .wait
            case (.queued, .gone):
                self.state = .finished(isGranted: false)
                return .startAnew
            case (.queued, .failed(let error)):
                self.state = .finished(isGranted: false)
                return .finish(.failed(.error(error), withdraw: true))
            case (.busy(let holders), .nothing), (.busy(let holders), .gone), (.busy(let holders), .failed):
                self.state = .finished(isGranted: false)
                let who = holders.isEmpty ? "" : " by " + OwnerMetadata.list(holders)
                return .finish(
                    .failed(
                        .error(LockError(.busy, "the lock is held\(who)", holder: holders.first)),
                        withdraw: self.mayBeKnownToStore
                    )
                )
            }
        case .backingOff, .queued, .finished(isGranted: true):
            preconditionFailure("a reply without a request")
        case .finished(isGranted: false):
            return .withdraw
        }
    }

    /// The request failed.
    mutating func requestFailed(_ error: LockError, now: BootInstant, jitter: Double) -> FailureAction {
        switch self.state {
        case .requesting(let early):
            if case .granted(let grant) = early {
                self.state = .finished(isGranted: true)
                return .finish(.granted(grant))
            }
            guard error.code == .outcomeUnknown else {
                self.state = .finished(isGranted: false)
                let failure: Failure = error.code == .cancelled ? .cancelled : .error(error)
                return .finish(.failed(failure, withdraw: self.mayBeKnownToStore))
            }
            self.failures += 1
            let pause = Self.pause(afterFailures: self.failures, jitter: jitter)
            let isInTime = self.deadline.map { now + pause < $0 } ?? true
            guard self.failures <= Self.maximumRetries, isInTime else {
                self.state = .finished(isGranted: false)
                return .finish(.failed(.error(error), withdraw: true))
            }
            self.state = .backingOff(error)
            return .retry(after: pause)
        case .backingOff, .queued, .finished(isGranted: true):
            preconditionFailure("a failure without a request")
        case .finished(isGranted: false):
            return .withdraw
        }
    }

    /// Whether an earlier request of this attempt had an unknown outcome: then the store may know of the claim, whatever
    /// became of the present request.
    private var mayBeKnownToStore: Bool { self.failures > 0 }

    /// The pause is over, and the same request leaves again. False if the attempt ended meanwhile.
    mutating func retryStarted() -> Bool {
        switch self.state {
        case .backingOff:
            self.state = .requesting(early: .nothing)
            self.loss = nil
            self.holders = []
            return true
        case .finished:
            return false
        case .requesting, .queued:
            preconditionFailure("a retry while a request is out")
        }
    }

    /// The store granted the lock without being asked just now.
    mutating func granted(_ grant: LockGrant) -> EventAction {
        switch self.state {
        case .requesting:
            self.state = .requesting(early: .granted(grant))
            return .none
        case .backingOff, .queued:
            self.state = .finished(isGranted: true)
            return .finish(.granted(grant))
        case .finished(isGranted: true):
            // Told twice: by a push, and by an answer to a question after a reconnect.
            return .none
        case .finished(isGranted: false):
            return .withdraw
        }
    }

    /// The store forgot the place in the queue.
    mutating func gone() -> EventAction {
        switch self.state {
        case .requesting(.nothing):
            self.state = .requesting(early: .gone)
            return .none
        case .requesting(.granted), .requesting(.gone), .requesting(.failed), .backingOff, .finished:
            return .none
        case .queued:
            self.state = .finished(isGranted: false)
            return .startAnew
        }
    }

    /// The backend found that the claim cannot be granted.
    mutating func failed(_ error: LockError) -> EventAction {
        switch self.state {
        case .requesting(.nothing), .requesting(.gone):
            self.state = .requesting(early: .failed(error))
            return .none
        case .requesting(.granted), .requesting(.failed), .backingOff, .finished:
            return .none
        case .queued:
            self.state = .finished(isGranted: false)
            return .finish(.failed(.error(error), withdraw: true))
        }
    }

    /// The store says that the grant is lost. The reply or the event with the grant may still be on its way to its caller.
    mutating func lost(_ reason: LockError.LossReason) {
        switch self.state {
        case .requesting, .finished(isGranted: true): self.loss = reason
        case .backingOff, .queued, .finished(isGranted: false): break
        }
    }

    /// The store told who holds the lock. True if that is news to who waits.
    mutating func held(by holders: [OwnerMetadata]) -> Bool {
        switch self.state {
        case .requesting:
            self.holders = holders
            return false
        case .queued:
            defer { self.holders = holders }
            return self.holders != holders
        case .backingOff, .finished:
            return false
        }
    }

    /// The caller's time is over.
    mutating func deadlinePassed() -> EventAction {
        switch self.state {
        case .requesting(early: .nothing), .requesting(early: .gone), .requesting(early: .failed):
            self.stopped(.noAnswer)
        // The pause ends before this, unless its timer is late. Nobody has said that the lock is held.
        case .backingOff(let error):
            self.stopped(.error(error))
        case .requesting(early: .granted), .queued, .finished:
            self.stopped(.timedOut(heldBy: self.holders))
        }
    }

    /// The caller was cancelled.
    mutating func cancelled() -> EventAction { self.stopped(.cancelled) }

    /// The client was stopped.
    mutating func clientStopped() -> EventAction { self.stopped(.clientStopped) }

    private mutating func stopped(_ failure: Failure) -> EventAction {
        switch self.state {
        case .requesting, .backingOff, .queued:
            // A request that is out is answered into the finished state; whatever the store knows by then is withdrawn.
            self.state = .finished(isGranted: false)
            return .finish(.failed(failure, withdraw: true))
        case .finished:
            return .none
        }
    }

    /// Full jitter over 10 ms doubled with each failure, at most 500 ms ("Exponential Backoff And Jitter", AWS
    /// Architecture Blog, 2015).
    static func pause(afterFailures failures: Int, jitter: Double) -> Duration {
        let ceiling = min(10 << min(failures, 6), 500)
        return .milliseconds(1) + .milliseconds(Double(ceiling) * jitter)
    }
}
