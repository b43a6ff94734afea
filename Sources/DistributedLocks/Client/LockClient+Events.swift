import LockKernel
import Synchronization

/// Passes a backend's events on to the client for as long as that runs: a backend that keeps its sink keeps nothing by it.
///
/// The client is let go when its `run()` ends, and not by a weak reference: an event that comes before finds it for certain.
final class EventRelay: LockEventSink {
    private let client: Mutex<LockClient?>

    init(to client: LockClient) {
        self.client = Mutex(client)
    }

    func receive(_ event: LockEvent) {
        self.client.withLock { $0 }?.receive(event)
    }

    /// The client does not run any more.
    func end() {
        _ = self.client.withLock { $0.take() }
    }
}

extension LockClient {
    /// Takes an event from the backend, on whatever thread that has heard it.
    fileprivate func receive(_ event: LockEvent) {
        switch event {
        case .granted(let attempt, let grant):
            self.abandon(attempt) { $0.granted(grant) }
        case .gone(let attempt):
            self.abandon(attempt) { $0.gone() }
        case .failed(let attempt, let error):
            self.abandon(attempt) { $0.failed(error) }
        case .extended(let attempt, let until):
            let now = self.now()
            let (hold, validUntil) = self.state.withLock { state in
                (state.holds[attempt], state.keeper.extended(attempt, until: BootInstant(until), now: now))
            }
            if let hold, let validUntil { hold.extended(until: validUntil) }
        case .sessionExtended(let until):
            let now = self.now()
            let until = BootInstant(until)
            let extended = self.state.withLock { state in
                state.keeper.attempts.compactMap { attempt -> (Hold, BootInstant)? in
                    guard let hold = state.holds[attempt],
                        let validUntil = state.keeper.extended(attempt, until: until, now: now)
                    else { return nil }
                    return (hold, validUntil)
                }
            }
            for (hold, validUntil) in extended { hold.extended(until: validUntil) }
        case .lost(let attempt, let reason):
            self.lose(attempt, reason)
        case .sessionLost:
            let holds = self.state.withLock { state in
                for index in state.attempts.indices { state.attempts.values[index].machine.lost(.sessionEnded) }
                return Array(state.holds.values)
            }
            for hold in holds { self.lose(hold, .sessionEnded) }
        case .reconnected:
            let now = self.now()
            let pokes = self.state.withLock { state in
                state.keeper.renewalsWanted(now: now)
                return state.needsPoke()
            }
            if pokes { self.alarm.poke() }
        }
    }
}
