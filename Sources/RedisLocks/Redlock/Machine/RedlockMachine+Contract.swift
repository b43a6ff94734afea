import DistributedLocks
import LockKernel
import Logging

/// How answers and news of the machine read in the words of the contract.
///
/// What a connection knows of its first attempt is put in where it is needed: see ``LockError/init(_:_:)``.
extension RedlockMachine.Answer {
    typealias Silence = (Int) -> String?

    /// To a request for a lock.
    func reply(_ silence: Silence) -> Result<AcquireReply, LockError> {
        switch self {
        case .granted(let grant): .success(.granted(LockGrant(grant)))
        case .queued(let ahead, let holder):
            .success(.queued(QueuePlace(waitersAhead: ahead, holders: OwnerText.holders(in: holder))))
        case .busy(let holder): .success(.busy(holders: OwnerText.holders(in: holder)))
        case .failed(let failure): .failure(LockError(failure, silence))
        case .left, .renewed: preconditionFailure("a request for a lock was answered with \(self)")
        }
    }

    /// To who gives a claim back: whether it held the lock.
    func wasHeld(_ silence: Silence) -> Result<Bool, LockError> {
        switch self {
        case .left(let wasHeld): .success(wasHeld)
        case .failed(let failure): .failure(LockError(failure, silence))
        case .granted, .queued, .busy, .renewed:
            preconditionFailure("who gave a claim back was answered with \(self)")
        }
    }

    /// To who renews locks.
    func renewals(_ silence: Silence) -> [LockRenewalReply] {
        guard case .renewed(let answers) = self else {
            preconditionFailure("who renews locks was answered with \(self)")
        }
        return answers.map { answer in
            switch answer {
            case .extended(let until): .extended(until: until.continuous)
            case .lost(let reason): .lost(reason)
            case .failed(let failure): .failed(LockError(failure, silence))
            }
        }
    }
}

extension LockGrant {
    init(_ grant: RedlockMachine.Grant) {
        self.init(token: grant.token, tokenDomain: .clock, validity: grant.validUntil)
    }
}

extension LockError {
    /// - Parameter silence: why nothing can be asked of an instance, while the first attempt to connect goes on.
    init(_ failure: RedlockMachine.Failure, _ silence: (Int) -> String?) {
        let nodes = failure.nodes.map { node in
            NodeFailure(
                node: node.name, message: node.isUntried ? silence(node.instance) ?? node.reason : node.reason)
        }
        self.init(failure.code, failure.message, nodes: nodes)
    }
}

extension LockEvent {
    init(_ news: RedlockMachine.News, _ silence: (Int) -> String?) {
        self =
            switch news {
            case .granted(let attempt, let grant): .granted(attempt, LockGrant(grant))
            case .held(let attempt, let holder): .held(attempt, by: OwnerText.holders(in: holder))
            case .failed(let attempt, let failure): .failed(attempt, LockError(failure, silence))
            case .lost(let attempt, let reason): .lost(attempt, reason)
            }
    }
}

extension Result<RedisReply, RedisError> {
    /// What came of asking an instance, in the machine's words.
    ///
    /// - Parameter parse: `nil`: it is no answer of ours.
    @inline(__always)
    func read<Value>(_ parse: (RESPValue) -> Value?) -> RedlockMachine.Outcome<Value> {
        switch self {
        case .success(let reply): .success(RedlockMachine.Answered(value: parse(reply.value), sentAt: reply.sentAt))
        case .failure(let error): .failure(error)
        }
    }
}

extension RedlockMachine.Note {
    func write(to logger: Logger) {
        switch self {
        case .policyChanged(let generation, let members, let quorum):
            logger.notice(
                "the members or the policy of this Redlock were changed",
                metadata: [
                    "redlock.generation": "\(generation)", "redlock.members": "\(members)",
                    "redlock.quorum": "\(quorum)",
                ])
        case .unusable(let instance, let reason):
            logger.warning(
                "an instance cannot be used",
                metadata: ["redlock.instance": "\(instance)", "redlock.reason": "\(reason)"])
        case .refuses(let instance, let error):
            logger.warning(
                "an instance refuses what it is asked; it is done without until it does not",
                metadata: ["redlock.instance": "\(instance)", "redis.error": "\(error)"])
        case .leftovers(let instance, let count, let reason):
            logger.warning(
                "locks may be left on an instance until their leases end",
                metadata: [
                    "redlock.instance": "\(instance)", "redlock.locks": "\(count)", "redlock.reason": "\(reason)",
                ]
            )
        case .unanswered(let releases):
            logger.warning(
                "locks may be left on instances that have not answered",
                metadata: ["redlock.releases": "\(releases)"])
        }
    }
}

extension RedisClientState {
    var isConnected: Bool {
        if case .connected = self { true } else { false }
    }
}
