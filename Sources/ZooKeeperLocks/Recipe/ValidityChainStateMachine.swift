import DistributedLocks
import LockKernel

/// Until when the session's locks may be relied on.
///
/// Pings prove nothing: a server that is cut off from the quorum goes on answering them. What proves is a chain of writes,
/// each sent after the answer to the one before, and each committed by a quorum. With T the timeout, and writes every T/8:
///
/// - the leader learns that the session lives from its followers, which tell it at each of its pings, twice a tick, whom
///   they have heard of;
/// - T is at least two ticks, so that between the write before the fourth-last and the last one a ping was answered, and
///   travelled ahead of the last write on the same connection: the leader has counted T from not before `send(n - 4)`;
/// - after a pause a single fresh write proves little, because the leader may not have been told of it: so not more than
///   T/2 is counted from any write.
///
/// The deadline is min(send(n) + T/2, send(n - 4) + T), less what clocks may drift. A chain begins with what attached the
/// session. Docs/zookeeper.md gives the argument in full.
struct ValidityChainStateMachine {
    typealias Instant = BootInstant

    private static let length = 5

    private let timeout: Duration
    /// When the links were sent, the latest last.
    private var links: [Instant] = []
    private var isOut = false
    /// After this instant nothing may be assumed. It never goes back.
    private(set) var deadline: Instant?

    init(timeout: Duration) {
        self.timeout = timeout
    }

    /// How long after one write the next one leaves.
    var interval: Duration { self.timeout / 8 }

    /// A server that leaves a write without an answer for so long is left: with the interval before the write that is three
    /// eighths of the timeout, and an eighth is left to prove at another server that the session lives.
    var patience: Duration { self.timeout / 4 }

    /// A grant that ends in a moment is worth nothing: then the next write is waited for. Each that is answered in time leaves more.
    func isWorthGranting(now: Instant) -> Bool {
        self.deadline.map { now.duration(to: $0) >= self.interval } ?? false
    }

    /// The session was attached. Making a session is a write of its own; attaching one again is not.
    mutating func attached(sentAt: Instant, isNew: Bool) {
        self.links = [sentAt]
        self.isOut = false
        if isNew { self.extend() }
    }

    /// False if one is out already: a chain has one write out at a time.
    mutating func writeStarted() -> Bool {
        if self.isOut { return false }
        self.isOut = true
        return true
    }

    /// A write was answered by the server that was attached to last.
    mutating func answered(sentAt: Instant) {
        self.isOut = false
        self.links.append(sentAt)
        if self.links.count > Self.length { self.links.removeFirst() }
        self.extend()
    }

    /// A write was refused. The links before it say what they said.
    mutating func refused() {
        self.isOut = false
    }

    /// The connection ended.
    mutating func broken() {
        self.isOut = false
        self.links = []
    }

    private mutating func extend() {
        guard let last = self.links.last, let first = self.links.first else { return }
        let end = min(last + self.timeout / 2, first + self.timeout) - LockValidity.driftAllowance(lease: self.timeout)
        self.deadline = self.deadline.map { max($0, end) } ?? end
    }
}
