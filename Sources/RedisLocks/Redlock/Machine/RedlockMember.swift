import DistributedLocks
import LockKernel

/// One instance, as this client sees it: its ``RedlockInstanceStateMachine``, and the looks at it. A part of ``RedlockMembers``. Pure.
///
/// It is looked at in two steps: who the server is, and what its node says. Of several looks the last one counts: what an earlier one
/// finds is of no interest. Beside that it may be *confirming*: it goes on, while it is asked whether it still has its policy.
struct RedlockMember {
    typealias Instant = BootInstant
    typealias NodeRequest = RedlockMachine.NodeRequest
    typealias Outbox = RedlockMachine.Outbox
    typealias Outcome = RedlockMachine.Outcome
    typealias Refusal = RedlockInstanceStateMachine.Refusal

    /// What an instance is looked at with.
    struct Terms {
        let now: Instant
        /// When it has to have answered.
        let deadline: Instant
        /// What is done about its node: see Scripts/Lua/instance-node.lua.
        let mode: String
        let policies: RedlockPolicyStateMachine
    }

    /// What follows an event.
    enum News: Equatable {
        case none
        /// Something is known of it that was not known before.
        case changed
        /// It has said which server it is: unless another instance is the same one, look at its node.
        case introduced
    }

    let index: Int
    let name: String
    private var machine = RedlockInstanceStateMachine()
    /// What was logged of it last.
    private var loggedRefusal: Refusal?
    private var isConfirming = false
    /// How many times somebody has looked at it.
    private var looks: UInt64 = 0
    /// What was found when it was looked at last.
    private(set) var found: InstanceNodeReply?
    /// Before that was asked for, and when the answer had come.
    private var lookedAt: Instant?
    private var answeredAt: Instant?

    init(index: Int, name: String) {
        self.index = index
        self.name = name
    }

    var isOpen: Bool { self.machine.isOpen }
    var isLate: Bool { self.machine.isLate }
    var isSettled: Bool { self.machine.isSettled }
    var isUntried: Bool { self.machine.isUntried }
    var isRefused: Bool { self.machine.isRefused }
    var refusal: Refusal? { self.machine.refusal }
    var opensAt: Instant? { self.machine.opensAt }
    var runID: String { self.machine.runID }
    /// Tokens up to this one may have been granted there and forgotten.
    var floor: Int64 { self.machine.floor }

    /// Why it cannot be asked now; `nil` if it can.
    func reason(now: Instant) -> String? { self.machine.reason(now: now) }

    /// What is known of its policy.
    func sighting(now: Instant) -> RedlockPolicyStateMachine.Sighting {
        .init(
            kind: self.machine.sighting, seenAt: self.lookedAt ?? now, answeredAt: self.answeredAt ?? now,
            floor: self.machine.floor)
    }

    /// What is to be logged of it: once, until something else is wrong with it.
    mutating func takeNewRefusal() -> Refusal? {
        guard let refusal = self.machine.refusal, refusal != self.loggedRefusal else { return nil }
        self.loggedRefusal = refusal
        return refusal
    }

    // MARK: The connection

    mutating func connected(_ terms: Terms, _ outbox: inout Outbox) {
        self.machine.connected()
        self.introduce(terms, &outbox)
        // So that the server knows the script before it is needed: the text of a release that is not known would come after the
        // requests that were sent meanwhile.
        self.ask(.nothing, terms, &outbox)
    }

    /// A connection has ended, or none could be made.
    mutating func disconnected(_ error: RedisError) {
        self.looks += 1
        self.machine.disconnected(error.reason, isRefusal: error.code == .unusableServer)
    }

    // MARK: Who it is

    /// Asks an instance who it is.
    private mutating func introduce(_ terms: Terms, _ outbox: inout Outbox) {
        self.looks += 1
        self.ask(.introduction(look: self.looks), terms, &outbox)
    }

    mutating func introductionAnswered(_ look: UInt64, _ outcome: Outcome<InstanceInfo>, _ terms: Terms) -> News {
        guard self.looks == look else { return .none }
        switch outcome {
        case .failure(let error):
            return self.lookFailed(error, LockError(error), terms)
        case .success(let answer):
            guard let info = answer.value else {
                self.machine.lookFailed("its answer to INFO makes no sense", isRefusal: true, now: terms.now)
                return .changed
            }
            return self.machine.introduced(info, now: terms.now) ? .introduced : .changed
        }
    }

    /// Another instance is the same server.
    mutating func isTwin(of other: String, now: Instant) { self.machine.isTwin(of: other, now: now) }

    // MARK: Its node

    /// Looks at its node.
    ///
    /// - Parameter policy: that it has, for all that is known; `nil`: the one that this client uses.
    mutating func look(as policy: RedlockPolicy? = nil, _ terms: Terms, _ outbox: inout Outbox) {
        self.look(terms.mode, policy ?? terms.policies.current, nil, terms, &outbox)
    }

    private mutating func look(
        _ mode: String, _ policy: RedlockPolicy, _ change: NodeRequest.Change?, _ terms: Terms,
        _ outbox: inout Outbox
    ) {
        self.looks += 1
        self.askNode(.look(self.looks), mode, policy, change, terms, &outbox)
    }

