import DistributedLocks
import Foundation
import GRDB
import LockKernel
import Synchronization
import TestKit
import Testing

@testable import EmbeddedLocks

/// A free lock is taken, and one that nobody waits for is left, in one statement each. These are the cases in which that
/// statement must leave everything alone, and the rules be gone through instead.
@Suite(.timeLimit(.minutes(1)))
struct OneStatementTests {
    @Test func `the time is the token while it is above the last one, and then the next number`() async throws {
        try await withFolder { folder in
            let clock = SettableClock()
            let file = try open(folder, clock)
            let first = try file.take("a", 1)
            #expect(first == clock.ticks)
            #expect(try file.leave("a", 1))
            // Not a tick later.
            #expect(try file.take("a", 2) == first + 1)
            #expect(try file.leave("a", 2))
            clock.add(ticks: -1_000)
            #expect(try file.take("a", 3) == first + 2)
            #expect(try file.leave("a", 3))
            clock.add(ticks: 2_000)
            #expect(try file.take("a", 4) == clock.ticks)
        }
    }

    @Test func `a lock that is held is not taken`() async throws {
        try await withFolder { folder in
            let clock = SettableClock()
            let (file, other) = (try open(folder, clock), try open(folder, clock))
            _ = try file.take("a", 1)
            clock.add(ticks: 10)
            guard case .busy(let holder, let metadata) = try other.request("a", 2, joinsQueue: false) else {
                Issue.record("not busy")
                return
            }
            #expect(holder == file.table.participant)
            #expect(metadata.host == "host-1")
        }
    }

    @Test func `a release hands over to who waits, and tells it`() async throws {
        try await withFolder { folder in
            let clock = SettableClock()
            let (file, other) = (try open(folder, clock), try open(folder, clock))
            let first = try file.take("a", 1)
            guard case .queued = try other.request("a", 2, joinsQueue: true) else {
                Issue.record("not queued")
                return
            }
            clock.add(ticks: 10)
            let (wasHeld, notices) = try file.inTransaction { table in
                let wasHeld = try table.release(claim("a", 1))
                return (wasHeld, table.notices)
            }
            #expect(wasHeld)
            #expect(notices.map(\.address.participant) == [other.table.participant])
            #expect(try other.inTransaction { try $0.check(claim("a", 2), place: 1) }.token == first + 10)
            #expect(try !file.leave("a", 1))
        }
    }

    @Test func `a lock that nobody holds is not taken past somebody who waits for it`() async throws {
        try await withFolder { folder in
            let clock = SettableClock()
            let (file, other) = (try open(folder, clock), try open(folder, clock))
            let first = try file.take("a", 1)
            _ = try other.request("a", 2, joinsQueue: true)
            // No rule of ours leaves a lock like this.
            try change(folder, "UPDATE locks SET owner = NULL, participant = NULL")
            clock.add(ticks: 10)
            guard case .queued(let place) = try file.request("a", 3, joinsQueue: true) else {
                Issue.record("not queued")
                return
            }
            #expect(place.holder == other.table.participant)
            #expect(try other.inTransaction { try $0.check(claim("a", 2), place: 1) }.token == first + 10)
        }
    }

    @Test func `a release after the lease has run out is told so, and frees the lock`() async throws {
        try await withFolder { folder in
            let clock = SettableClock()
            let file = try open(folder, clock)
            _ = try file.take("a", 1, lease: .zero)
            #expect(try !file.leave("a", 1))
            #expect(try file.status(of: LockName("a")).first?.status.holder == nil)
            clock.add(ticks: 10)
            #expect(try file.take("a", 2) == clock.ticks)
        }
    }

    @Test func `a lock whose lease has run out is taken over, and its release finds it gone`() async throws {
        try await withFolder { folder in
            let clock = SettableClock()
            let (file, other) = (try open(folder, clock), try open(folder, clock))
            let first = try file.take("a", 1, lease: .zero)
            clock.add(ticks: 10)
            #expect(try other.take("a", 2) == first + 10)
            #expect(try !file.leave("a", 1))
            #expect(try other.leave("a", 2))
        }
    }

