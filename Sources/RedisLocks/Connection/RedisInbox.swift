import LockTransport
import Synchronization

/// Where requests from any thread wait until the event loop takes them, all at once.
final class RedisInbox: Sendable {
    typealias Request = RedisRequest<RedisCompletion>

    private struct State {
        var requests: [Request] = []
        var cancelled: [RequestID] = []
        var isStopped = false
    }

    enum PutAction {
        /// The event loop has to be told to take.
        case wake
        /// It has been told already.
        case nothing
        /// The client has been stopped; nothing was kept.
        case refuse
    }

    private let state = Mutex(State())
    /// The loop has been told, and has not begun to take. Set after something was put, cleared before it is taken: so
    /// nothing is left lying.
    private let isAwaited = Atomic<Bool>(false)
    private let lastID = Atomic<UInt64>(0)

    /// A fresh name for a request.
    func nextID() -> RequestID {
        RequestID(rawValue: self.lastID.wrappingAdd(1, ordering: .relaxed).newValue)
    }

    /// Fresh names in a row.
    func nextIDs(count: Int) -> Range<UInt64> {
        let last = self.lastID.wrappingAdd(UInt64(count), ordering: .relaxed).newValue
        return last - UInt64(count) + 1..<last + 1
    }

    /// Something may be waiting to be taken.
    var hasSome: Bool { self.isAwaited.load(ordering: .acquiring) }

    func put(_ request: Request) -> PutAction {
        let isStopped = self.state.withLock { state in
            if !state.isStopped { state.requests.append(request) }
            return state.isStopped
        }
        return isStopped ? .refuse : self.wakeAction()
    }

    /// They stay together.
    func put(_ requests: [Request]) -> PutAction {
        let isStopped = self.state.withLock { state in
            if !state.isStopped { state.requests.append(contentsOf: requests) }
            return state.isStopped
        }
        return isStopped ? .refuse : self.wakeAction()
    }

    func cancel(_ ids: Range<UInt64>) -> PutAction {
        let isStopped = self.state.withLock { state in
            if !state.isStopped { state.cancelled.append(contentsOf: ids.lazy.map { RequestID(rawValue: $0) }) }
            return state.isStopped
        }
        return isStopped ? .refuse : self.wakeAction()
    }

    private func wakeAction() -> PutAction {
        self.isAwaited.exchange(true, ordering: .acquiringAndReleasing) ? .nothing : .wake
    }

    /// Takes everything. `requests` must be empty; its storage is used for those that come next.
    func take(into requests: inout [Request], cancelled: inout [RequestID]) {
        _ = self.isAwaited.exchange(false, ordering: .acquiringAndReleasing)
        self.state.withLock { state in
            swap(&state.requests, &requests)
            swap(&state.cancelled, &cancelled)
        }
    }

    /// From now on nothing is kept. Returns what was there.
    func stop() -> [Request] {
        self.state.withLock { state in
            state.isStopped = true
            state.cancelled = []
            return exchange(&state.requests, with: [])
        }
    }
}
