import DistributedLocks
import LockKernel
import Logging

/// How answers and news of the machine read in the words of the contract.
extension ZooKeeperMachine.Answer {
    /// To a request for a lock.
    var reply: Result<AcquireReply, LockError> {
        switch self {
        case .granted(let grant): .success(.granted(LockGrant(grant)))
        case .queued(let ahead): .success(.queued(QueuePlace(waitersAhead: ahead, holders: [])))
        case .busy(let holder): .success(.busy(holders: holder.map { [$0] } ?? []))
        case .failed(let failure): .failure(LockError(failure))
        case .left, .status, .names, .broken, .cannotBeTold, .notHeld, .trouble:
            preconditionFailure("a request for a lock was answered with \(self)")
        }
    }

    /// To who gives a claim back: whether it held the lock.
    var wasHeld: Result<Bool, LockError> {
        switch self {
        case .left(let wasHeld): .success(wasHeld)
        case .failed(let failure): .failure(LockError(failure))
        case .granted, .queued, .busy, .status, .names, .broken, .cannotBeTold, .notHeld, .trouble:
            preconditionFailure("who gave a claim back was answered with \(self)")
        }
    }
}

extension LockGrant {
    init(_ grant: ZooKeeperMachine.Grant) {
        self.init(token: grant.token, tokenDomain: grant.domain, validity: grant.validUntil)
    }
}

extension LockError {
    init(_ failure: ZooKeeperMachine.Failure) { self.init(failure.code, failure.message) }
}

extension LockEvent {
    init(_ news: ZooKeeperMachine.News) {
        self =
            switch news {
            case .granted(let attempt, let grant): .granted(attempt, LockGrant(grant))
            case .gone(let attempt): .gone(attempt)
            case .held(let attempt, let holder): .held(attempt, by: [holder])
            case .lost(let attempt, let reason): .lost(attempt, reason)
            case .sessionExtended(let until): .sessionExtended(until: until.continuous)
            case .sessionLost: .sessionLost
            }
    }
}

extension ZooKeeperMachine.Pause {
    /// - Parameter fraction: from 0 to below 1, drawn if it is needed.
    func drawn(_ fraction: () -> Double) -> Duration {
        self.shortest == self.longest ? self.longest : self.shortest + (self.longest - self.shortest) * fraction()
    }
}

extension ZooKeeperMachine.Note {
    func write(to logger: Logger) {
        switch self {
        case .refusedAndAskedAgain(let lock, let error):
            logger.warning(
                "a request for a lock was refused, and is asked again",
                metadata: ["lock.name": "\(lock)", "zookeeper.error": "\(error)"])
        case .refused(let lock, let code):
            logger.warning(
                "the ensemble refused a request for a lock",
                metadata: ["lock.name": "\(lock)", "zookeeper.code": "\(code)"])
        case .postponed(let lock, let pause):
            logger.warning(
                "a claim gets no answers, and asks again later: a server ends connections on which a request is too long for it",
                metadata: ["lock.name": "\(lock)", "lock.pause": "\(pause.longest)"])
        case .deletedGhost(let path):
            logger.notice(
                "a node whose making was given up came to be after all, and is deleted",
                metadata: ["zookeeper.path": "\(path)"])
        case .expired(let session):
            logger.warning("the session has expired", metadata: ["zookeeper.session": "\(session)"])
        case .unproven(let code):
            logger.warning("the session cannot prove that it lives", metadata: ["zookeeper.code": "\(code)"])
        }
    }
}

extension LockStatus {
    /// What is known of a lock.
    init(_ name: LockName, _ standing: Standing) {
        guard let entries = standing.entries else {
            let obstacle = Obstacle(
                place: standing.lock, reason: "another user's folder, which this one may not read", hidesHolder: true)
            self.init(
                name: name, holders: [], waiters: [], lastToken: nil, tokenDomain: standing.domain,
                obstacles: [obstacle])
            return
        }
        let holder = entries.first.map { Holder($0, of: standing.session) }
        self.init(
            name: name,
            holders: holder.map { [$0] } ?? [],
            waiters: entries.dropFirst().map { Waiter(metadata: $0.data?.metadata, waitingFor: nil) },
            lastToken: holder?.token,
            tokenDomain: standing.domain,
            obstacles: entries.filter { $0.stat == nil }.map {
                Obstacle(
                    place: standing.lock + "/" + $0.node.name,
                    reason: "another user's node, which this one may not read",
                    hidesHolder: $0.node == entries.first?.node)
            }
        )
    }
}

extension LockStatus.Holder {
    fileprivate init(_ entry: Standing.Entry, of session: ZooKeeperSession?) {
        self.init(
            metadata: entry.data?.metadata,
            // What the token of another kind of contender would be is not known.
            token: entry.node.isClaim ? entry.stat.flatMap { FencingToken(rawValue: $0.czxid) } : nil,
            // Each session has a timeout of its own, which only the ensemble and its client know.
            remainingLease: entry.stat?.ephemeralOwner == session?.id ? session?.timeout : nil,
            heldFor: nil,
            isBroken: entry.data?.isBroken ?? false
        )
    }
}
