import DistributedLocks
import LockKernel

/// What all claims of a client have in common: the session, the folders, nodes that come too late, watches, and what leaves. A
/// part of ``ZooKeeperMachine``, which has the parts change each other through it. Pure.
struct Ensemble {
    let paths: NodePaths
    let access: NodeAccess
    private let wantedTimeout: Duration
    var now: BootInstant
    var session: SessionMachine
    var folders = FolderUpkeepMachine()
    var lateNodes = LateNodesMachine()
    var watches = WatchTable()
    var creations: Creations
    var outbox = Outbox()

    init(paths: NodePaths, access: NodeAccess, wantedTimeout: Duration, maker: ContenderNode.Maker, now: BootInstant) {
        self.paths = paths
        self.access = access
        self.wantedTimeout = wantedTimeout
        self.now = now
        self.session = SessionMachine(paths: paths, access: access)
        self.creations = Creations(maker: maker, access: access)
    }

    var mayGrant: Bool { self.session.mayGrant(now: self.now) }

    /// How long a lock is held by who does nothing.
    var lease: Duration { self.session.session?.timeout ?? self.wantedTimeout }

    /// A lock's folder is there, or has been asked for.
    mutating func noteFolder(_ lock: String, isThere: Bool) {
        self.folders.noted(lock, isThere: isThere, now: self.now, &self.outbox)
    }

    mutating func seen(
        _ nodes: [ContenderNode], of lock: String, isStray: (ContenderNode) -> Bool
    ) -> [ContenderNode] {
        self.lateNodes.seen(nodes, of: lock, now: self.now, isStray: isStray, &self.outbox)
    }

    mutating func expectGhost(_ uuid: String, of lock: String) {
        self.lateNodes.expected(uuid, of: lock, now: self.now, &self.outbox)
    }

    mutating func watch(_ path: String, by attempt: AttemptID, _ question: ZooKeeperMachine.Question) {
        self.watches.watched(path, by: attempt)
        // `exists` would leave a watch behind on a node that is gone.
        self.outbox.ask(.getData(path: path, watch: true), question)
    }

    /// It does not matter to this claim any more what happens to the nodes that it has watched.
    mutating func stopWatching(_ attempt: AttemptID) {
        for path in self.watches.stopped(attempt) { self.outbox.add(.forgetWatch(path)) }
    }
}

/// How contenders are made, each with a name of its own. Pure.
struct Creations {
    /// What the nodes of this client have in common.
    let maker: ContenderNode.Maker
    private let access: NodeAccess
    private var count: UInt16 = 0
    /// Of the contender that was made last.
    private var data = EncodedMetadata { ContenderData(metadata: $0).bytes }

    init(maker: ContenderNode.Maker, access: NodeAccess) {
        self.maker = maker
        self.access = access
    }

    /// The name of the next node.
    mutating func next(for attempt: AttemptID) -> String {
        self.count &+= 1
        return self.maker.uuid(of: attempt, count: self.count)
    }

    mutating func request(_ uuid: String, for name: ClaimIdentity) -> ZooKeeperRequest {
        .create(
            path: name.lock + "/" + ContenderNode.stem(uuid: uuid),
            data: self.data.bytes(of: name.claim.owner.metadata),
            access: self.access, mode: .ephemeralSequential)
    }
}
