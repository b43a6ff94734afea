import DistributedLocks
import LockKernel

/// Whether one instance can be asked, and if not, why not.
///
/// States: *away* (not connected), *looking* (connected; it is being found out who it is), *unused* (it has no policy), *closed*
/// (it has restarted, and opens by itself; or it does not do what it is asked now), *open*, *apart* (it would be open, and has the
/// policy of another generation than this client uses), *refused* (it must not be used).
/// Every new connection is looked at anew, because another server may
/// answer there, or the same one may have restarted.
struct RedlockInstanceStateMachine: Sendable {
    typealias Instant = BootInstant

    struct Refusal: Equatable, Sendable {
        var isPolicy: Bool
        /// Not this instance alone is wrong, but the list of them: quorums of it need not meet.
        var isOfWholeSet = false
        var reason: String
    }

    private enum State: Equatable {
        case away(reason: String)
        case looking
        case unused
        /// - Parameters:
        ///   - lookAt: when to look whether it has been opened meanwhile.
        ///   - reason: `nil`: it has restarted or is new.
        case closed(until: Instant, lookAt: Instant, reason: String?)
        case open
        case apart(lookAt: Instant)
        /// It is looked at again after a while: such things are put right while clients run.
        case refused(Refusal, until: Instant?)
    }

    private static let untried = State.away(reason: "not connected yet")

    private var state = Self.untried {
        didSet {
            self.isOpen = self.state == .open
            self.opensAt =
                switch self.state {
                case .closed(_, let lookAt, _), .apart(let lookAt): lookAt
                case .refused(_, let until): until
                case .away, .looking, .unused, .open: nil
                }
        }
    }
    /// The policy that one has which was removed.
    private var tombstone: RedlockPolicy?
    // Asked many times for each lock, so kept.
    private(set) var isOpen = false
    /// When to look again.
    private(set) var opensAt: Instant?
    /// Of the server that is connected; empty as long as it has not said.
    private(set) var runID = ""
    /// What its scripts compare with; only while it is open, or apart.
    private(set) var node = ""
    /// The policy that it has, for all that is known, if this client can follow it.
    private(set) var policy: RedlockPolicy?
    /// Tokens up to this one may have been granted there and forgotten.
    private(set) var floor: Int64 = 0
    /// It did not answer in time lately.
    private(set) var isLate = false
    /// An attempt to use it has ended, one way or the other.
    private(set) var isSettled = false
    private var hasBeenOpen = false
    /// The text of the policy for which it is refused.
    private var refusedPolicy: String?
    /// What was wrong before it was looked at again.
    private var earlierRefusal: Refusal?

    /// No attempt to connect has ended.
    var isUntried: Bool { self.state == Self.untried }

    /// Why it cannot be asked now; `nil` if it can.
    func reason(now: Instant) -> String? {
        switch self.state {
        case .open: nil
        case .away(let reason): reason
        case .looking: "connected just now, and not looked at yet"
        case .unused:
            "it has no policy: it is new (`dlock init` opens a first installation at once), or has lost its data"
        case .closed(_, _, let reason?): reason
        case .apart:
            "its policy is that of generation \(self.policy?.generation ?? 0), and most have another one"
        case .closed(let until, _, nil):
            "not open yet: it has restarted or is new, and opens by itself in \(Self.seconds(now.duration(to: until))) "
                + "(`dlock init` opens a first installation at once)"
        case .refused(let refusal, _): refusal.reason
        }
    }

    private static func seconds(_ duration: Duration) -> String {
        "\(max(1, duration.components.seconds + (duration.components.attoseconds > 0 ? 1 : 0))) s"
    }

    /// Why it must not be used at all. What goes wrong with an instance that was fine before makes it unusable for a while, no
    /// more; but another policy is refused at any time.
    var refusal: Refusal? {
        guard let refusal = self.currentRefusal, refusal.isPolicy || !self.hasBeenOpen else { return nil }
        return refusal
    }

