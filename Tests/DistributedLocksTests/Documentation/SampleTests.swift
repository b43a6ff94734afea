import DistributedLocks
import LockTesting
import Testing

/// The code samples of the documentation, compiled and run.
@Suite struct SampleTests {
    private actor Report {
        private(set) var writes: [FencingToken?] = []
        func write(fencingToken: FencingToken?) throws -> Int {
            self.writes.append(fencingToken)
            return self.writes.count
        }
    }

    private actor Ledger {
        private(set) var paid: [FencingToken] = []
        func amount() throws -> Int { 7 }
        func pay(_ amount: Int, fencingToken: FencingToken) throws { self.paid.append(fencingToken) }
    }

    private actor Importer {
        private(set) var undone: [FencingToken?] = []
        private(set) var runs = 0
        let afterRun: @Sendable () async -> Void
        init(afterRun: @escaping @Sendable () async -> Void = {}) { self.afterRun = afterRun }
        func run(fencingToken: FencingToken) async throws {
            self.runs += 1
            await self.afterRun()
        }
        func undo(after token: FencingToken?) { self.undone.append(token) }
    }

    private actor PartImporter {
        private(set) var parts: [Int: FencingToken] = [:]
        func run(_ part: Int, fencingToken: FencingToken) { self.parts[part] = fencingToken }
    }

    /// Runs closures in its own time, as GRDB does.
    private actor QueuedDatabase {
        private var rows = 0
        func write<Value: Sendable>(_ work: @escaping @Sendable (inout Int) throws -> Value) throws -> Value {
            try work(&self.rows)
        }
    }

    private actor Shop {
        private(set) var sold: [Int: FencingToken] = [:]
        func sell(item: Int, fencingToken: FencingToken) throws { self.sold[item] = fencingToken }
    }

    @Test func `saying what a lock is held for`() async throws {
        let importer = Importer()
        try await withInMemoryLocks { locks, _ in
            try await locks.withLock("import", metadata: .current(label: "prices of May")) { held in
                try await importer.run(fencingToken: held.token)
            }
        }
        #expect(await importer.runs == 1)
    }

    @Test func `selling an item under its lock`() async throws {
        let shop = Shop()
        try await withInMemoryLocks { locks, _ in
            try await locks.withLock("inventory/42", lease: .seconds(10), waitingAtMost: .seconds(5)) { held in
                try await shop.sell(item: 42, fencingToken: held.token)
            }
        }
        #expect(await shop.sold.keys.sorted() == [42])
    }

    @Test func `waiting, and doing it only if nobody else is at it`() async throws {
        let report = Report()
        try await withInMemoryLocks { locks, _ in
            let total = try await locks.withLock("report") { held in
                try await report.write(fencingToken: held.token)
            }
            #expect(total == 1)
            let ran = try await locks.withLockIfAvailable("nightly") { _ in
                try await report.write(fencingToken: nil)
            }
            if ran == nil { print("somebody else is at it") }
            #expect(ran == 2)
        }
    }

    @Test func `checking before a step that cannot be undone`() async throws {
        let ledger = Ledger()
        try await withInMemoryLocks { locks, _ in
            try await locks.withLock("payout/7") { held in
                let amount = try await ledger.amount()
                try held.checkValid()
                try await ledger.pay(amount, fencingToken: held.token)
            }
        }
        #expect(await ledger.paid.count == 1)
    }

    @Test func `doing the work in several tasks`() async throws {
        let importer = PartImporter()
        let parts = 1...8
        try await withInMemoryLocks { locks, _ in
            try await locks.withLock("import") { held in
                let validity = held.validity
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for part in parts {
                        group.addTask {
                            try validity.checkValid()
                            await importer.run(part, fencingToken: validity.token)
                        }
                    }
                    try await group.waitForAll()
                }
            }
        }
        #expect(await importer.parts.keys.sorted() == Array(parts))
    }

    @Test func `handing validity to a closure that is kept`() async throws {
        try await withInMemoryLocks { locks, _ in
            let total = try await locks.withLock("import") { held in
                let database = QueuedDatabase()
                let validity = held.validity
                return try await database.write { rows in
                    try validity.checkValid()
                    rows += 1
                    return rows
                }
            }
            #expect(total == 1)
        }
    }

    @Test func `being told that a lock was lost`() async throws {
        try await withInMemoryLocks { locks, _ in
            let importer = Importer(afterRun: { _ = try? await locks.breakLock("import", immediately: true) })
            do {
                try await locks.withLock("import") { held in
                    try await importer.run(fencingToken: held.token)
                }
            } catch let error as LockError where error.code == .lost {
                // error.lossReason says why, error.bodyOutcome how the body ended.
                await importer.undo(after: error.token)
            }
            #expect(await importer.undone.count == 1)
        }
    }

    @Test func `watching a lock that is held beyond a scope`() async throws {
        try await withInMemoryLocks { locks, _ in
            let handle = try await locks.acquire("migration")
            let watching = Task {
                if let reason = try await handle.lost() {
                    print("lost: \(reason)")
                } else {
                    print("released")
                }
            }
            try await handle.release()
            try await watching.value
        }
    }

    @Test func `holding beyond a scope`() async throws {
        let importer = Importer()
        try await withInMemoryLocks { locks, store in
            let handle = try await locks.acquire("migration")
            try await importer.run(fencingToken: handle.token)
            try await handle.release()
            #expect(store.isEmpty)
        }
        #expect(await importer.runs == 1)
    }
}
