import DistributedLocks
import TestKit
import Testing

/// A process whose code leaves the global pool's threads no time: its locks are kept all the same.
// S12
@Suite(.timeLimit(.minutes(2)))
struct BusyPoolTests {
    @Test(arguments: ContractBackend.allCases)
    func `a lock is kept for longer than two leases while no thread of the pool is free`(
        backend: ContractBackend
    ) async throws {
        try await backend.withStore(isCrashing: true) { store in
            let lease = backend.allowed(.seconds(2))
            let agent = try AgentProcess.busyPool(url: store.url ?? "memory:", lease: lease, time: lease * 5 / 2)
            defer { agent.end() }
            try await eventually(within: .seconds(60), "it is over") { agent.isOver }
            #expect(agent.lines == ["kept"])
        }
    }
}
