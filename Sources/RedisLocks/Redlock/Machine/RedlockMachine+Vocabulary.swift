import DequeModule
import DistributedLocks
import LockKernel

/// Names who waits for an answer.
struct CallID: Hashable, Sendable {
    let rawValue: UInt64
}

/// What ``RedlockMachine`` asks for, and what it is answered.
extension RedlockMachine {
    typealias Instant = BootInstant

    /// Names a claim. One attempt may have several, one after another, when it asks again after its release.
    struct ClaimID: Hashable, Sendable {
        let attempt: AttemptID
        /// Rises with everything that this client begins.
        let beginning: UInt64
        /// Where it stands, so that it is found without being sought.
        let place: Int
    }

    enum Effect: Equatable {
        /// Ask instances. Their answers come with the request.
        ///
        /// - Parameter first: the instance to begin with; those before it come last.
        case ask(Request, of: InstanceSet, from: Int, deadline: Instant)
        /// What is asked until ``letRequestsGo`` leaves in one write for each instance.
        case holdRequests
        case letRequestsGo
        /// What an instance is asked with from now on.
        case setNode(of: Int, String)
        case answer(CallID, Answer)
        /// Tell the client.
        case tell(News)
        /// Somebody who wants to ask the instances something may begin.
        case begin(CallID)
        /// Start the alarm, in the place of what it was set to.
        case wake(at: Instant)
        /// Start a timer.
        case start(Timer, Duration)
        case cancel(Timer)
        /// An instance has refused something: say so again at the end of this turn of the event loop.
        case awaitEndOfTurn(refusedBy: Int)
        /// Leave a connection on which nothing has arrived for so long.
        case leaveIfSilent(Int, for: Duration)
        /// Leave a connection, if it is still there.
        case leave(Int, RedisConnectionID, reason: String)
        /// Cut the pause before the next attempt to connect short.
        case hurry(Int)
        case note(Note)
        /// Nothing is left to be released: the connections may end.
        case disconnect
        /// Nobody is told anything any more.
        case finish
    }

    // MARK: Requests

    /// What an instance is asked; with it its answer comes back. In memory of its own, as it is handed from one to the other.
    indirect enum Request: Equatable {
        /// For the lock, with a token.
        case lock(Proposal)
        case release(Release)
        case renew(Renewal)
        case turn(TurnRequest)
        /// Who it is. Of several looks at an instance the last one counts.
        case introduction(look: UInt64)
        case node(NodeRequest)
        /// To release nothing: so it knows the script of releases before it is needed.
        case nothing
    }

    /// What one round asks of all instances.
    struct Proposal: Equatable {
        let claim: ClaimID
        let number: UInt64
        let key: String
        /// Who the lock's key will name.
        let owner: LockOwner.Secret
        let metadata: OwnerMetadata
        let token: Int64
        /// How far the token may be ahead of an instance's clock.
        let skew: Int64
        let leaseInMilliseconds: Int64
        /// Where the lock is held, the instance tells this owner when that is over.
        let told: LockOwner.Secret?
    }

    /// What is taken back on instances.
    struct Release: Equatable {
        enum What: Equatable {
            /// The key of a round.
            case lock
            /// The turn, or the place of one who waits for it.
            case turn
        }

        let what: What
        let key: String
        let owner: LockOwner.Secret
        let metadata: OwnerMetadata
        /// The key has ended by then.
        let until: Instant
        /// Where its answers are counted; `nil`: they decide nothing.
        var election: Int?
        /// It is tried again although the instance has refused it: it tells whether others have a chance.
        var isProbe = false
    }

    /// What one renewal asks of all instances.
    struct Renewal: Equatable {
        let number: UInt64
        let key: String
        let owner: LockOwner.Secret
        let metadata: OwnerMetadata
        let leaseInMilliseconds: Int64
        let policy: String
    }

    struct TurnRequest: Equatable {
        enum What: Equatable {
            /// To be given the turn, or a place in its queue.
            ///
            /// - Parameter maximumWaiters: not if so many wait.
            case ask(maximumWaiters: Int)
            case keep
        }

        let what: What
        let claim: ClaimID
        let key: String
        let owner: LockOwner.Secret
        let metadata: OwnerMetadata
        /// For how long the turn is kept unless it is renewed.
        let lease: Duration
        /// For how long a place in the queue is.
        let registration: Duration
    }

    /// What an instance is asked about its node: see Scripts/Lua/instance-node.lua.
    struct NodeRequest: Equatable {
        enum Purpose: Equatable {
            /// Whether it may be used, and with which policy.
            case look(UInt64)
            /// Whether it still has the policy that it had in that look.
            case confirm(UInt64)
            /// What somebody who asks by hand wants.
            case byHand
        }

        let purpose: Purpose
        /// What to do about the node.
        let mode: String
        /// The policy that it has, or gets.
        let policy: RedlockPolicy
        let runID: String
        /// The policy that it has now, where tokens begin after the change, and by how much later the next change may begin.
        var change: Change?

        struct Change: Equatable {
            let expected: String
            let floor: Int64
            let delay: Duration
        }
    }

    // MARK: What instances answer

    /// What came of asking an instance.
    typealias Outcome<Value> = Result<Answered<Value>, RedisError>

    struct Answered<Value> {
        /// `nil`: it makes no sense.
        let value: Value?
        /// Before the first byte of what was asked left.
        let sentAt: Instant
    }

    // MARK: Answers and news

    enum Answer: Equatable {
        case granted(Grant)
        /// - Parameter holder: as its key names it; empty: not known.
        case queued(ahead: Int?, holder: String)
        case busy(holder: String)
        case failed(Failure)
        /// The claim has been given back.
        case left(wasHeld: Bool)
        case renewed([RenewalAnswer])
    }

    struct Grant: Equatable {
        let token: FencingToken
        let validUntil: Instant
    }

    enum RenewalAnswer: Equatable {
        case extended(until: Instant)
        case lost(LockError.LossReason)
        case failed(Failure)
    }

    enum News: Equatable {
        case granted(AttemptID, Grant)
        case held(AttemptID, by: String)
        case failed(AttemptID, Failure)
        case lost(AttemptID, LockError.LossReason)
    }

    struct Failure: Error, Equatable {
        struct Node: Equatable {
            let instance: Int
            let name: String
            let reason: String
            /// No attempt to connect has ended: the connection knows more.
            var isUntried = false
        }

        let code: LockError.Code
        let message: String
        var nodes: [Node] = []

        init(_ code: LockError.Code, _ message: String, nodes: [Node] = []) {
            self.code = code
            self.message = message
            self.nodes = nodes
        }
    }

    /// What is written to the log.
    enum Note: Equatable {
        case policyChanged(generation: Int, members: Int, quorum: Int)
        case unusable(instance: String, reason: String)
        case refuses(instance: String, error: String)
        case leftovers(instance: String, count: Int, reason: String)
        case unanswered(releases: Int)
    }

    /// A timer counts from when it is started.
    enum Timer: Hashable {
        /// Releases wait for company.
        case releases
        /// A client that ends waits for its releases.
        case end
    }

    /// What the machine wants done, in its order.
    struct Outbox {
        private var effects: Deque<Effect> = []

        mutating func next() -> Effect? { self.effects.popFirst() }
        mutating func add(_ effect: consuming Effect) { self.effects.append(effect) }

        mutating func ask(
            _ request: consuming Request, of instances: InstanceSet, from first: Int = 0, deadline: Instant
        ) {
            if !instances.isEmpty { self.add(.ask(request, of: instances, from: first, deadline: deadline)) }
        }
    }
}
