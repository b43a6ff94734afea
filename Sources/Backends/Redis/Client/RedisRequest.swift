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
    let bytes: ByteBuffer
    /// See ``RedisCommand/tail``.
    var tail: ByteBuffer?
    let deadline: Moment
    let completion: Completion
    /// See ``RedisCommand/endsWithTag``.
    var endsWithTag = false
    /// Set while it waits for a connection: when that is given up, a little before the deadline.
    var waitsUntil: Moment?
    /// It must not leave on any other connection; nil: on any.
    var onlyOn: RedisConnectionID?
}

extension RedisRequest: Sendable where Completion: Sendable {}

/// Takes the outcome of one request, exactly once.
enum RedisCompletion: Sendable {
    typealias Outcome = Result<RedisReply, RedisError>

    // The machines see to it that each request ends exactly once; their tests check that. A checked continuation costs an
    // allocation a request, so only debug builds have it.
    #if DEBUG
    typealias Continuation = CheckedContinuation<Outcome, Never>
    #else
    typealias Continuation = UnsafeContinuation<Outcome, Never>
    #endif

    case continuation(Continuation)
    case callback(@Sendable (Outcome) -> Void)
    case batch(RedisBatch, index: Int)
    case handler(any RedisOutcomeHandler, number: Int)

    func complete(_ outcome: Outcome) {
        switch self {
        case .continuation(let continuation): continuation.resume(returning: outcome)
        case .callback(let callback): callback(outcome)
        case .batch(let batch, let index): batch.complete(index, outcome)
        case .handler(let handler, let number): handler.completed(number, outcome)
        }
    }
}

/// Takes the outcomes of several requests, which it tells apart by numbers. For those who send so many that a closure for each
/// would be a good part of the work.
package protocol RedisOutcomeHandler: AnyObject, Sendable {
    /// Called once for each request, on the event loop of the client.
    func completed(_ number: Int, _ outcome: Result<RedisReply, RedisError>)
}

/// Gathers the outcomes of requests that were sent together.
final class RedisBatch: Sendable {
    #if DEBUG
    typealias Continuation = CheckedContinuation<[RedisCompletion.Outcome], Never>
    #else
    typealias Continuation = UnsafeContinuation<[RedisCompletion.Outcome], Never>
    #endif

    private struct State {
        var outcomes: [RedisCompletion.Outcome?]
        var missing: Int
    }

    private let state: Mutex<State>
    private let continuation: Continuation

    init(count: Int, continuation: Continuation) {
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
