import DistributedLocks
import LockTesting
import Logging
import Metrics
import Synchronization

/// Keeps all that is logged and measured.
final class Recording: Sendable {
    private struct State {
        var logs: [(level: Logger.Level, text: String)] = []
        var counts: [String: Int64] = [:]
        var texts: [String] = []
    }

    private let state = Mutex(State())

    var logs: [(level: Logger.Level, text: String)] { self.state.withLock { $0.logs } }
    var counts: [String: Int64] { self.state.withLock { $0.counts } }
    /// Everything that was written anywhere.
    var texts: [String] { self.state.withLock { $0.texts + $0.logs.map(\.text) } }

    func log(_ level: Logger.Level, _ text: String) { self.state.withLock { $0.logs.append((level, text)) } }
    func count(_ label: String, by amount: Int64) { self.state.withLock { $0.counts[label, default: 0] += amount } }
    func note(_ text: String) { self.state.withLock { $0.texts.append(text) } }

    var logger: Logger { Logger(label: "test") { _ in RecordingLogHandler(recording: self) } }
}

private struct RecordingLogHandler: LogHandler {
    let recording: Recording
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level = .trace

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let metadata = self.metadata.merging(event.metadata ?? [:]) { $1 }
        let error = event.error.map { "\($0)" } ?? ""
        self.recording.log(event.level, "\(event.message) \(metadata) \(error)")
    }
}

extension Recording: MetricsFactory {
    private final class Handler: CounterHandler, MeterHandler, RecorderHandler, TimerHandler {
        let label: String
        let recording: Recording

        init(_ label: String, _ recording: Recording) {
            self.label = label
            self.recording = recording
        }

        func increment(by amount: Int64) { self.recording.count(self.label, by: amount) }
        func reset() {}
        func set(_ value: Int64) {}
        func set(_ value: Double) {}
        func increment(by amount: Double) { self.recording.count(self.label, by: Int64(amount)) }
        func decrement(by amount: Double) { self.recording.count(self.label, by: -Int64(amount)) }
        func record(_ value: Int64) { self.recording.count(self.label, by: 1) }
        func record(_ value: Double) { self.recording.count(self.label, by: 1) }
        func recordNanoseconds(_ duration: Int64) { self.recording.count(self.label, by: 1) }
    }

    private func handler(_ label: String, _ dimensions: [(String, String)]) -> Handler {
        self.note("\(label) \(dimensions)")
        return Handler(label, self)
    }

    func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        self.handler(label, dimensions)
    }
    func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        self.handler(label, dimensions)
    }
    func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        self.handler(label, dimensions)
    }
    func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        self.handler(label, dimensions)
    }
    func destroyCounter(_ handler: any CounterHandler) {}
    func destroyMeter(_ handler: any MeterHandler) {}
    func destroyRecorder(_ handler: any RecorderHandler) {}
    func destroyTimer(_ handler: any TimerHandler) {}
}
