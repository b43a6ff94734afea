import DequeModule
import LockKernel

/// The requests that are out on one connection, in the order in which they were sent and are answered.
///
/// A request that was cancelled or timed out leaves its slot as an orphan, which swallows the late reply: so one request's end
/// never shifts its neighbours' replies. Pure.
struct RequestSlots<Completion> {
    typealias Instant = BootInstant

    struct Slot {
        let id: RequestID
        let deadline: Instant
        let sentAt: Instant
        /// Nil: an orphan.
        var completion: Completion?
        /// The call of a script, in case the server does not know it; nil: it is none.
        let call: RedisCommand?
    }

    enum Refusal {
        case complete(Completion, RedisError)
        /// The server did not know the script: this is sent in place of it, if it is still wanted. Else it ends with the error.
        case sendAgain(RedisRequest<Completion>, RedisError)
    }

    private var slots: Deque<Slot> = []
    /// How many requests have been answered. Their numbers, from 0 on, are in the order in which they were sent.
    private var answeredCount: UInt64 = 0
    private var texts = ScriptTexts()
    /// No deadline of a request that is out is earlier. Not exact: it may be that of a request that has ended.
    private(set) var earliestDeadline: Instant?

    init() {}

    var isEmpty: Bool { self.slots.isEmpty }
    /// Orphans included.
    var count: Int { self.slots.count }
    /// When the request left whose reply comes next.
    var firstSentAt: Instant? { self.slots.first?.sentAt }
    var outstanding: [Completion] { self.slots.compactMap(\.completion) }

    @inline(__always)
    mutating func append(_ request: RedisRequest<Completion>, now: Instant) {
        let deadline = request.deadline
        if self.slots.isEmpty {
            self.earliestDeadline = deadline
        } else {
            self.earliestDeadline = self.earliestDeadline.map { min($0, deadline) } ?? deadline
        }
        if request.command.again?.hasText == true, let script = request.command.script {
            self.texts.sent(script, number: self.answeredCount + UInt64(self.slots.count))
        }
        self.slots.append(
            Slot(
                id: request.id, deadline: deadline, sentAt: now, completion: request.completion,
                call: request.command.script == nil ? nil : request.command))
    }

    /// A reply has come. Nil: to no request.
    @inline(__always)
    mutating func popFirst() -> Slot? {
        guard let slot = self.slots.popFirst() else { return nil }
        self.answeredCount += 1
        return slot
    }

    mutating func cancelled(_ ids: Set<RequestID>) -> [Completion] {
        var ended: [Completion] = []
        for index in self.slots.indices where ids.contains(self.slots[index].id) {
            if let completion = self.slots[index].completion.take() { ended.append(completion) }
        }
        return ended
    }

    mutating func expired(at now: Instant) -> [Completion] {
        var expired: [Completion] = []
        var earliest: Instant?
        for index in self.slots.indices where self.slots[index].completion != nil {
            let deadline = self.slots[index].deadline
            if deadline <= now {
                if let completion = self.slots[index].completion.take() { expired.append(completion) }
            } else {
                earliest = earliest.map { min($0, deadline) } ?? deadline
            }
        }
        self.earliestDeadline = earliest
        return expired
    }

    mutating func removeAll() { self.slots.removeAll(keepingCapacity: false) }

    // MARK: Scripts

    /// The reply to the request that was taken out last is an error.
    func refused(_ slot: Slot, _ completion: Completion, _ error: RedisError) -> Refusal {
        guard let call = slot.call, let script = call.script, call.again?.hasText != true,
            error.serverCode == "NOSCRIPT"
        else { return .complete(completion, error) }
        let withText = self.texts.takesText(script, number: self.answeredCount - 1, tries: call.again?.tries ?? 0)
        let request = RedisRequest(
            id: slot.id, command: call.again(script, withText: withText), deadline: slot.deadline,
            completion: completion)
        return .sendAgain(request, error)
    }
}
