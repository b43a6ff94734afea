import DistributedLocks
import LockKernel

/// All claims of a client, each under the name of its attempt. A part of ``RedlockMachine``. Pure.
///
/// States: a claim is *known* from its request until nothing is left of it: a lock that was released, until a quorum has confirmed that,
/// or its keys have ended by themselves. Beside them: which claims *gather*, because no quorum can be asked.
struct RedlockClaims {
    typealias Instant = BootInstant
    typealias ClaimID = RedlockMachine.ClaimID
    typealias Failure = RedlockMachine.Failure

    /// By their places; `nil`: it has been left.
    private var claims: [RedlockClaim?] = []
    private var places = ClaimPlaces()
    /// Claims that wait until a quorum can be asked.
    private var gathering: Set<AttemptID> = []

    /// How many claims are known. For tests of what is left behind.
    var count: Int { self.places.count }

    // MARK: One claim

    private mutating func change(
        _ attempt: AttemptID, _ commons: inout RedlockCommons,
        _ event: (inout RedlockClaim, inout RedlockCommons) -> RedlockClaim.Fate
    ) {
        if let place = self.places[attempt] { self.change(at: place, &commons, event) }
    }

    /// - Parameter id: what happened concerns this claim, and none that was made later.
    private mutating func change(
        _ id: ClaimID, _ commons: inout RedlockCommons,
        _ event: (inout RedlockClaim, inout RedlockCommons) -> RedlockClaim.Fate
    ) {
        if self.isKnown(id) { self.change(at: id.place, &commons, event) }
    }

    private mutating func change(
        at place: Int, _ commons: inout RedlockCommons,
        _ event: (inout RedlockClaim, inout RedlockCommons) -> RedlockClaim.Fate
    ) {
        guard let fate = self.claims[place].change(&commons, event) else {
            preconditionFailure("there is no claim at its place")
        }
        if fate != .stays { self.follow(fate, at: place, &commons) }
    }

    func isKnown(_ id: ClaimID) -> Bool {
        id.place < self.claims.count && self.claims[id.place]?.beginning == id.beginning
    }

    private mutating func follow(_ fate: RedlockClaim.Fate, at place: Int, _ commons: inout RedlockCommons) {
        guard let attempt = self.claims[place]?.attempt else { return }
        switch fate {
        case .stays: break
        case .gathers: self.gathering.insert(attempt)
        case .lacksQuorum:
            self.gathering.insert(attempt)
            self.quorumChanged(&commons)
        case .isOver: self.remove(attempt, at: place, &commons)
        }
    }

    private mutating func remove(_ attempt: AttemptID, at place: Int, _ commons: inout RedlockCommons) {
        if self.claims[place]?.isWaiter == true, let secret = self.claims[place]?.secret {
            commons.waiters[secret] = nil
        }
        self.claims[place] = nil
        self.places.leave(attempt)
        if !self.gathering.isEmpty { self.gathering.remove(attempt) }
    }

    // MARK: Requests

    /// Somebody asks for a lock, and waits for the answer.
    mutating func requested(_ request: AcquireRequest, _ call: CallID, _ commons: inout RedlockCommons) {
        let claim = request.claim
        let key: String
        do throws(Failure) {
            key = try self.check(claim, commons)
        } catch {
            return commons.outbox.add(.answer(call, .failed(error)))
        }
        commons.members.wanted(now: commons.now, &commons.outbox)
        if let place = self.places[claim.attempt], self.claims[place]?.isReleased == true {
            // Its release is out, or was not confirmed.
            self.releaseDelayed(&commons)
            self.change(at: place, &commons) { $0.forgotten(&$1) }
        }
        let place = self.places[claim.attempt] ?? self.add(request, key: key, &commons)
        guard self.claims[place]?.requested(call, latest: request.latest, &commons) == true else { return }
        guard commons.releases.hasDelayed else { return self.change(at: place, &commons) { $0.began(&$1) } }
        // Both leave in one write.
        commons.outbox.add(.holdRequests)
        self.releaseDelayed(&commons)
        self.change(at: place, &commons) { $0.began(&$1) }
        commons.outbox.add(.letRequestsGo)
    }