    @Test func `an owner that asks again has the token that it has`() async throws {
        try await withFolder { folder in
            let clock = SettableClock()
            let file = try open(folder, clock)
            let first = try file.take("a", 1)
            clock.add(ticks: 10)
            #expect(try file.take("a", 1) == first)
        }
    }

    @Test func `a number above the reserved block is not used before it is reserved`() async throws {
        try await withFolder { folder in
            let clock = SettableClock()
            let file = try open(folder, clock)
            _ = try file.take("a", 1)
            #expect(try file.leave("a", 1))
            let reserved = try meta(folder, "token_reserved")
            clock.add(ticks: reserved - clock.ticks)
            #expect(try file.take("a", 2) == reserved)
            #expect(try file.leave("a", 2))
            clock.add(ticks: 1)
            #expect(throws: LockTable.NeedsReservation.self) {
                guard case .begun = try file.begin() else { return }
                defer { file.rollback() }
                _ = try file.table.request(claim("a", 3), joinsQueue: true, isRetry: { false }, queueLimit: 10)
            }
            #expect(try meta(folder, "token_reserved") == reserved)
            #expect(try file.take("a", 3) == reserved + 1)
            #expect(try meta(folder, "token_reserved") > reserved)
        }
    }

    @Test func `what another process reserves counts at once`() async throws {
        try await withFolder { folder in
            let clock = SettableClock()
            let (file, other) = (try open(folder, clock), try open(folder, clock))
            _ = try file.take("a", 1)
            #expect(try file.leave("a", 1))
            let reserved = try meta(folder, "token_reserved")
            clock.add(ticks: reserved - clock.ticks + 1)
            try other.reserveTokens(upTo: reserved + 5)
            #expect(try file.take("a", 2) == reserved + 1)
            #expect(try meta(folder, "token_reserved") == reserved + 5)
        }
    }

    @Test func `a floor that another process has raised counts at once`() async throws {
        try await withFolder { folder in
            let clock = SettableClock()
            let file = try open(folder, clock)
            _ = try file.take("a", 1)
            #expect(try file.leave("a", 1))
            clock.add(ticks: 10)
            let floor = clock.ticks + 500
            try change(folder, "UPDATE meta SET value = \(floor) WHERE key = 'token_floor'")
            #expect(try file.take("a", 2) == floor + 1)
            #expect(try file.leave("a", 2))
            clock.add(ticks: 500)
            // At the floor is not above it.
            #expect(try file.take("b", 3) == floor + 1)
        }
    }

    @Test func `after another boot was seen in the file, numbers go on above what was reserved`() async throws {
        try await withFolder { folder in
            let clock = SettableClock()
            let file = try open(folder, clock)
            let first = try file.take("a", 1)
            let reserved = try meta(folder, "token_reserved")
            clock.add(ticks: 10)
            let rebooted = try open(folder, clock, bootID: "boot-2")
            let next = try rebooted.take("a", 2)
            #expect(next > reserved && next > first)
            // Who has the file open since the earlier boot, or what it took for one, does nothing in it any more.
            guard case .otherBoot = try file.begin() else {
                Issue.record("a transaction on a file of another boot")
                return
            }
            #expect(try rebooted.leave("a", 2))
        }
    }

    @Test func `a lock that was broken and given to another is not released by its old holder`() async throws {
        try await withFolder { folder in
            let clock = SettableClock()
            let (file, other) = (try open(folder, clock), try open(folder, clock))
            _ = try file.take("a", 1)
            clock.add(ticks: 10)
            _ = try other.inTransaction { try $0.breakLock(LockName("a"), immediately: true) }
            clock.add(ticks: 10)
            _ = try other.take("a", 2)
            #expect(try !file.leave("a", 1))
            #expect(try file.request("a", 3, joinsQueue: false).isBusy)
            #expect(try other.leave("a", 2))
        }
    }

    @Test func `two processes that take and leave in turn see each other's every step`() async throws {
        try await withFolder { folder in
            let clock = SettableClock()
            let files = [try open(folder, clock), try open(folder, clock)]
            var last: Int64 = 0
            for step in 0..<200 {
                clock.add(ticks: Int64(step % 3))
                let token = try files[step % 2].take("a", UInt64(step))
                #expect(token > last)
                last = token
                #expect(try files[(step + 1) % 2].request("a", 1_000, joinsQueue: false).isBusy)
                #expect(try files[step % 2].leave("a", UInt64(step)))
            }
        }
    }
}

