import DistributedLocks
import LockKernel

/// What ``ZooKeeperMachine`` is told, and what it asks for.
extension ZooKeeperMachine {
    typealias Instant = BootInstant

    enum Event {
        /// The backend runs.
        case started
        /// Somebody asks for a lock, and waits for the answer.
        case requested(AcquireRequest, CallID)
        /// Who has asked for a lock waits no longer.
        ///
        /// - Parameter silence: why nothing is connected, if nothing is.
        case cancelled(AttemptID, silence: ZooKeeperError)
        /// A claim is given back.
        ///
        /// - Parameter call: who waits for the answer; `nil`: nobody does.
        case withdrawn(AttemptID, call: CallID?)
        case inquired(Inquiry, CallID, silence: ZooKeeperError)
        /// What was asked is answered, or will have no answer.
        case answered(Question, Result<ZooKeeperReply, ZooKeeperError>)
        /// The session is attached to a server.
        ///
        /// - Parameters:
        ///   - sentAt: before the first byte of what attached it.
        ///   - name: what the ensemble's history is called if it has no name yet: 32 hexadecimal digits, drawn for this event.
        case attached(ZooKeeperSession, isNew: Bool, sentAt: Instant, name: String)
        /// The connection has ended, or could not be made. What was out has no answer yet.
        case suspended(ZooKeeperError)
        case expired(ZooKeeperSession)
        case watchFired(WatchEvent)
        case turnEnded(Turn)
        case timerFired(Timer, silence: ZooKeeperError)
        case alarmFired(Alarm)
        /// The backend is to end.
        case ended
        /// The session is closed, or given up, and nothing is connected any more.
        case stopped
    }

    enum Effect: Equatable {
        /// Connect, and go on until the end of the session is asked for.
        case connect
        /// Send a request; its answer comes with the question.
        case ask(ZooKeeperRequest, Question)
        case answer(CallID, Answer)
        /// Tell the client.
        case tell(News)
        /// Start a timer, in the place of one of this name.
        case start(Timer, Pause)
        case cancel(Timer)
        /// Start an alarm, in the place of one of this name.
        case wake(Alarm, at: Instant)
        case silence(Alarm)
        case awaitEnd(of: Turn)
        /// Nobody wants to hear of this watch any more.
        case forgetWatch(String)
        /// What must come first in the session is done.
        case finishSetUp
        /// Leave the server for another one.
        case leaveServer(String, isRefusal: Bool)
        /// The timeout of the session that was made.
        case publish(timeout: Duration)
        case note(Note)
        case endSession
        /// Nobody is told anything any more, and whoever runs the backend runs it no longer.
        case finish
    }

    // MARK: Time

    /// A timer counts from when it is started.
    enum Timer: Hashable {
        /// Of who waits for an answer to a request for a lock.
        case request(AttemptID)
        /// Of those who wait for a claim to be given back.
        case leave(AttemptID)
        case inquiry(CallID)
        /// What a claim has to do next.
        case claim(ClaimID)
        /// A claim whose requests may be too long for a server asks again later.
        case postponed(ClaimID)
        /// Writes wait for company.
        case writes

        // Two are started with each grant: one number is quicker than the parts.
        func hash(into hasher: inout Hasher) {
            switch self {
            case .request(let attempt): hasher.combine(attempt.rawValue << 3)
            case .leave(let attempt): hasher.combine(attempt.rawValue << 3 | 1)
            case .inquiry(let call): hasher.combine(call.rawValue << 3 | 2)
            case .claim(let id): hasher.combine(id.attempt.rawValue << 3 | 3)
            case .postponed(let id): hasher.combine(id.attempt.rawValue << 3 | 4)
            case .writes: hasher.combine(5)
            }
        }
    }

    /// An alarm is due at an instant, also if the machine has been suspended.
    enum Alarm: Equatable {
        case beat
        case ghosts
        case sweep
    }

    /// How long a timer runs: anything between these two, drawn at random.
    struct Pause: Equatable {
        let shortest: Duration
        let longest: Duration

        static func exactly(_ pause: Duration) -> Pause { Pause(shortest: pause, longest: pause) }

        static func milliseconds(_ range: ClosedRange<Int>) -> Pause {
            Pause(shortest: .milliseconds(range.lowerBound), longest: .milliseconds(range.upperBound))
        }
    }

    /// What is done at the end of a turn of the event loop.
    enum Turn: Equatable {
        case writes
        case list(lock: String)
    }

    // MARK: Answers

