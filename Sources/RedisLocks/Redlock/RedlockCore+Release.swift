import DistributedLocks
import LockKernel
import NIOCore

extension RedlockCore {
    /// What is taken back on instances: the key of a round, a turn. It takes the answers of all of them, by their indices.
    ///
    /// Made and called on the event loop only.
    final class Release: RedisOutcomeHandler, @unchecked Sendable {
        let key: String
        /// The key has ended by then.
        let until: Instant
        let deadline: Instant
        /// Who wants to know what becomes of it.
        let election: Election?
        private let script: RedisScript
        private let owner: ScriptArgument
        // The core has the clients, whose requests have this. All of those have ended before it is gone.
        private unowned let core: RedlockCore
        /// What is sent to more than one instance, encoded once.
        private lazy var command = self.script.command(key: self.key, [self.owner])

        /// - Parameters:
        ///   - script: `instanceRelease`, or `cancel` for a turn.
        ///   - lasts: the key has ended after this in any case.
        init(
            _ script: RedisScript,
            _ key: String,
            owner: ScriptArgument,
            lasts: Duration,
            election: Election? = nil,
            core: RedlockCore
        ) {
            let now = core.now
            self.script = script
            self.key = key
            self.owner = owner
            self.until = now + lasts
            self.deadline = core.deadline(nil, now: now)
            self.election = election
            self.core = core
        }

        /// The same for an instance that has not answered. What it answers now decides nothing any more.
        func again(now: Instant) -> Release {
            Release(self.script, self.key, owner: self.owner, lasts: self.until - now, core: self.core)
        }

        func submit(to instance: Instance) {
            instance.client.submit(self.command, deadline: self.deadline, handler: self, number: instance.index)
        }

        func isWanted(_ index: Int) -> Bool { true }

        func tail(_ index: Int) -> ByteBuffer? { nil }

        func completed(_ index: Int, _ outcome: Exchange) {
            self.core.answered(self.core.instances[index], self, outcome)
        }
    }

    /// What the instances say to a release of the lock that a claim held, which a quorum has to confirm.
    final class Election {
        let claim: Claim
        var ballot: Ballot
        /// `nil`: nobody waits for the result.
        let continuation: LeaveContinuation?

        init(_ claim: Claim, count: Int, quorum: Int, continuation: LeaveContinuation?) {
            self.claim = claim
            self.ballot = Ballot(count: count, quorum: quorum)
            self.continuation = continuation
        }
    }

    /// Releases on one instance what this client must not leave there. It is repeated until the instance has answered, or the
    /// lease is over.
    ///
    /// - Parameter isKept: whether there may be something to release, if the instance cannot be reached now.
    func send(_ release: Release, to instance: Instance, isKept: Bool = true) {
        guard instance.isConnected else {
            if isKept { self.keep(release, for: instance) }
            return self.voted(release, nil)
        }
        self.outbox.sent()
        release.submit(to: instance)
    }

    private func answered(_ instance: Instance, _ release: Release, _ outcome: Exchange) {
        let isProbe = instance.probe === release
        if isProbe { instance.probe = nil }
        switch outcome {
        case .success(let reply):
            self.answered(instance, reply)
            if isProbe { self.releaseLeftovers(of: instance) }
            self.voted(release, reply.value.int)
        case .failure(let error):
            self.heard(error, from: instance)
            self.keep(release, for: instance)
            self.voted(release, nil)
        }
        self.outbox.answered()
        self.releasesChanged()
    }

    private func keep(_ release: Release, for instance: Instance) {
        let now = self.now
        guard instance.leftovers.keep(release, until: release.until, now: now) else { return }
        // Where there is no connection, the next one is waited for.
        if instance.isConnected || self.isEnding { self.retryLeftovers(at: now + self.pauseBeforeRetry) }
    }

    /// What an instance has refused is tried again after this. A client that ends has little time.
    private var pauseBeforeRetry: Duration { self.isEnding ? .milliseconds(100) : .milliseconds(500) }

    private func retryLeftovers(at instant: Instant) {
        self.outbox.retry(at: instant)
        self.armTimer()
    }

    /// Tries again what connected instances have refused: one release on each, which tells whether the others have a chance.
    /// Where there is no connection, a client that ends does not wait until the pause before the next attempt is over.
    func retryLeftovers() {
        let now = self.now
        for instance in self.instances {
            guard !instance.leftovers.isEmpty(at: now) else { continue }
            if self.isEnding { self.retryLeftovers(at: now + self.pauseBeforeRetry) }
            guard instance.isConnected else {
                if self.isEnding { instance.client.hurry() }
                continue
            }
            guard instance.probe == nil, let probe = instance.leftovers.takeFirst(at: now)?.again(now: now) else {
                continue
            }
            instance.probe = probe
            self.send(probe, to: instance)
        }
    }

    func releaseLeftovers(of instance: Instance) {
        let now = self.now
        for leftover in instance.leftovers.takeAll(at: now) { self.send(leftover.again(now: now), to: instance) }
    }

    /// - Parameter answer: what an instance has answered to a release; `nil`: nothing, or it cannot be reached.
    private func voted(_ release: Release, _ answer: Int64?) {
        guard let election = release.election else { return }
        let vote: Ballot.Vote
        switch answer {
        case 1: vote = .yes
        case 2:
            vote = .yes
            self.recent.contended(election.claim.claim.name, now: self.now)
        case 0: vote = .no
        default: vote = .none
        }
        guard let verdict = election.ballot.voted(vote) else { return }
        switch verdict {
        case .yes, .undecided:
            self.forget(election.claim)
            election.continuation?.resume(returning: .success(true))
        case .no:
            self.forget(election.claim)
            election.continuation?.resume(returning: .success(false))
        case .noQuorum:
            election.continuation?.resume(returning: .failure(self.noQuorum()))
        }
    }
}
