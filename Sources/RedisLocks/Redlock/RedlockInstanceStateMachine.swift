import DistributedLocks
import LockKernel

/// Whether one instance can be asked, and if not, why not.
///
/// States: *away* (not connected), *looking* (connected; it is being found out who it is), *unused* (it has no policy), *closed*
/// (it has restarted, and opens by itself; or it does not do what it is asked now), *open*, *refused* (it must not be used).
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
        /// It is looked at again after a while: such things are put right while clients run.
        case refused(Refusal, until: Instant?)
    }

    private static let untried = State.away(reason: "not connected yet")

    private var state = Self.untried {
        didSet {
            self.isOpen = self.state == .open
            self.opensAt =
                switch self.state {
                case .closed(_, let lookAt, _): lookAt
                case .refused(_, let until): until
                case .away, .looking, .unused, .open: nil
                }
        }
    }
    // Asked many times for each lock, so kept.
    private(set) var isOpen = false
    /// When to look again.
    private(set) var opensAt: Instant?
    /// Of the server that is connected; empty as long as it has not said.
    private(set) var runID = ""
    /// What its scripts compare with; only while it is open.
    private(set) var node = ""
    /// Tokens up to this one may have been granted there and forgotten.
    private(set) var floor: Int64 = 0
    /// It did not answer in time lately.
    private(set) var isLate = false
    /// An attempt to use it has ended, one way or the other.
    private(set) var isSettled = false
    private var hasBeenOpen = false
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
        case .away, .unused, .closed, .open: nil
        }
    }

    /// It has no policy.
    var isUnused: Bool { self.state == .unused }

    /// It has this client's policy, for all that is known.
    var hasOurPolicy: Bool {
        switch self.state {
        case .open, .closed(_, _, nil): true
        case .away, .looking, .unused, .closed, .refused: false
        }
    }

    /// It is looked at again.
    mutating func looksAgain() {
        switch self.state {
        case .closed: break
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
        self.state = .refused(refusal, until: now + Self.lookAfterRefusal)
    }

    /// Another instance is the same server.
    mutating func isTwin(of other: String, now: Instant) {
        self.refuse(
            Refusal(isPolicy: false, isOfWholeSet: true, reason: "this is the same server as \(other)"), now: now)
    }

    /// The node was looked at.
    mutating func looked(_ reply: InstanceNodeReply, policy: String, now: Instant) {
        guard self.state == .looking else { return }
        self.isSettled = true
        self.earlierRefusal = nil
        self.floor = reply.floor
        if reply.node.isEmpty {
            self.state = .unused
        } else if reply.policy != policy {
            let isOfWholeSet = Self.set(reply.policy) != Self.set(policy)
            self.refuse(
                Refusal(isPolicy: true, isOfWholeSet: isOfWholeSet, reason: Self.mismatch(reply.policy, policy)),
                now: now)
        } else if reply.opensIn > .zero {
            self.state = .closed(
                until: now + reply.opensIn, lookAt: now + min(reply.opensIn, Self.lookAfterRefusal), reason: nil)
        } else {
            self.node = reply.node
            self.hasBeenOpen = true
            self.state = .open
        }
    }

    /// It is to be given this client's policy.
    mutating func isAdopted() {
        if self.state == .unused { self.state = .looking }
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
    /// And one that must not be used, or is closed for longer, after this.
    private static var lookAfterRefusal: Duration { .seconds(5) }

    mutating func wasLate() { self.isLate = true }
    mutating func wasPrompt() { self.isLate = false }

    /// The name of the set, how many instances it has and how many are a quorum: where these agree, quorums meet.
    private static func set(_ policy: String) -> [Substring] { Array(policy.split(separator: " ").prefix(3)) }

    private static func mismatch(_ theirs: String, _ ours: String) -> String {
        let names = ["set", "number of instances", "quorum", "longest lease in ms", "clock skew in ms"]
        let pairs = zip(names, zip(theirs.split(separator: " "), ours.split(separator: " ")))
        let differences = pairs.filter { $0.1.0 != $0.1.1 }.map { name, values in
            name == "set"
                ? "it belongs to another set of instances (another list of servers)"
                : "its \(name) is \(values.0), and this client's is \(values.1)"
        }
        return "set up with another policy: " + differences.joined(separator: ", ")
    }
}