    private func check(_ claim: LockClaim, _ commons: borrowing RedlockCommons) throws(Failure) -> String {
        let longest = commons.configuration.longestLease
        guard claim.lease <= longest else {
            throw Failure(
                .invalidConfiguration, "a lease here is at most \(longest.brief): \(claim.lease.brief) is more")
        }
        if let refusal = commons.members.refusal(now: commons.now) { throw refusal }
        do {
            return try commons.key(of: claim.name)
        } catch {
            throw Failure(error.code, error.message)
        }
    }

    private mutating func add(_ request: AcquireRequest, key: String, _ commons: inout RedlockCommons) -> Int {
        let claim = request.claim
        let (place, isNew) = self.places.take(claim.attempt)
        let id = ClaimID(attempt: claim.attempt, beginning: commons.nextNumber(), place: place)
        if isNew { self.claims.append(nil) }
        self.claims[place] = RedlockClaim(
            ClaimIdentity(id, claim, key: key, instanceCount: commons.members.count), joinsQueue: request.joinsQueue)
        return place
    }

    /// Who has asked for a lock waits for an answer no longer.
    mutating func requestCancelled(_ attempt: AttemptID, _ commons: inout RedlockCommons) {
        self.change(attempt, &commons) { $0.requestCancelled(&$1) }
    }

    // MARK: Quorum

    /// Goes on with the claims that waited for a quorum, or tells them why there is none.
    mutating func quorumChanged(_ commons: inout RedlockCommons) {
        if self.gathering.isEmpty { return }
        if let refusal = commons.members.refusal(now: commons.now) {
            for attempt in self.gathering.sorted() {
                self.change(attempt, &commons) { $0.isPromised ? .stays : $0.finish(.failed(refusal), &$1) }
            }
            return
        }
        guard commons.members.hasQuorum(now: commons.now) else { return }
        for attempt in self.gathering.sorted() {
            self.gathering.remove(attempt)
            self.change(attempt, &commons) { $0.began(&$1) }
        }
    }

    /// An instance cannot be asked any more. Those who wait there go elsewhere. They keep their places: they are left when they are
    /// not needed any more.
    mutating func instanceLost(_ instance: Int, _ commons: inout RedlockCommons) {
        for place in self.claims.indices where self.claims[place] != nil {
            self.change(at: place, &commons) { $0.instanceLost(instance, &$1) }
        }
    }

    // MARK: Answers and messages

    /// An instance has answered a round.
    mutating func roundAnswered(
        _ number: UInt64, of id: ClaimID, by instance: Int, _ said: RedlockRound.Said,
        _ commons: inout RedlockCommons
    ) {
        guard self.isKnown(id) else { return }
        let fate = self.claims[id.place]?.roundAnswered(number, by: instance, said, &commons) ?? .stays
        if fate != .stays { self.follow(fate, at: id.place, &commons) }
    }

    /// A gate has answered who wants the turn.
    mutating func turnAnswered(
        _ id: ClaimID, by instance: Int, _ reply: ClaimReply?, isRefusal: Bool, _ commons: inout RedlockCommons
    ) {
        self.change(id, &commons) { $0.turnAnswered(by: instance, reply, isRefusal: isRefusal, &$1) }
    }

    /// Whether an instance may be asked again what it could not do because it did not know the script.
    func wants(_ request: RedlockMachine.Request, from instance: Int, _ members: RedlockMembers) -> Bool {
        switch request {
        case .lock(let proposal):
            guard self.isKnown(proposal.claim) else { return false }
            return self.claims[proposal.claim.place]?.wantsRound(proposal.number, from: instance, members) == true
        case .turn(let turn):
            guard self.isKnown(turn.claim) else { return false }
            return self.claims[turn.claim.place]?.wantsTurn(turn.what, at: instance) == true
        case .release, .renew, .introduction, .node, .nothing:
            return true
        }
    }

