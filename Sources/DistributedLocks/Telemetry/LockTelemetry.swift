import Logging
import Metrics
import Tracing

/// The metadata keys that this package logs with. All are documented on the page "Observability".
enum LogKey {
    static let name = "lock.name"
    static let token = "lock.token"
    static let backend = "lock.backend"
    static let reason = "lock.loss_reason"
    static let attempt = "lock.attempt"
    static let error = "lock.error"
    static let holder = "lock.holder"
}

/// The metrics of one client. All are documented on the page "Observability".
struct LockMetrics: Sendable {
    let acquireWait: Metrics.Timer
    let acquireFailures: Counter
    let holdTime: Metrics.Timer
    let lost: Counter
    let renewals: Counter
    let renewalFailures: Counter
    let outcomeUnknown: Counter
    let releaseFailures: Counter
    let waiters: Meter
    let held: Meter

    init(backend: String, factory: any MetricsFactory) {
        let dimensions = [("backend", backend)]
        self.acquireWait = Metrics.Timer(
            label: "distributed_locks.acquire.wait", dimensions: dimensions, factory: factory)
        self.acquireFailures = Counter(
            label: "distributed_locks.acquire.failures", dimensions: dimensions, factory: factory)
        self.holdTime = Metrics.Timer(label: "distributed_locks.hold.time", dimensions: dimensions, factory: factory)
        self.lost = Counter(label: "distributed_locks.lost", dimensions: dimensions, factory: factory)
        self.renewals = Counter(label: "distributed_locks.renewals", dimensions: dimensions, factory: factory)
        self.renewalFailures = Counter(
            label: "distributed_locks.renewal.failures", dimensions: dimensions, factory: factory)
        self.outcomeUnknown = Counter(
            label: "distributed_locks.outcome_unknown", dimensions: dimensions, factory: factory)
        self.releaseFailures = Counter(
            label: "distributed_locks.release.failures", dimensions: dimensions, factory: factory)
        self.waiters = Meter(label: "distributed_locks.waiters", dimensions: dimensions, factory: factory)
        self.held = Meter(label: "distributed_locks.held", dimensions: dimensions, factory: factory)
    }
}

extension Metrics.Timer {
    /// As `record(duration:)`, for every call: that one takes a duration apart into seconds first.
    func record(quickly duration: Duration) {
        self.recordNanoseconds(Int64(clamping: duration.attoseconds / 1_000_000_000))
    }
}

/// Spans around acquiring and holding; nothing at all when there is no tracer.
struct LockTracing: Sendable {
    private let tracer: (any Tracer)?
    /// False where there is no tracer, so that nothing is prepared for it.
    let isOn: Bool

    /// - Parameter tracer: `nil` for the one the process was bootstrapped with.
    init(tracer: (any Tracer)?) {
        let tracer = tracer ?? InstrumentationSystem.tracer
        self.tracer = tracer is NoOpTracer ? nil : tracer
        self.isOn = self.tracer != nil
    }

    func start(_ operation: String, name: LockName, backend: String) -> (any Span)? {
        guard let tracer = self.tracer else { return nil }
        let span = tracer.startSpan(operation, ofKind: .client)
        span.attributes["lock.name"] = name.rawValue
        span.attributes["lock.backend"] = backend
        return span
    }
}

extension Span {
    func end(throwing error: any Error) {
        self.recordError(error)
        self.setStatus(SpanStatus(code: .error, message: String(describing: error)))
        self.end()
    }
}
