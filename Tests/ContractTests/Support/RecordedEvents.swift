import DistributedLocks
import Synchronization

/// Keeps what a backend tells.
final class RecordedEvents: LockEventSink {
    private let events = Mutex<[LockEvent]>([])

    func receive(_ event: LockEvent) { self.events.withLock { $0.append(event) } }

    func grant(of attempt: AttemptID) -> LockGrant? {
        self.events.withLock { events in
            for case .granted(attempt, let grant) in events { return grant }
            return nil
        }
    }

    /// Who was told to hold the lock that a claim waits for, last of all.
    func holders(toldTo attempt: AttemptID) -> [OwnerMetadata]? {
        self.events.withLock { events in
            for case .held(attempt, let holders) in events.reversed() { return holders }
            return nil
        }
    }

    func loss(of attempt: AttemptID) -> LockError.LossReason? {
        self.events.withLock { events in
            for case .lost(attempt, let reason) in events { return reason }
            return nil
        }
    }
}

/// Checks from within bodies that no two run at once, and that tokens rise in real-time order.
final class Witness: Sendable {
    private struct State {
        var inside = 0
        var overlaps = 0
        var tokens: [FencingToken] = []
    }

    private let state = Mutex(State())

    func enter(_ token: FencingToken) {
        self.state.withLock { state in
            state.inside += 1
            if state.inside > 1 { state.overlaps += 1 }
            state.tokens.append(token)
        }
    }

    func leave() { self.state.withLock { $0.inside -= 1 } }

    var overlaps: Int { self.state.withLock { $0.overlaps } }
    var grants: Int { self.state.withLock { $0.tokens.count } }

    /// Whether each grant had a higher token than the one before.
    var tokensRise: Bool {
        self.state.withLock { state in zip(state.tokens, state.tokens.dropFirst()).allSatisfy { $0 < $1 } }
    }
}
