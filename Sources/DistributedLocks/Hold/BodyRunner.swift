/// Carries a body into a child task that hops to the caller's isolation, and its result back.
///
/// This is the one unchecked box of `withLock`. The body is neither `Sendable` nor escaping, and what it stores its result in
/// is a variable of its caller; still it may cross, because
///
/// - the caller is suspended in the task group from before the child starts until after it has ended, so that the body is
///   never run at the same time as code of the caller, and never after `withoutActuallyEscaping` has ended;
/// - the child runs the body on the isolation that the caller has (`isolation`), so that actor state and non-Sendable values
///   which the body captured are touched where they belong;
/// - `failure` and `lossAtReturn` are written by the child, and read when the group has been awaited.
final class BodyRunner: Hold.BodyTask, @unchecked Sendable {
    /// Puts its result where its caller finds it.
    typealias Body = (borrowing HeldLock) async throws -> Void

    private var body: Body?
    /// What the body threw.
    private(set) var failure: (any Error)?
    private(set) var lossAtReturn: LockError.LossReason?

    init(_ body: @escaping Body) {
        self.body = body
    }

    func run(under hold: Hold, in task: UnsafeCurrentTask, holds: TaskHolds, isolation: isolated (any Actor)?) async {
        guard let body = self.body else { preconditionFailure("a runner runs once") }
        // The box outlives the scope of the body, so it must not keep it.
        self.body = nil
        self.task = task
        hold.bodyStarted(in: self)
        do {
            try await TaskHolds.$current.withValue(holds) { try await body(HeldLock(hold)) }
        } catch {
            self.failure = error
        }
        // The instant at which the body returned decides whether the grant was valid to its end.
        self.lossAtReturn = hold.loss()
        if !hold.bodyEnded() { await hold.bodyCancellationEnded() }
        // Nobody will cancel it any more.
        self.task = nil
    }
}
