import LockKernel
import NIOCore
import Synchronization

/// Names a request of one client, so that it can be cancelled.
struct RequestID: Hashable, Comparable, Sendable {
    let rawValue: UInt64

    static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// A request that has not been written yet. `Completion` is what takes its outcome; tests use strings.
struct RedisRequest<Completion> {
    let id: RequestID
    let command: RedisCommand
    /// What follows the command's bytes: the last arguments, where the others are the same for several servers.
    var tail: ByteBuffer?
    let deadline: BootInstant
    let completion: Completion
    /// Set while it waits for a connection: when that is given up, a little before the deadline.
    var waitsUntil: BootInstant?
    /// It must not leave on any other connection; nil: on any.
    var onlyOn: RedisConnectionID?
}

extension RedisRequest: Sendable where Completion: Sendable {}

/// Takes the outcome of one request, exactly once.
enum RedisCompletion: Sendable {
    typealias Outcome = Result<RedisReply, RedisError>

    case continuation(WaitContinuation<Outcome>)
    /// `isWanted`: asked before a script is called again.
    case callback(@Sendable (Outcome) -> Void, isWanted: (@Sendable () -> Bool)? = nil)
    case batch(RedisBatch, index: Int)
    case handler(any RedisOutcomeHandler, number: Int)

    /// Whether it may still be carried out. What has been taken back meanwhile must not be sent after that.
    var isWanted: Bool {
        switch self {
        case .continuation, .batch: true
        case .callback(_, let isWanted): isWanted?() ?? true
        case .handler(let handler, let number): handler.isWanted(number)
        }
    }

    /// See ``RedisRequest/tail``.
    var tail: ByteBuffer? {
        switch self {
        case .continuation, .batch, .callback: nil
        case .handler(let handler, let number): handler.tail(number)
        }
    }

    func complete(_ outcome: Outcome) {
        switch self {
        case .continuation(let continuation): continuation.resume(returning: outcome)
        case .callback(let callback, _): callback(outcome)
        case .batch(let batch, let index): batch.complete(index, outcome)
        case .handler(let handler, let number): handler.completed(number, outcome)
        }
    }
}

/// Takes the outcomes of several requests, which it tells apart by numbers. For those who send so many that a closure for each
/// would be a good part of the work.
protocol RedisOutcomeHandler: AnyObject, Sendable {
    /// Called once for each request, on the event loop of the client.
    func completed(_ number: Int, _ outcome: Result<RedisReply, RedisError>)
    /// Asked before a script is called again, as the server did not know it.
    func isWanted(_ number: Int) -> Bool
    /// What follows the command's bytes if a script is called again: see ``RedisRequest/tail``.
    func tail(_ number: Int) -> ByteBuffer?
}

/// Gathers the outcomes of requests that were sent together.
final class RedisBatch: Sendable {
    private struct State {
        var outcomes: [RedisCompletion.Outcome?]
        var missing: Int
    }

    private let state: Mutex<State>
    private let continuation: WaitContinuation<[RedisCompletion.Outcome]>

    init(count: Int, continuation: WaitContinuation<[RedisCompletion.Outcome]>) {
        self.state = Mutex(State(outcomes: Array(repeating: nil, count: count), missing: count))
        self.continuation = continuation
    }

    func complete(_ index: Int, _ outcome: RedisCompletion.Outcome) {
        let all = self.state.withLock { state -> [RedisCompletion.Outcome]? in
            precondition(state.outcomes[index] == nil, "a request of a batch ended twice")
            state.outcomes[index] = outcome
            state.missing -= 1
            return state.missing == 0 ? state.outcomes.compactMap { $0 } : nil
        }
        if let all { self.continuation.resume(returning: all) }
    }
}
