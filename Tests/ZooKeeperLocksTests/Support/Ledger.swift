import DistributedLocks
import Synchronization

/// What many workers have seen of one lock.
final class Ledger: Sendable {
    private struct State {
        var inside = 0
        var tokens: [FencingToken] = []
        var overlaps = 0
        var isOver = false
    }

    private let state = Mutex(State())

    var count: Int { self.state.withLock { $0.tokens.count } }
    /// In the order in which they were granted.
    var tokens: [FencingToken] { self.state.withLock { $0.tokens } }
    var isOver: Bool { self.state.withLock { $0.isOver } }
    func end() { self.state.withLock { $0.isOver = true } }
    /// How often somebody came in while somebody else was inside.
    var overlaps: Int { self.state.withLock { $0.overlaps } }

    func entered(_ token: FencingToken) {
        self.state.withLock { state in
            state.inside += 1
            if state.inside > 1 { state.overlaps += 1 }
            state.tokens.append(token)
        }
    }

    func left() { self.state.withLock { $0.inside -= 1 } }
}
