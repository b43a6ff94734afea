public import DistributedLocks
import Synchronization

/// Fences for resources that live in this process, and that only this process writes to.
///
/// Each resource is written to by one caller at a time, so that nobody whose token was accepted goes on while a later
/// holder writes. What is remembered is gone when the process ends: where the data outlives it, keep the fence beside the
/// data (see FencingGRDB, `FencedRedis`), and use this one to refuse earlier.
public final class ProcessFences: Sendable {
    /// Too many resources, or too many callers at one of them.
    public struct Overload: Error, Hashable, Sendable, CustomStringConvertible {
        /// What there is too much of.
        public let description: String
    }

    private typealias Machine = ProcessFencesStateMachine

    private struct State {
        var machine: Machine
        var nextID: Machine.ID = 0
        var waiting: [Machine.ID: CheckedContinuation<FenceDecision, any Error>] = [:]
    }

    private let state: Mutex<State>

    /// Makes fences that remember nothing yet.
    ///
    /// A resource is never forgotten, because a forgotten fence would let stale holders in.
    ///
    /// - Parameters:
    ///   - maximumResources: More resources than this are refused with ``Overload``.
    ///   - maximumWaitersPerResource: More callers than this waiting for one resource are refused with ``Overload``.
    public init(maximumResources: Int = 100_000, maximumWaitersPerResource: Int = 1_000) {
        self.state = Mutex(
            State(
                machine: Machine(
                    maximumResources: maximumResources,
                    maximumWaitersPerResource: maximumWaitersPerResource
                )
            )
        )
    }

    /// Runs a body as the only one at a resource, if the token is not below the highest that it has seen.
    ///
    /// Callers enter in the order in which they came. The token is compared when the body is about to start.
    ///
    /// - Throws: ``FenceRefusal`` if the token was refused; `LockError` `invalidName`, and `invalidConfiguration` for a domain
    ///   that a fence cannot remember; ``Overload``; what the body throws.
    ///   Cancelling the caller while it waits throws `CancellationError`; the body itself is not cancelled.
    public func fenced<Success>(
        _ resource: some LockNameConvertible,
        _ stamp: FencingStamp,
        isolation: isolated (any Actor)? = #isolation,
        _ body: () async throws -> Success
    ) async throws -> Success {
        let name = try resource.lockName()
        try stamp.check()
        try await self.enter(name, stamp)
        let result: Result<Success, any Error>
        do {
            result = .success(try await body())
        } catch {
            result = .failure(error)
        }
        self.leave(name)
        return try result.get()
    }

    /// The highest token that a resource has seen; `nil` if none.
    public func highest(of resource: LockName) -> FencingStamp? {
        self.state.withLock { $0.machine.highest(of: resource) }
    }

    /// Moves a resource to another token domain: see ``FenceRule/adopt(_:)``.
    ///
    /// - Throws: ``FenceRefusal`` if the token is of the same domain and stale.
    @discardableResult
    public func adopt(_ resource: LockName, _ stamp: FencingStamp) throws(FenceRefusal) -> FenceDecision {
        try self.state.withLock { $0.machine.adopted(resource, stamp) }.accepted(stamp, by: resource)
    }

    /// How many callers wait for a resource.
    func numberOfWaiters(at resource: LockName) -> Int {
        self.state.withLock { $0.machine.numberOfWaiters(at: resource) }
    }

    private func enter(_ name: LockName, _ stamp: FencingStamp) async throws {
        let id = self.state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        _ = try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let result = self.state.withLock { state -> Result<FenceDecision, any Error>? in
                    // After the handler below has run, nobody would wake this one.
                    if Task.isCancelled { return .failure(CancellationError()) }
                    switch state.machine.arrived(id, at: name, stamp) {
                    case .enter(let decision):
                        return .success(decision)
                    case .wait:
                        state.waiting[id] = continuation
                        return nil
                    case .refuse(let refusal):
                        return .failure(refusal)
                    case .tooManyResources:
                        return .failure(
                            Overload(
                                description: "more than \(state.machine.maximumResources) resources were written to"))
                    case .tooManyWaiters:
                        return .failure(
                            Overload(
                                description: "more than \(state.machine.maximumWaitersPerResource) callers wait for "
                                    + "'\(name)'"))
                    }
                }
                if let result { continuation.resume(with: result) }
            }
        } onCancel: {
            let continuation = self.state.withLock { state in
                state.machine.gaveUp(id, at: name) ? state.waiting.removeValue(forKey: id) : nil
            }
            continuation?.resume(throwing: CancellationError())
        }
    }

    private func leave(_ name: LockName) {
        typealias Resumption = (CheckedContinuation<FenceDecision, any Error>, Result<FenceDecision, any Error>)
        let resumptions = self.state.withLock { state -> [Resumption] in
            let action = state.machine.left(name)
            var resumptions: [Resumption] = []
            for refusing in action.refuse {
                guard let waiter = state.waiting.removeValue(forKey: refusing.id) else { continue }
                resumptions.append((waiter, .failure(refusing.refusal)))
            }
            if let entering = action.enter {
                guard let waiter = state.waiting.removeValue(forKey: entering.id) else {
                    preconditionFailure("somebody waits whom nobody can wake")
                }
                resumptions.append((waiter, .success(entering.decision)))
            }
            return resumptions
        }
        for (waiter, result) in resumptions { waiter.resume(with: result) }
    }
}