    /// Whether it must not be used, whatever it was before.
    var isRefused: Bool { self.currentRefusal != nil }

    private var currentRefusal: Refusal? {
        switch self.state {
        case .refused(let refusal, _): refusal
        case .looking: self.earlierRefusal
        case .away, .unused, .closed, .open, .apart: nil
        }
    }

    /// What is known of its policy.
    var sighting: RedlockPolicyStateMachine.Sighting.Kind {
        switch self.state {
        case .unused: .unused
        case .open, .apart: self.policy.map { .has($0, isOpen: true) } ?? .unknown
        case .closed(_, _, nil): self.policy.map { .has($0, isOpen: false) } ?? .unknown
        case .refused(let refusal, _) where refusal.isPolicy: .disputed
        case .refused where self.tombstone != nil: self.tombstone.map { .removed($0) } ?? .unknown
        case .looking where self.earlierRefusal?.isPolicy == true: .disputed
        case .away, .looking, .closed, .refused: .unknown
        }
    }

    /// This client uses that policy now, or has used it all the time.
    ///
    /// - Parameter hasQuorum: whether a quorum is open with it. Without one nobody is asked for anything, so nobody would say that
    ///   it has gone on to another policy.
    mutating func follow(_ policy: RedlockPolicy, hasQuorum: Bool, now: Instant) {
        switch self.state {
        case .open where self.policy != policy:
            // It may have been brought on since it was looked at.
            self.state = .apart(lookAt: now)
        case .open:
            self.opensAt = hasQuorum ? nil : self.opensAt ?? now + Self.lookWhileApart
        case .apart where self.policy == policy:
            self.state = .open
        case .away, .looking, .unused, .closed, .apart, .refused:
            break
        }
    }

    /// It has become known which set this client belongs to. Returns whether to look anew at an instance that was taken for one of
    /// another set.
    mutating func isToBeJudgedAgain(by policies: RedlockPolicyStateMachine) -> Bool {
        guard case .refused(let refusal, _) = self.state, refusal.isPolicy, let refusedPolicy,
            case .ofThisSet = policies.judge(refusedPolicy)
        else { return false }
        self.state = .looking
        return true
    }

    /// A client that has reached a quorum has found that it is to be given a policy.
    mutating func isGiven() {
        switch self.state {
        case .unused, .apart, .closed(_, _, nil): self.state = .looking
        case .away, .looking, .closed, .open, .refused: break
        }
    }

    /// It is looked at again.
    mutating func looksAgain() {
        switch self.state {
        case .closed, .apart: break
        case .open where self.opensAt != nil: break
        case .refused(let refusal, _): self.earlierRefusal = refusal
        case .away, .looking, .unused, .open: return
        }
        self.state = .looking
    }

    /// A connection was made: find out who answers.
    mutating func connected() {
        self.state = .looking
        self.earlierRefusal = nil
        self.runID = ""
        self.isLate = false
    }

    /// The connection ended, or none could be made.
    ///
    /// - Parameter isRefusal: the server answers, and is of no use: a wrong password, or no Redis.
    mutating func disconnected(_ reason: String, isRefusal: Bool) {
        self.isSettled = true
        self.node = ""
        self.runID = ""
        self.earlierRefusal = nil
        // The next connection finds out whether that has been put right.
        self.state =
            isRefusal ? .refused(Refusal(isPolicy: false, reason: reason), until: nil) : .away(reason: reason)
    }

    /// The server said who it is. Returns whether to look at its node.
    mutating func introduced(_ info: InstanceInfo, now: Instant) -> Bool {
        guard self.state == .looking else { return false }
        self.runID = info.runID
        if let objection = info.objection {
            self.refuse(Refusal(isPolicy: false, reason: objection), now: now)
            return false
        }
        return true
    }

    private mutating func refuse(_ refusal: Refusal, now: Instant) {
        self.isSettled = true
        self.node = ""
        self.earlierRefusal = nil
        self.refusedPolicy = nil
        self.tombstone = nil
        self.state = .refused(refusal, until: now + Self.lookAfterRefusal)
    }

