import DistributedLocks
import TestKit
import Testing

/// What others see of who holds and who waits.
@Suite(.timeLimit(.minutes(2)))
struct HolderTests {
    @Test(arguments: ContractBackend.allCases)
    func `a claim has the metadata of its call, and else those of its client`(backend: ContractBackend) async throws {
        try await backend.withStore { store in
            try await store.withClients(2) { clients in
                func holder(_ name: String) async throws -> OwnerMetadata? {
                    try await clients[1].status(of: name).holder?.metadata
                }
                let own = clients[0].configuration.metadata
                let (day, night) = (OwnerMetadata.current(label: "day"), OwnerMetadata.current(label: "night shift"))
                // In turn, one after another: nothing is left of the one before.
                for metadata in [day, nil, night, day, nil] {
                    try await clients[0].withLock("c", metadata: metadata) { _ in
                        let shown = try await holder("c")
                        #expect(shown == metadata ?? own)
                    }
                }
                #expect(
                    try await clients[0].withLockIfAvailable("c", metadata: night) { _ in try await holder("c") }
                        == night)
                // At the same time, and those who wait.
                let first = try await clients[0].acquire("a", metadata: day)
                let second = try #require(try await clients[0].acquireIfAvailable("b", metadata: night))
                let third = try await clients[0].acquire("c")
                #expect(try await holder("a") == day)
                #expect(try await holder("b") == night)
                #expect(try await holder("c") == own)
                let busy = await #expect(throws: LockError.self) {
                    try await clients[1].acquire("a", waitingAtMost: .zero)
                }
                #expect(busy?.code == .busy && busy?.holder == day)
                let waiting = Task { try await clients[1].acquire("a", metadata: night) }
                try await eventually("one waits") { try await clients[0].status(of: "a").waiters.count == 1 }
                #expect(try await clients[0].status(of: "a").waiters.first?.metadata == night)
                try await first.release()
                let next = try await waiting.value
                #expect(try await holder("a") == night)
                for handle in [second, third, next] { try await handle.release() }
            }
        }
    }

    @Test(arguments: ContractBackend.allCases)
    func `who waits in vain hears who holds`(backend: ContractBackend) async throws {
        try await backend.withStore { store in
            try await store.withClients(2) { clients in
                let metadata = OwnerMetadata.current(label: "the one before")
                let handle = try await clients[0].acquire("a", metadata: metadata)
                let error = await #expect(throws: LockError.self) {
                    try await clients[1].acquire("a", waitingAtMost: .seconds(3))
                }
                #expect(error?.code == .timedOut)
                #expect(error?.holder == metadata)
                #expect(error?.message.contains("within 3 s: it is held by \(metadata)") == true, "\(error as Any)")
                try await handle.release()
            }
        }
    }

    // On ZooKeeper only the next one hears who holds: the others watch the node of a waiter.
    @Test(arguments: ContractBackend.allCases.filter { $0 != .zookeeper })
    func `who waits on is told who holds now`(backend: ContractBackend) async throws {
        try await backend.withStore { store in
            try await store.withClients(2) { clients in
                // On the embedded backend who waits behind others looks when the lease is over that it was told of.
                let handle = try await clients[0].acquire(
                    "a", lease: .seconds(5), metadata: .current(label: "first"))
                let waiting = Task { try await clients[1].acquire("a", metadata: .current(label: "second")) }
                try await eventually("one waits") { clients[1].queuedCount == 1 }
                try await store.withBackend { third, events in
                    let claim = Claims.make(try LockName("a"), attempt: 9)
                    let reply = try await third.request(AcquireRequest(claim: claim, joinsQueue: true, deadline: nil))
                    guard case .queued = reply else {
                        Issue.record("not queued: \(reply)")
                        return
                    }
                    try await handle.release()
                    // Redlock may serve the third one before the second.
                    try await eventually("it is told, or holds") {
                        events.holders(toldTo: claim.attempt)?.map(\.label) == ["second"]
                            || events.grant(of: claim.attempt) != nil
                    }
                    if backend != .redlock { #expect(events.grant(of: claim.attempt) == nil) }
                    try await third.withdraw(claim)
                }
                try await waiting.value.release()
            }
        }
    }
}
