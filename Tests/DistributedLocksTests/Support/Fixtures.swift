import LockKernel
import TestKit
import Testing

@testable import DistributedLocks
@testable import LockTesting

/// The instant that tests count from, and the same one as the public types have it.
let start = BootInstant.now
let startInstant = start.continuous

extension LockClaim {
    static func test(_ attempt: UInt64 = 1, name: String = "a", lease: Duration = .seconds(30)) throws -> LockClaim {
        var generator = SeededGenerator(seed: attempt)
        return LockClaim(
            attempt: AttemptID(rawValue: attempt),
            name: try LockName(name),
            owner: LockOwner(
                secret: LockOwner.Secret(using: &generator),
                metadata: OwnerMetadata(host: "host", pid: 1, label: "label")
            ),
            lease: lease
        )
    }
}

extension LockGrant {
    static func test(_ token: Int64 = 1, validUntil: ContinuousClock.Instant = startInstant) throws -> LockGrant {
        LockGrant(
            token: try #require(FencingToken(rawValue: token)),
            tokenDomain: .clock,
            validUntil: validUntil
        )
    }
}

/// A client and a store whose clock is moved by hand.
func withManualLocks<Success>(
    configuration: LockClient.Configuration = LockClient.Configuration(),
    isolation: isolated (any Actor)? = #isolation,
    body: (LockClient, InMemoryLockStore, ManualClock) async throws -> Success
) async throws -> Success {
    let clock = ManualClock()
    return try await withInMemoryLocks(clock: clock, configuration: configuration) { locks, store in
        try await body(locks, store, clock)
    }
}

extension InMemoryLockStore {
    /// One more client, which runs while the body does.
    func withClient<Success>(
        isolation: isolated (any Actor)? = #isolation,
        body: (LockClient) async throws -> Success
    ) async throws -> Success {
        var configuration = LockClient.Configuration()
        configuration.clock = self.clock
        let locks = LockClient(backend: self.connect(), configuration: configuration)
        return try await withThrowingTaskGroup(of: Void.self, isolation: isolation) { group in
            group.addTask { try await locks.run() }
            _ = try await locks.statusOfAll()
            let success = try await body(locks)
            group.cancelAll()
            try await group.waitForAll(isolation: isolation)
            return success
        }
    }
}

/// The error of a task that was to fail with one of ours.
func lockError<Success>(
    of task: Task<Success, any Error>,
    sourceLocation: SourceLocation = #_sourceLocation
) async -> LockError? {
    // A test that has run out of time must not wait for ever.
    let result = await withTaskCancellationHandler {
        await task.result
    } onCancel: {
        task.cancel()
    }
    switch result {
    case .success:
        Issue.record("no error was thrown", sourceLocation: sourceLocation)
        return nil
    case .failure(let error):
        if let error = error as? LockError { return error }
        Issue.record("not a LockError: \(error)", sourceLocation: sourceLocation)
        return nil
    }
}

/// The error that a piece of work was to fail with.
func caught<Success>(
    sourceLocation: SourceLocation = #_sourceLocation,
    isolation: isolated (any Actor)? = #isolation,
    _ work: () async throws -> Success
) async -> LockError? {
    do {
        _ = try await work()
        Issue.record("no error was thrown", sourceLocation: sourceLocation)
    } catch let error as LockError {
        return error
    } catch {
        Issue.record("not a LockError: \(error)", sourceLocation: sourceLocation)
    }
    return nil
}

/// Why a grant cannot be relied on; `nil` if it can.
func lossReason(of held: borrowing HeldLock) -> LockError.LossReason? {
    do throws(LockError) {
        try held.checkValid()
        return nil
    } catch {
        return error.lossReason
    }
}

extension LockClient {
    /// Waits until `run()` is under way.
    func waitUntilItRuns() async throws {
        try await self.waitUntilRunning(until: BootInstant(ContinuousClock.now + .seconds(30)))
    }
}
