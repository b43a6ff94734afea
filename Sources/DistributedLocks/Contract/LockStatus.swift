/// What a backend knows of one lock at one instant. By the time it is read it may have changed: for people and for
/// diagnosis, never to decide whether to write.
public struct LockStatus: Sendable {
    /// A holder.
    public struct Holder: Sendable {
        /// Who it is; `nil` where a foreign library holds the lock.
        public var metadata: OwnerMetadata?
        /// The token of its grant; `nil` where a foreign library holds the lock.
        public var token: FencingToken?
        /// How long its lease still lasts on the server; `nil` if it has none, or if that is not known.
        public var remainingLease: Duration?
        /// How long it has held the lock, where known.
        public var heldFor: Duration?
        /// Whether an operator has broken the lock and the holder has not confirmed it yet.
        public var isBroken: Bool

        /// Describes a holder.
        public init(
            metadata: OwnerMetadata?,
            token: FencingToken?,
            remainingLease: Duration?,
            heldFor: Duration?,
            isBroken: Bool
        ) {
            self.metadata = metadata
            self.token = token
            self.remainingLease = remainingLease
            self.heldFor = heldFor
            self.isBroken = isBroken
        }
    }

    /// A waiter.
    public struct Waiter: Sendable {
        /// Who it is, where known.
        public var metadata: OwnerMetadata?
        /// How long it has waited, where known.
        public var waitingFor: Duration?

        /// Describes a waiter.
        public init(metadata: OwnerMetadata?, waitingFor: Duration?) {
            self.metadata = metadata
            self.waitingFor = waitingFor
        }
    }

    /// Something that is none of the lock's own data and stands in its place, or data that cannot be read: a key of another
    /// type, a node that belongs to another user.
    public struct Obstacle: Sendable, Hashable {
        /// Where: a key, or the path of a node.
        public var place: String
        /// What is there, in words.
        public var reason: String
        /// Whether it stands where the holder would, or hides it.
        public var hidesHolder: Bool

        /// Describes an obstacle.
        public init(place: String, reason: String, hidesHolder: Bool) {
            self.place = place
            self.reason = reason
            self.hidesHolder = hidesHolder
        }
    }

    /// What one of several independent servers says.
    public struct Node: Sendable {
        /// The server, without credentials.
        public var name: String
        /// What it says of the lock, or why it says nothing, in words.
        public var state: String

        /// Describes a server.
        public init(name: String, state: String) {
            self.name = name
            self.state = state
        }
    }

    /// The lock.
    public var name: LockName
    /// Who holds it: nobody, or one, as long as locks are exclusive.
    public var holders: [Holder]
    /// The first of ``holders``: who holds an exclusive lock, if anybody does.
    public var holder: Holder? { self.holders.first }
    /// Who waits for it, the next one first. A backend may leave out those far behind: ``waiterCount`` tells how many there are.
    public var waiters: [Waiter]
    /// How many wait for it. Where `waiters` does not have them all, some of the others may have gone without a word.
    public var waiterCount: Int
    /// The token of the last grant, where known.
    public var lastToken: FencingToken?
    /// The domain of the tokens.
    public var tokenDomain: TokenDomain
    /// What each of several independent servers says; empty where there is one store.
    public var nodes: [Node]
    /// What is not as it should be where the lock is kept: it may keep the lock from being read, or from being granted.
    public var obstacles: [Obstacle]

    /// Describes a lock. Without a `waiterCount` there are as many waiters as `waiters` has.
    public init(
        name: LockName,
        holders: [Holder],
        waiters: [Waiter],
        lastToken: FencingToken?,
        tokenDomain: TokenDomain,
        nodes: [Node] = [],
        waiterCount: Int? = nil,
        obstacles: [Obstacle] = []
    ) {
        self.name = name
        self.holders = holders
        self.waiters = waiters
        self.lastToken = lastToken
        self.tokenDomain = tokenDomain
        self.nodes = nodes
        self.waiterCount = waiterCount ?? waiters.count
        self.obstacles = obstacles
    }
}
