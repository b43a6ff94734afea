import DistributedLocks
import LockTesting
import TestKit
import Testing

/// Handlers of cancelled bodies that block, each of which keeps a thread.
@Suite(.timeLimit(.minutes(1))) struct CancellationThreadTests {
    private static let count = 32

    @Test func `many handlers that block keep nobody else's body from being cancelled`() async throws {
        let handlers = (0..<Self.count).map { _ in BlockingHandler() }
        try await withInMemoryLocks { locks, _ in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (number, handler) in handlers.enumerated() {
                    group.addTask {
                        let error = await caught {
                            try await locks.withLock("\(number)") { _ in await handler.body() }
                        }
                        #expect(error?.lossReason == .broken)
                    }
                }
                try await eventually("the bodies run") { handlers.allSatisfy { $0.hasEntered } }
                for number in handlers.indices { _ = try await locks.breakLock("\(number)") }
                try await eventually("all handlers block") { handlers.allSatisfy { $0.isBlocking } }
                let entered = Latch()
                let other = Task {
                    try await locks.withLock("other") { _ in
                        entered.open()
                        try await untilCancelled()
                    }
                }
                await entered.wait()
                _ = try await locks.breakLock("other")
                #expect(await lockError(of: other)?.lossReason == .broken)
                let stillBlocking = handlers.count { $0.isBlocking }
                #expect(stillBlocking == Self.count)
                for handler in handlers { handler.letGo() }
                try await group.waitForAll()
            }
        }
    }
}
