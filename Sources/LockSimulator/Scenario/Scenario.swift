/// One run: clients that take locks, faults that meet them, and what must hold all the same.
package struct Scenario: Sendable {
    package enum Store: String, CaseIterable, Sendable {
        case redis, sentinel, redlock, zookeeper
        #if Embedded
        case embedded
        #endif
    }

    package struct Outcome: Sendable {
        package let seed: UInt64
        package let violations: [Violation]
        package let grants: Int
        package let refusedWrites: Int
        package let steps: Int
        package let seconds: Double
        package let faults: [String: Int]
        /// How many faults were planned. Some of them may have met nobody.
        package let planned: Int
        package let trace: [String]
        package let traceHash: UInt64
        package let traceCount: Int
    }

    package var store: Store
    package var seed: UInt64
    package var isTraced = false
    package var hasConversations = false
    /// Nanoseconds in which locks are taken and faults happen.
    package var length: Int64 = 60_000_000_000
    /// How many clients begin; `nil`: one to four, as the seed says.
    package var clientCount: Int?
    /// Which faults of the plan do not happen.
    package var omittedFaults: Set<Int> = []
    /// The kinds of faults that happen; `nil`: all.
    package var faultNames: Set<String>?

    package init(store: Store, seed: UInt64) {
        self.store = store
        self.seed = seed
    }

    /// The kinds of faults that meet it.
    package func faultKinds() throws -> [String] {
        let world = World(seed: self.seed, trace: Trace(isKept: false, hasConversations: false))
        defer { world.end() }
        return try Run(self, world).allFaults.map(\.name)
    }

    package func run() throws -> Outcome {
        let world = World(
            seed: self.seed, trace: Trace(isKept: self.isTraced, hasConversations: self.hasConversations))
        defer { world.end() }
        let run = try Run(self, world)
        // What a process that was killed had is never ended: that would be done in the next world.
        defer { if run.hasKilled { _ = Unmanaged.passRetained(run) } }
        return try run.carryOut()
    }
}
