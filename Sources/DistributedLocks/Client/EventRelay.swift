import Synchronization

/// Passes a backend's events on to the client for as long as that runs: a backend that keeps its sink keeps nothing by it.
///
/// The client is let go when its `run()` ends, and not by a weak reference: an event that comes before finds it for certain.
final class EventRelay: LockEventSink {
    private let engine: Mutex<EngineShell?>

    init(to engine: EngineShell) {
        self.engine = Mutex(engine)
    }

    func receive(_ event: LockEvent) {
        self.engine.withLock { $0 }?.receive(event)
    }

    /// The client does not run any more.
    func end() {
        _ = self.engine.withLock { $0.take() }
    }
}