    /// Another instance is the same server.
    mutating func isTwin(of other: String, now: Instant) {
        self.refuse(
            Refusal(isPolicy: false, isOfWholeSet: true, reason: "this is the same server as \(other)"), now: now)
    }

    /// The node was looked at.
    ///
    /// - Parameters:
    ///   - asked: with which policy.
    ///   - policies: what this client uses, and can follow.
    /// - Returns: with which policy it has to be looked at once more: an instance does nothing for who comes with another one than
    ///   its own, so it is not known yet whether it has restarted.
    mutating func looked(
        _ reply: InstanceNodeReply, asked: RedlockPolicy, policies: RedlockPolicyStateMachine, now: Instant
    ) -> RedlockPolicy? {
        guard self.state == .looking else { return nil }
        let theirs: RedlockPolicy
        if reply.isRemoved {
            self.refuse(Refusal(isPolicy: false, reason: "it was removed from its set"), now: now)
            if case .ofThisSet(let policy) = policies.judge(reply.policy) { self.tombstone = policy }
            return nil
        }
        if !reply.node.isEmpty {
            switch policies.judge(reply.policy) {
            case .refused(let refusal):
                self.refuse(refusal, now: now)
                self.refusedPolicy = reply.policy
                return nil
            case .ofThisSet(let policy) where policy != asked:
                return policy
            case .ofThisSet(let policy):
                theirs = policy
            }
        } else {
            theirs = asked
        }
        self.isSettled = true
        self.earlierRefusal = nil
        self.floor = reply.floor
        self.policy = nil
        if reply.node.isEmpty {
            self.state = .unused
        } else if reply.opensIn > .zero {
            self.policy = theirs
            self.state = .closed(
                until: now + reply.opensIn, lookAt: now + min(reply.opensIn, Self.lookAfterRefusal), reason: nil)
        } else {
            self.policy = theirs
            self.node = reply.node
            self.hasBeenOpen = true
            self.state = theirs == policies.current ? .open : .apart(lookAt: now + Self.lookWhileApart)
        }
        return nil
    }

    /// It answers, and refuses what it is asked to write: it is no gate and has no vote until it does so again.
    ///
    /// - Parameter isPassing: such refusals pass without anybody doing anything about this client.
    /// - Returns: whether that is news.
    mutating func refusedToWrite(_ reason: String, isPassing: Bool, now: Instant) -> Bool {
        guard self.state == .open else { return false }
        self.node = ""
        let next = now + (isPassing ? Self.secondLook : Self.lookAfterRefusal)
        self.state = .closed(until: next, lookAt: next, reason: reason)
        return true
    }

    /// A script found another node than the one that was seen.
    mutating func foundAnotherNode() {
        guard self.state == .open else { return }
        self.node = ""
        self.state = .looking
    }

    /// It could not be found out who it is.
    ///
    /// - Parameter isRefusal: the server does not say; otherwise it gave no answer, and is looked at again.
    mutating func lookFailed(_ reason: String, isRefusal: Bool, now: Instant) {
        guard self.state == .looking else { return }
        if isRefusal { return self.refuse(Refusal(isPolicy: false, reason: reason), now: now) }
        self.isSettled = true
        self.earlierRefusal = nil
        self.state = .closed(until: now + Self.secondLook, lookAt: now + Self.secondLook, reason: reason)
    }

    /// An instance that gave no answer is looked at again after this.
    private static var secondLook: Duration { .milliseconds(500) }
    /// One that has another policy than the one that is used: the others may follow it, or it them.
    private static var lookWhileApart: Duration { .seconds(1) }
    /// And one that must not be used, or is closed for longer, after this.
    private static var lookAfterRefusal: Duration { .seconds(5) }

    mutating func wasLate() { self.isLate = true }
    mutating func wasPrompt() { self.isLate = false }
}