/// A wall clock that stands still unless it is moved.
private final class SettableClock: Sendable {
    private let now = Mutex<Int64>(4_000_000_000_000)

    var ticks: Int64 { self.now.withLock { $0 } }

    func add(ticks: Int64) { self.now.withLock { $0 += ticks } }
}

private func open(_ folder: URL, _ clock: SettableClock, bootID: String = "boot-1") throws -> LockFile {
    try LockFile(
        location: EmbeddedLocation(path: folder.path + "/locks.db"),
        participant: .random(),
        environment: EmbeddedEnvironment(
            Environment(
                time: ChangedTime {
                    TokenRule.epochInMicroseconds + clock.ticks * TokenRule.microsecondsPerTick
                }),
            files: FilesOfBoot { bootID }),
        deadline: .now + .seconds(30),
        sight: { _ in .dead }
    )
}

/// The same claim for the same number, as another process would make it.
private func claim(_ name: String, _ number: UInt64, lease: Duration = .seconds(60)) throws -> LockClaim {
    struct Constant: RandomNumberGenerator {
        let number: UInt64
        mutating func next() -> UInt64 { self.number }
    }
    var generator = Constant(number: number)
    return LockClaim(
        attempt: AttemptID(rawValue: number),
        name: try LockName(name),
        owner: LockOwner(
            secret: LockOwner.Secret(using: &generator),
            metadata: OwnerMetadata(host: "host-\(number)", pid: 1)
        ),
        lease: lease
    )
}

private func change(_ folder: URL, _ sql: String) throws {
    try DatabaseQueue(path: folder.path + "/locks.db").writeWithoutTransaction { try $0.execute(sql: sql) }
}

private func meta(_ folder: URL, _ key: String) throws -> Int64 {
    let value = try DatabaseQueue(path: folder.path + "/locks.db").read { db in
        try Int64.fetchOne(db, sql: "SELECT value FROM meta WHERE key = ?", arguments: [key])
    }
    return try #require(value)
}

private struct NotBegun: Error {}

extension LockFile {
    fileprivate func inTransaction<Value>(_ work: (LockTable) throws -> Value) throws -> Value {
        guard case .begun = try self.begin() else { throw NotBegun() }
        do {
            let value = try work(self.table)
            try self.commit()
            _ = self.table.takeNotices()
            return value
        } catch let need as LockTable.NeedsReservation {
            self.rollback()
            try self.reserveTokens(upTo: need.upTo)
            return try self.inTransaction(work)
        }
    }

    fileprivate func request(
        _ name: String,
        _ number: UInt64,
        lease: Duration = .seconds(60),
        joinsQueue: Bool
    ) throws -> LockTable.RequestResult {
        try self.inTransaction { table in
            try table.request(
                claim(name, number, lease: lease), joinsQueue: joinsQueue, isRetry: { false }, queueLimit: 10)
        }
    }

    /// Takes a lock, and returns its token.
    fileprivate func take(_ name: String, _ number: UInt64, lease: Duration = .seconds(60)) throws -> Int64 {
        guard case .granted(let grant) = try self.request(name, number, lease: lease, joinsQueue: false) else {
            Issue.record("'\(name)' was not granted to \(number)")
            return 0
        }
        return grant.token.rawValue
    }

    fileprivate func leave(_ name: String, _ number: UInt64) throws -> Bool {
        try self.inTransaction { try $0.release(claim(name, number)) }
    }
}

extension LockTable.RequestResult {
    fileprivate var isBusy: Bool {
        if case .busy = self { true } else { false }
    }
}

extension LockTable.CheckResult {
    fileprivate var token: Int64? {
        if case .granted(let grant) = self { grant.token.rawValue } else { nil }
    }
}
