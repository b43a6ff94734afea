import DistributedLocks
import TestKit
import Testing

/// What is left of clients that have run and ended.
// S13
@Suite(.timeLimit(.minutes(3)))
struct LifetimeTests {
    private struct Traces {
        weak var client: LockClient?
        weak var backend: (any LockBackend & AnyObject)?
    }

    /// A client that has held, waited, lost and released, and has ended.
    private static func traces(of backend: any LockBackend) async throws -> Traces {
        let object = try #require(backend as? any LockBackend & AnyObject)
        let client = LockClient(backend: backend)
        let running = Task { try await client.run() }
        let handle = try await client.acquire("a")
        let waiter = Task { try await client.withLock("a") { _ in } }
        try await eventually("one waits") { try await client.status(of: "a").waiters.count == 1 }
        try await handle.release()
        try await waiter.value
        let lost = try await client.acquire("b")
        _ = try await client.breakLock("b")
        #expect(try await lost.lost() == .broken)
        _ = try? await lost.release()
        running.cancel()
        try await running.value
        return Traces(client: client, backend: object)
    }

    @Test(arguments: ContractBackend.allCases)
    func `nothing is left of a client and its backend that have ended`(backend: ContractBackend) async throws {
        try await backend.withStore { store in
            let traces = try await Self.traces(of: store.makeBackend())
            try await eventually("the client is gone") { traces.client == nil }
            try await eventually("the backend is gone") { traces.backend == nil }
        }
    }

    @Test(arguments: ContractBackend.reachable)
    func `a thousand clients, one after another, leave no descriptor open`(backend: ContractBackend) async throws {
        try await backend.withStore { store in
            let url = try #require(store.url)
            // A server needs longer for each.
            let agent = try AgentProcess.churn(url: url, clients: backend == .embedded ? 1_000 : 100)
            defer { agent.end() }
            try await eventually(within: .seconds(120), "it is over") { agent.isOver }
            let words = agent.lines.first?.split(separator: " ").compactMap { Int($0) } ?? []
            try #require(words.count == 2, "\(agent.lines)")
            #expect(words[1] <= words[0])
        }
    }
}
