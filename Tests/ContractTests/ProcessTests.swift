import DistributedLocks
import Foundation
import TestKit
import Testing

/// What happens when whole processes are stopped or killed.
@Suite(.timeLimit(.minutes(3)))
struct ProcessTests {
    private static func withAgents(
        _ count: Int,
        _ store: ContractStore,
        lease: Duration,
        _ body: ([AgentProcess]) async throws -> Void
    ) async throws {
        let url = try #require(store.url)
        var agents: [AgentProcess] = []
        defer { for agent in agents { agent.end() } }
        for number in 0..<count {
            let agent = try AgentProcess(url: url, name: "a", lease: lease)
            agents.append(agent)
            // They ask one after the other, so that their order is known.
            if number == 0 {
                try await eventually("the first agent holds") { agent.said("held") }
            } else {
                try await store.withClient { client in
                    try await eventually("agent \(number) waits") {
                        try await client.status(of: "a").waiters.count == number
                    }
                }
            }
        }
        try await body(agents)
    }

    // S1
    @Test(arguments: ContractBackend.reachable)
    func `a holder that was stopped past its lease knows on its first step`(backend: ContractBackend) async throws {
        try await backend.withStore(isCrashing: true) { store in
            try await Self.withAgents(2, store, lease: backend.allowed(.milliseconds(2_000))) { agents in
                try agents[0].stop()
                try await eventually("the next one holds") { agents[1].said("held") }
                let first = try #require(agents[0].token)
                let second = try #require(agents[1].token)
                #expect(second > first)
                // What it said before it was stopped has been read by now.
                let before = agents[0].lines.count
                agents[0].signal(SIGCONT)
                try await eventually("the first one knows") { agents[0].isOver }
                #expect(
                    agents[0].said("lost leaseExpired") || agents[0].said("lost sessionEnded"),
                    "\(agents[0].lines.suffix(3))"
                )
                // What it had checked before it was stopped may still be on its way; after that it says valid no more.
                let after = agents[0].lines.dropFirst(before)
                #expect(after.count(where: { $0 == "valid" }) <= 1)
                #expect(agents[1].lines.last == "valid")
            }
        }
    }

    // S2, E2
    @Test(arguments: ContractBackend.reachable)
    func `when the holder is killed the next one holds soon`(backend: ContractBackend) async throws {
        try await backend.withStore(isCrashing: true) { store in
            var best: Duration = .seconds(3_600)
            for _ in 0..<(backend == .embedded ? 5 : 2) {
                try await Self.withAgents(2, store, lease: backend.crashLease) { agents in
                    agents[0].signal(SIGKILL)
                    let killed = ContinuousClock.now
                    try await eventually("the next one holds") { agents[1].said("held") }
                    best = min(best, ContinuousClock.now - killed)
                }
                try await store.withClient { client in
                    try await eventually("the lock is free") { try await client.status(of: "a").holder == nil }
                }
            }
            // The best of five, because the machine has other tests to run; `dlock bench --workload crash` measures it.
            #expect(best < backend.longestTakeover)
        }
    }

    // E2, S10
    @Test(arguments: ContractBackend.reachable)
    func `killed waiters are passed over, also when holder and head die together`(
        backend: ContractBackend
    ) async throws {
        try await backend.withStore(isCrashing: true) { store in
            try await Self.withAgents(4, store, lease: backend.crashLease) { agents in
                agents[1].signal(SIGKILL)
                agents[0].signal(SIGKILL)
                agents[2].signal(SIGKILL)
                try await eventually("the last one holds") { agents[3].said("held") }
                agents[3].letGo()
                try await eventually("it ends well") { agents[3].isOver }
                #expect(agents[3].said("released"))
            }
        }
    }

    @Test(arguments: ContractBackend.reachable)
    func `a lock of a killed process is free for who does not wait`(backend: ContractBackend) async throws {
        try await backend.withStore(isCrashing: true) { store in
            try await Self.withAgents(1, store, lease: backend.allowed(.seconds(2))) { agents in
                let token = try #require(agents[0].token)
                agents[0].signal(SIGKILL)
                try await store.withClient { client in
                    try await eventually("it is free") {
                        try await client.withLockIfAvailable("a") { held in held.token > token } == true
                    }
                }
            }
        }
    }

    // R6: a waiter that is stopped gets its grant, which ends with its lease.
    @Test(arguments: ContractBackend.reachable)
    func `a stopped waiter does not keep those behind it for longer than its lease`(
        backend: ContractBackend
    ) async throws {
        try await backend.withStore(isCrashing: true) { store in
            try await Self.withAgents(3, store, lease: backend.allowed(.milliseconds(3_000))) { agents in
                try agents[1].stop()
                agents[0].letGo()
                try await eventually("the last one holds") { agents[2].said("held") }
                agents[2].letGo()
                try await eventually("it ends well") { agents[2].isOver }
                #expect(agents[2].said("released"))
                agents[1].signal(SIGCONT)
                agents[1].letGo()
                try await eventually("the stopped one goes on, and holds the lock or was never told") {
                    agents[1].isOver
                }
                #expect(!agents[1].said("stale") || agents[1].said("lost"))
            }
        }
    }
}

extension AgentProcess {
    var token: FencingToken? { self.tokenText.flatMap { FencingToken($0) } }
}
