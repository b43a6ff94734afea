import DistributedLocks
import Synchronization
import TestKit
import Testing

/// A body's `onCancel` handler is other people's code, and may block.
// S12
@Suite(.timeLimit(.minutes(3)))
struct BlockingHandlerTests {
    enum Loss: CaseIterable, CustomTestStringConvertible {
        /// Found by the keeper.
        case holdLimit
        /// Heard from the store.
        case broken

        var testDescription: String { "\(self)" }
    }

    @Test(arguments: ContractBackend.allCases, Loss.allCases)
    func `while it blocks, other locks are kept, and their losses are told in time`(
        backend: ContractBackend,
        loss: Loss
    ) async throws {
        try await backend.withStore(isCrashing: true) { store in
            try await store.withClients(3) { clients in
                let lease = backend.allowed(.seconds(2))
                // The same client's threads are those that could be kept busy, and the keeper is everybody's.
                let sameClient = try await clients[0].acquire("same client", lease: lease)
                let otherClient = try await clients[1].acquire("other client", lease: lease)
                let handler = BlockingHandler()
                let blocked = Task {
                    try await clients[0].withLock(
                        "blocked",
                        lease: lease,
                        holdingAtMost: loss == .holdLimit ? .milliseconds(500) : nil
                    ) { _ in
                        await handler.body()
                    }
                }
                defer { handler.letGo() }
                try await eventually("the body runs") { handler.hasEntered }
                if loss == .broken { _ = try await clients[2].breakLock("blocked") }
                try await eventually("the handler blocks") { handler.isBlocking }
                let end = ContinuousClock.now + lease * 3 / 2
                try await eventually("more than a lease has passed") {
                    try sameClient.checkValid()
                    try otherClient.checkValid()
                    return ContinuousClock.now >= end
                }
                for (client, handle) in zip(clients, [sameClient, otherClient]) {
                    let hasEntered = Flag()
                    let body = Task {
                        try await client.withLock("\(handle.name), body", lease: lease) { _ in
                            hasEntered.set()
                            try await Task.sleep(for: .seconds(3_600))
                        }
                    }
                    try await eventually("the body runs") { hasEntered.isSet }
                    _ = try await clients[2].breakLock("\(handle.name), body")
                    await #expect(throws: LockError.self) { try await body.value }
                    _ = try await clients[2].breakLock(handle.name)
                    #expect(try await handle.lost() == .broken)
                }
                #expect(handler.isBlocking)
                handler.letGo()
                await #expect(throws: LockError.self) { try await blocked.value }
            }
        }
    }
}

private final class Flag: Sendable {
    private let value = Atomic(false)
    var isSet: Bool { self.value.load(ordering: .acquiring) }
    func set() { self.value.store(true, ordering: .releasing) }
}