    enum Answer: Equatable {
        case granted(Grant)
        case queued(waitersAhead: Int?)
        case busy(holder: OwnerMetadata?)
        /// The claim has been given back.
        case left(wasHeld: Bool)
        case status(Standing)
        /// The nodes of all locks.
        case names([String])
        case broken(OwnerMetadata?)
        case cannotBeTold
        case notHeld
        /// Why the session cannot be used.
        case trouble(Failure?)
        case failed(Failure)
    }

    struct Grant: Equatable {
        let token: FencingToken
        let domain: TokenDomain
        let validUntil: Instant
    }

    struct Failure: Equatable {
        let code: LockError.Code
        let message: String

        init(_ code: LockError.Code, _ message: String) {
            self.code = code
            self.message = message
        }

        init(_ error: LockError) { self.init(error.code, error.message) }
        init(_ error: ZooKeeperError) { self.init(LockError(error)) }
    }

    enum News: Equatable {
        case granted(AttemptID, Grant)
        case gone(AttemptID)
        /// Who holds the lock that a claim waits for.
        case held(AttemptID, by: OwnerMetadata)
        case lost(AttemptID, LockError.LossReason)
        case sessionExtended(until: Instant)
        case sessionLost
    }

    /// What is written to the log.
    enum Note: Equatable {
        case refusedAndAskedAgain(lock: String, error: String)
        case refused(lock: String, ZooKeeperCode)
        case postponed(lock: String, by: Pause)
        case deletedGhost(path: String)
        case expired(session: String)
        case unproven(ZooKeeperCode)
    }

    // MARK: Questions

    /// What has been asked, by which its answer finds its way. In memory of its own, as it is handed from one to the other ten times.
    indirect enum Question: Equatable {
        /// Whatever the answer is, nothing follows from it.
        case nothing
        case claim(ClaimID, lock: String, ClaimQuestion)
        case write(Write)
        /// Writes that left as one transaction.
        case writes([Write], WriteBatchID)
        /// The contenders of a lock, for claims that lost their predecessors in one turn.
        case list(lock: String, [ClaimID])
        case parents(ParentsMachine, ParentsPurpose)
        case setUp(SessionMachine.Step)
        /// A write of the chain, and when the next one is due.
        case beat(next: Instant)
        /// The session's node, which an operator has deleted, was to be made again.
        case sessionNode(next: Instant)
        /// Folders were to be deleted by one transaction.
        case folders([String], isEnd: Bool)
        /// One of the folders that could not be deleted together.
        case folder(String, isLast: Bool, isEnd: Bool)
        case ghost(uuid: String, lock: String)
        case ghosts(lock: String, awaited: Set<String>)
        /// Who holds a lock that was asked for in vain.
        case holder(CallID?, lock: String)
        case inquiry(CallID, InquiriesMachine.Step)
    }

    /// What one claim has asked.
    enum ClaimQuestion: Equatable {
        case createWithFolder(WriteBatchID)
        /// With which transaction the list was sent, whose failure makes it worthless.
        case list(with: WriteBatchID)
        case seek(uuid: String)
        case inspect(ContenderNode)
        case identify(ContenderNode)
        case watch(ContenderNode)
        case watchOwn
        case watchFolder
        case look
        case deleteFolder
    }

    /// For what nodes under which others stand are made.
    enum ParentsPurpose: Equatable {
        case setUp
        case beat(next: Instant)
        case claim(ClaimID)
    }
}

/// Names who waits for an answer.
struct CallID: Hashable {
    let rawValue: UInt64
}

/// Names a claim. One that begins again has another name.
struct ClaimID: Hashable {
    let attempt: AttemptID
    let beginning: UInt32

    // Of one attempt there are few.
    func hash(into hasher: inout Hasher) { hasher.combine(self.attempt.rawValue) }
}

/// A claim with its name, and the folder of its lock.
struct ClaimIdentity {
    let id: ClaimID
    let claim: LockClaim
    let lock: String
}

/// Names a transaction of several writes; 0: none.
struct WriteBatchID: Hashable {
    var rawValue: UInt32 = 0
}

/// A contender's node is to be made or deleted.
struct Write: Equatable {
    let claim: ClaimID
    let lock: String
    let request: ZooKeeperRequest
    let isCreate: Bool
}

/// What people ask.
enum Inquiry: Equatable {
    case status(lock: String)
    /// All locks.
    case names
    case breakLock(lock: String, immediately: Bool)
    case trouble
}

/// Who stands in a lock's folder.
struct Standing: Equatable {
    /// Without a state of its node is one that this user may not read.
    struct Entry: Equatable {
        let node: ContenderNode
        let data: ContenderData?
        let stat: NodeStat?
    }

    let lock: String
    /// In their order; `nil`: this user may not read the folder. An unlocked name has none.
    let entries: [Entry]?
    let session: ZooKeeperSession?
    let domain: TokenDomain
}