    /// A script found another node than the one that was seen.
    mutating func anotherNodeFound(_ terms: Terms, _ outbox: inout Outbox) {
        self.machine.foundAnotherNode()
        self.look(terms, &outbox)
    }

    /// A renewal found another policy than the one by which the lock is held.
    mutating func anotherPolicyFound(_ terms: Terms, _ outbox: inout Outbox) {
        if self.machine.isOpen { self.anotherNodeFound(terms, &outbox) }
    }

    /// It is given a policy.
    mutating func given(_ gift: RedlockPolicyStateMachine.Gift, _ terms: Terms, _ outbox: inout Outbox) {
        self.machine.isGiven()
        if let expected = gift.expected {
            let policy = terms.policies.current
            let change = NodeRequest.Change(
                expected: expected.text, floor: gift.floor, delay: expected.delay(of: policy))
            self.look("step", policy, change, terms, &outbox)
        } else {
            self.look("adopt", terms.policies.current, nil, terms, &outbox)
        }
    }

    mutating func nodeAnswered(
        _ look: UInt64, asked: RedlockPolicy, _ outcome: Outcome<InstanceNodeReply>, _ terms: Terms,
        _ tokens: inout TokenProposals, _ outbox: inout Outbox
    ) -> News {
        guard self.looks == look else { return .none }
        switch outcome {
        case .failure(let error):
            return self.lookFailed(error, LockError(error, calling: .instanceNode), terms)
        case .success(let answer):
            guard let node = answer.value else {
                self.machine.lookFailed("its answer makes no sense", isRefusal: true, now: terms.now)
                return .changed
            }
            self.found = node
            self.lookedAt = answer.sentAt
            self.answeredAt = terms.now
            tokens.told(node.time, by: self.index, sentAt: answer.sentAt)
            if let theirs = self.machine.looked(node, asked: asked, policies: terms.policies, now: terms.now) {
                self.look(as: theirs, terms, &outbox)
                return .none
            }
            outbox.add(.setNode(of: self.index, self.machine.node))
            return .changed
        }
    }

    private mutating func lookFailed(_ error: RedisError, _ described: LockError, _ terms: Terms) -> News {
        self.machine.lookFailed(
            described.message,
            isRefusal: error.code == .refused && described.code == .serverRefused
                && !error.isPassingRefusal,
            now: terms.now
        )
        return .changed
    }

    /// It may be time to look again.
    mutating func timePassed(_ terms: Terms, _ outbox: inout Outbox) {
        guard let opensAt = self.machine.opensAt, opensAt <= terms.now else { return }
        self.machine.looksAgain()
        self.introduce(terms, &outbox)
    }

    /// This client uses a policy, now or all the time.
    mutating func follow(_ terms: Terms, _ outbox: inout Outbox) {
        self.machine.follow(terms.policies.current, hasQuorum: terms.policies.isUsable, now: terms.now)
        if self.machine.isToBeJudgedAgain(by: terms.policies) { self.introduce(terms, &outbox) }
    }

    // MARK: Confirming

    /// Looks whether an instance still has the policy that it was seen to have. It goes on meanwhile.
    mutating func confirm(_ terms: Terms, _ outbox: inout Outbox) {
        guard !self.isConfirming else { return }
        self.isConfirming = true
        self.askNode(.confirm(self.looks), "look", terms.policies.current, nil, terms, &outbox)
    }

    mutating func confirmationAnswered(
        _ look: UInt64, _ outcome: Outcome<InstanceNodeReply>, _ terms: Terms, _ outbox: inout Outbox
    ) -> News {
        self.isConfirming = false
        guard self.looks == look, case .success(let answer) = outcome, let node = answer.value else { return .none }
        guard node.policy == self.machine.policy?.text, !node.isRemoved else {
            self.machine.foundAnotherNode()
            self.machine.looksAgain()
            self.look(terms, &outbox)
            return .none
        }
        self.lookedAt = answer.sentAt
        return .changed
    }

    // MARK: What it does about other requests

    mutating func wasLate() { self.machine.wasLate() }

    /// It has answered. Only an answer that came in time shows that it is not late any more.
    mutating func answered(sentAt: Instant, timeout: Duration, now: Instant) {
        if self.machine.isLate, sentAt.duration(to: now) <= timeout { self.machine.wasPrompt() }
    }

    /// It answers, and refuses what it was asked. Returns whether that is news.
    mutating func refused(_ error: RedisError, now: Instant) -> Bool {
        self.machine.refusedToWrite(LockError(error).message, isPassing: error.isPassingRefusal, now: now)
    }

    // MARK: Requests

    private func askNode(
        _ purpose: NodeRequest.Purpose, _ mode: String, _ policy: RedlockPolicy, _ change: NodeRequest.Change?,
        _ terms: Terms, _ outbox: inout Outbox
    ) {
        let request = NodeRequest(
            purpose: purpose, mode: mode, policy: policy, runID: self.machine.runID, change: change)
        self.ask(.node(request), terms, &outbox)
    }

    private func ask(_ request: RedlockMachine.Request, _ terms: Terms, _ outbox: inout Outbox) {
        outbox.ask(request, of: InstanceSet(self.index), deadline: terms.deadline)
    }
}
