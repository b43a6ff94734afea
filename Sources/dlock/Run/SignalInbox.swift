import Synchronization

/// The signals sent to dlock, for one reader after the other: an `AsyncStream` ends when its reader is cancelled, and the
/// next reader would find nothing.
final class SignalInbox: Sendable {
    private struct State {
        var pending: [Int32] = []
        var reader: CheckedContinuation<Int32?, Never>?
    }

    private let state = Mutex(State())
    private let task = Mutex<Task<Void, Never>?>(nil)

    init(_ signals: AsyncStream<Int32>) {
        self.task.withLock {
            $0 = Task { [weak self] in
                for await signal in signals { self?.arrived(signal) }
            }
        }
    }

    private func arrived(_ signal: Int32) {
        let reader = self.state.withLock { state in
            defer { state.reader = nil }
            if state.reader == nil { state.pending.append(signal) }
            return state.reader
        }
        reader?.resume(returning: signal)
    }

    /// The next signal; `nil` if the calling task was cancelled. A signal that nobody takes is kept for the next reader.
    func next() async -> Int32? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                enum Now {
                    case signal(Int32)
                    case cancelled
                    case waiting
                }
                let now = self.state.withLock { state -> Now in
                    if Task.isCancelled { return .cancelled }
                    if !state.pending.isEmpty { return .signal(state.pending.removeFirst()) }
                    state.reader = continuation
                    return .waiting
                }
                switch now {
                case .signal(let signal): continuation.resume(returning: signal)
                case .cancelled: continuation.resume(returning: nil)
                case .waiting: break
                }
            }
        } onCancel: {
            self.state.withLock { state in
                defer { state.reader = nil }
                return state.reader
            }?.resume(returning: nil)
        }
    }
}