    mutating func messageCame(_ message: InstanceMessage, from instance: Int, _ commons: inout RedlockCommons) {
        switch message {
        case .turn(let owner, let time):
            guard let attempt = commons.waiters[owner] else { return }
            self.change(attempt, &commons) { $0.turnPushed(by: instance, time, &$1) }
        case .freed(let owner, let fence):
            guard let attempt = commons.waiters[owner] else { return }
            // It must not vote before it is known who it is.
            let mayVote = commons.members.isOpen(instance)
            self.change(attempt, &commons) { $0.freed(by: instance, fence, mayVote: mayVote, &$1) }
        case .broken(let owner):
            guard let id = self.claims.first(where: { $0?.owner == owner })??.identity.id else { return }
            self.lost(id, &commons)
            commons.outbox.add(.tell(.lost(id.attempt, .broken)))
        }
    }

    // MARK: Time

    /// Some claims may have something to do.
    mutating func timePassed(_ commons: inout RedlockCommons) {
        let due = commons.timers.takeDue(at: commons.now)
        for attempt in due.patience { self.change(attempt, &commons) { $0.patienceTimerFired(&$1) } }
        for attempt in due.wakeups { self.change(attempt, &commons) { $0.wakeupTimerFired(&$1) } }
        for attempt in due.turns { self.change(attempt, &commons) { $0.turnTimerFired(&$1) } }
        for attempt in due.endings { self.change(attempt, &commons) { $0.endTimerFired(&$1) } }
    }

    // MARK: Held ones

    /// Takes a claim back, whatever became of it. A lock that was held is released on all instances; a quorum has to confirm it.
    ///
    /// - Parameter call: who waits for the answer, whether it held the lock; `nil`: nobody does.
    mutating func withdrawn(_ attempt: AttemptID, _ call: CallID?, _ commons: inout RedlockCommons) {
        guard let place = self.places[attempt] else {
            if let call { commons.outbox.add(.answer(call, .left(wasHeld: false))) }
            return
        }
        let isAlone = self.places.count == 1
        self.change(at: place, &commons) { $0.withdrawn(call, isAlone: isAlone, &$1) }
    }

    /// Releases that waited for company leave.
    mutating func releaseDelayed(_ commons: inout RedlockCommons) {
        for id in commons.releases.takeDelayed(&commons.outbox) where self.isKnown(id) {
            self.claims[id.place]?.release(nil, &commons)
        }
    }

    /// The instances have decided about a release.
    mutating func released(_ verdict: RedlockReleases.Verdict, _ commons: inout RedlockCommons) {
        // Where too few have answered it can be asked again.
        if verdict.wasHeld != nil { self.change(verdict.claim, &commons) { $0.forgotten(&$1) } }
        commons.answer(verdict)
    }

    /// The claim of an attempt that holds its lock, and whose key it is.
    func hold(of attempt: AttemptID) -> (claim: ClaimIdentity, owner: LockOwner.Secret)? {
        guard let place = self.places[attempt], let claim = self.claims[place], claim.isHeld, let owner = claim.owner
        else { return nil }
        return (claim.identity, owner)
    }

    /// A quorum has renewed a lock.
    mutating func renewed(_ id: ClaimID, until validUntil: Instant) {
        if self.isKnown(id) { self.claims[id.place]?.renewed(until: validUntil) }
    }

    /// A lock is not held any more, as the instances say.
    mutating func lost(_ id: ClaimID, _ commons: inout RedlockCommons) {
        if self.isKnown(id) { self.claims[id.place]?.lost(&commons) }
    }

    // MARK: The end

    /// The backend has stopped: nothing is carried out any more.
    mutating func stopped(_ failure: Failure, _ commons: inout RedlockCommons) {
        for place in self.claims.indices { self.claims[place]?.stopped(failure, &commons) }
        self.claims = []
        self.places = ClaimPlaces()
        self.gathering = []
        commons.waiters = [:]
    }
}

extension RedlockClaim? {
    fileprivate mutating func change(
        _ commons: inout RedlockCommons, _ event: (inout RedlockClaim, inout RedlockCommons) -> RedlockClaim.Fate
    ) -> RedlockClaim.Fate? {
        self == nil ? nil : event(&self!, &commons)
    }
}

extension RedlockClaim {
    /// What is to be done about it by who has all claims.
    enum Fate: Equatable {
        case stays
        /// It waits until a quorum can be asked.
        case gathers
        /// It waits until a quorum can be asked, which was lost; or is told why there is none.
        case lacksQuorum
        /// Nothing is left of it.
        case isOver
    }
}
