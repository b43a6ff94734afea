import DistributedLocks
import Synchronization

/// Holds one exchange up until a test lets it go on.
///
/// Made by ``ScriptedFaults/holdRequest(to:)`` and ``ScriptedFaults/holdReply(to:)``.
public final class ExchangeGate: Sendable {
    enum Passage: Sendable {
        case opened
        case cut
        case cancelled
        case timedOut
    }

    private struct State {
        var decision: Passage?
        var hasArrived = false
        var nextKey: UInt64 = 0
        var held: [UInt64: CheckedContinuation<Passage, Never>] = [:]
        var watchers: [UInt64: CheckedContinuation<Void, any Error>] = [:]

        mutating func makeKey() -> UInt64 {
            defer { self.nextKey += 1 }
            return self.nextKey
        }
    }

    private let state = Mutex(State())

    init() {}

    /// Lets the exchange go on.
    public func open() { self.decide(.opened) }

    /// Cuts the connection under the exchange: the request does not arrive, or the reply does not. The client learns that
    /// the outcome is unknown.
    public func cut() { self.decide(.cut) }

    /// Waits until an exchange has come to the gate.
    ///
    /// - Throws: `CancellationError` when the task was cancelled first.
    public func arrived() async throws {
        let key = self.state.withLock { $0.makeKey() }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                enum Now { case arrived, cancelled, waits }
                let now = self.state.withLock { state -> Now in
                    if state.hasArrived { return .arrived }
                    if Task.isCancelled { return .cancelled }
                    state.watchers[key] = continuation
                    return .waits
                }
                switch now {
                case .arrived: continuation.resume()
                case .cancelled: continuation.resume(throwing: CancellationError())
                case .waits: break
                }
            }
        } onCancel: {
            self.state.withLock { $0.watchers.removeValue(forKey: key) }?.resume(throwing: CancellationError())
        }
    }

    private func decide(_ passage: Passage) {
        let held = self.state.withLock { state -> [CheckedContinuation<Passage, Never>] in
            guard state.decision == nil else { return [] }
            state.decision = passage
            defer { state.held = [:] }
            return Array(state.held.values)
        }
        for continuation in held { continuation.resume(returning: passage) }
    }

    /// Waits at the gate.
    func pass(until deadline: ContinuousClock.Instant?, clock: any LockClock) async -> Passage {
        let watchers = self.state.withLock { state in
            state.hasArrived = true
            defer { state.watchers = [:] }
            return Array(state.watchers.values)
        }
        for watcher in watchers { watcher.resume() }
        guard let deadline else { return await self.wait() }
        return await withTaskGroup(of: Passage.self) { group in
            group.addTask {
                do {
                    try await clock.sleep(until: deadline)
                    return .timedOut
                } catch {
                    return .cancelled
                }
            }
            group.addTask { await self.wait() }
            defer { group.cancelAll() }
            return await group.next() ?? .cancelled
        }
    }

    private func wait() async -> Passage {
        let key = self.state.withLock { $0.makeKey() }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let passage = self.state.withLock { state -> Passage? in
                    if let decision = state.decision { return decision }
                    if Task.isCancelled { return .cancelled }
                    state.held[key] = continuation
                    return nil
                }
                if let passage { continuation.resume(returning: passage) }
            }
        } onCancel: {
            self.state.withLock { $0.held.removeValue(forKey: key) }?.resume(returning: .cancelled)
        }
    }
}
