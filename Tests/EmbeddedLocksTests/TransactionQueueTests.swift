import DistributedLocks
import Foundation
import GRDB
import LockKernel
import Synchronization
import TestKit
import Testing

@testable import EmbeddedLocks

/// Work that is done on its caller's thread, and when it must not be.
@Suite(.timeLimit(.minutes(1)))
struct TransactionQueueTests {
    @Test func `a file that is not open yet is not opened on the caller's thread`() async throws {
        try await withQueue { queue, _ in
            #expect(try queue.atOnce(now: past) { _ in 1 } == nil)
            try await opened(queue)
            #expect(try queue.atOnce(now: past) { _ in 1 } == 1)
        }
    }

    @Test func `a file that was not looked for a while is not worked on before it was`() async throws {
        try await withQueue { queue, _ in
            try await opened(queue)
            #expect(try queue.atOnce(now: BootInstant(.now + .seconds(1))) { _ in 1 } == nil)
        }
    }

    @Test func `what would wait for the disk is not done on the caller's thread`() async throws {
        try await withQueue { queue, path in
            try await opened(queue)
            // All of the log is in the file: the next to write begins it anew, and waits until that is on the disk.
            try await DatabaseQueue(path: path).writeWithoutTransaction { _ = try $0.checkpoint(.passive) }
            let done = try queue.atOnce(now: past) { _ in 1 }
            #expect(done == nil)
            try await queue.transaction(deadline: .now + .seconds(30)) { try takeAndLeave($0) }
            try await eventually("it is done at once again") { try queue.atOnce(now: past) { _ in 1 } == 1 }
        }
    }

    @Test func `numbers are reserved before those at hand are used up, and not by who asks for a lock`() async throws {
        try await withQueue { queue, _ in
            try await opened(queue)
            let wanted = try await queue.withFile(deadline: .now + .seconds(30)) { file in
                let reserved = try file.reservedTokens()
                file.table.wantedReservation = reserved + TokenRule.blockInTicks
                return reserved + TokenRule.blockInTicks
            }
            try await eventually("they are reserved") {
                try await queue.withFile(deadline: .now + .seconds(30)) { try $0.reservedTokens() } == wanted
            }
        }
    }

    @Test func `a long log is moved into the file without being asked for`() async throws {
        try await withQueue { queue, _ in
            try await opened(queue)
            var longest: UInt32 = 0
            for _ in 0..<5_000 {
                try await queue.transaction(deadline: .now + .seconds(30)) { try takeAndLeave($0) }
                let length = try await queue.withFile(deadline: .now + .seconds(30)) { $0.index?.lengthInPages ?? 0 }
                longest = max(longest, length)
            }
            #expect(longest > 3_000 && longest < LockFile.longestLogInPages + 100, "\(longest)")
        }
    }

    @Test func `a queue that was closed has closed its file, and refuses work`() async throws {
        try await withQueue { queue, path in
            try await opened(queue)
            await queue.close()
            let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").compactMap {
                try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/" + $0)
            }
            #expect(!open.contains { $0.hasPrefix(path) })
            await #expect(throws: LockError.self) {
                try await queue.transaction(deadline: .now + .seconds(30)) { _ in }
            }
        }
    }

    @Test func `work that another process keeps from its turn is not begun`() async throws {
        try await withQueue { queue, path in
            try await opened(queue)
            try whileWriting(path) {
                let done = try queue.atOnce(now: past) { _ in
                    Issue.record("begun while another process was writing")
                    return 1
                }
                #expect(done == nil)
            }
            #expect(try queue.atOnce(now: past) { _ in 1 } == 1)
        }
    }

    @Test func `what is submitted meanwhile is done afterwards, and on the same thread`() async throws {
        try await withQueue { queue, _ in
            try await opened(queue)
            let steps = Mutex<[String]>([])
            let done = try queue.atOnce(now: past) { _ in
                queue.submit(deadline: .now + .seconds(30)) { _ in
                    steps.withLock { $0.append("second") }
                } completion: { _ in
                    steps.withLock { $0.append("told") }
                }
                let inner = try queue.atOnce(now: past) { _ in 1 }
                #expect(inner == nil)
                steps.withLock { $0.append("first") }
                return 1
            }
            #expect(done == 1)
            #expect(steps.withLock { $0 } == ["first", "second", "told"])
        }
    }

    @Test(arguments: 0..<5)
    func `work behind a job that needs tokens reserved first is done, too`(position: Int) async throws {
        try await withQueue { queue, _ in
            try await opened(queue)
            let tries = Mutex(0)
            let done = Mutex<[Int]>([])
            _ = try queue.atOnce(now: past) { _ in
                for number in 0..<5 {
                    queue.submit(deadline: .now + .seconds(30)) { _ in
                        let isFirst = tries.withLock { tries in
                            if number == position { tries += 1 }
                            return tries == 1
                        }
                        if number == position && isFirst { throw LockTable.NeedsReservation(upTo: 1) }
                    } completion: { result in
                        if case .success = result { done.withLock { $0.append(number) } }
                    }
                }
            }
            // The reservation waits for the disk, so it is not done on this thread.
            try await eventually("all are done") { done.withLock { $0.count } == 5 }
            #expect(done.withLock { $0 } == [0, 1, 2, 3, 4])
            #expect(tries.withLock { $0 } == 2)
        }
    }

    @Test(arguments: 0..<5)
    func `work beside a job that fails is done, and only that one fails`(position: Int) async throws {
        struct Failed: Error {}
        try await withQueue { queue, _ in
            try await opened(queue)
            let done = Mutex<[Int]>([])
            let failed = Mutex<[Int]>([])
            _ = try queue.atOnce(now: past) { _ in
                for number in 0..<5 {
                    queue.submit(deadline: .now + .seconds(30)) { _ in
                        if number == position { throw Failed() }
                    } completion: { result in
                        switch result {
                        case .success: done.withLock { $0.append(number) }
                        case .failure: failed.withLock { $0.append(number) }
                        }
                    }
                }
            }
            #expect(done.withLock { $0 } == [0, 1, 2, 3, 4].filter { $0 != position })
            #expect(failed.withLock { $0 } == [position])
        }
    }

    @Test func `work that gets no turn in time does not blame another process`() async throws {
        try await withQueue { queue, _ in
            try await opened(queue)
            let error = await #expect(throws: LockError.self) { try await queue.transaction(deadline: .now) { _ in } }
            #expect(error?.code == .unreachable)
            #expect(error?.message.contains("this process did not get to look at") == true, "\(error as Any)")
        }
    }

    @Test func `work that fails leaves nothing behind, and lets others work`() async throws {
        struct Failed: Error {}
        try await withQueue { queue, _ in
            try await opened(queue)
            let name = try LockName("a")
            #expect(throws: LockError.self) {
                try queue.atOnce(now: past) { table in
                    table.notices.append(
                        Notice(
                            kind: .look, name: name,
                            address: ClaimAddress(participant: table.participant, attempt: AttemptID(rawValue: 1))))
                    throw Failed()
                }
            }
            #expect(try queue.atOnce(now: past) { $0.notices.isEmpty } == true)
        }
    }
}

/// Opens the file, and waits until whoever did so has let go of it. Something is written, because the first to write in an
/// empty log waits for the disk.
private func opened(_ queue: TransactionQueue) async throws {
    try await queue.transaction(deadline: .now + .seconds(30)) { try takeAndLeave($0) }
    while try queue.atOnce(now: past, { _ in 1 }) == nil { await Task.yield() }
}

private func takeAndLeave(_ table: LockTable) throws {
    var generator = SystemRandomNumberGenerator()
    let claim = LockClaim(
        attempt: AttemptID(rawValue: 1_000),
        name: try LockName("first"),
        owner: LockOwner(secret: LockOwner.Secret(using: &generator), metadata: .current()),
        lease: .seconds(60)
    )
    _ = try table.request(claim, joinsQueue: false, isRetry: { false }, queueLimit: 10)
    _ = try table.release(claim)
}

/// What one who waits hears when the file cannot be looked at in the end.
@Suite(.timeLimit(.minutes(1))) struct TroubleTests {
    @Test func `who waits in vain for a file that another process goes on writing hears so`() async throws {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            // Less than the waiter's patience, and more than a busy machine takes for a turn.
            var options = EmbeddedLockBackend.Options()
            options.busyTimeout = .seconds(1)
            try await withClient(path) { holder in
                let handle = try await holder.acquire("a", lease: .seconds(2))
                try await withClient(path, options: options) { locks in
                    let waiting = Task { try await locks.acquire("a", waitingAtMost: .seconds(5)) }
                    try await eventually("it waits") { locks.queuedCount == 1 }
                    var configuration = Configuration()
                    configuration.allowsUnsafeTransactions = true
                    let outside = try DatabaseQueue(path: path, configuration: configuration)
                    try await outside.writeWithoutTransaction { try $0.execute(sql: "BEGIN IMMEDIATE") }
                    let error = await #expect(throws: LockError.self) { try await waiting.value }
                    #expect(error?.code == .unreachable, "\(error as Any)")
                    #expect(error?.message.contains("written by another process") == true, "\(error as Any)")
                    try await outside.writeWithoutTransaction { try $0.execute(sql: "ROLLBACK") }
                    // A wait that is over, and another one beside a file that can be looked at.
                    let other = try await holder.acquire("b", lease: .seconds(60), waitingAtMost: .seconds(10))
                    let busy = await #expect(throws: LockError.self) {
                        _ = try await locks.acquire("b", waitingAtMost: .seconds(2))
                    }
                    #expect(busy?.code == .timedOut)
                    try await other.release()
                }
                try? await handle.release()
            }
        }
    }
}

/// Does something while another connection holds the file for writing.
private func whileWriting(_ path: String, _ body: () throws -> Void) throws {
    try DatabaseQueue(path: path).writeWithoutTransaction { db in
        try db.inTransaction(.immediate) {
            try body()
            return .rollback
        }
    }
}

/// Before any look at the path is due.
private var past: BootInstant { BootInstant(.now - .seconds(3_600)) }

private final class Owner: TransactionQueueOwner {
    let location: EmbeddedLocation

    init(_ location: EmbeddedLocation) { self.location = location }

    func openFile(deadline: BootInstant) throws(LockError) -> LockFile {
        try LockFile(
            location: self.location, participant: .random(), environment: .system, deadline: deadline,
            sight: { _ in .dead })
    }

    func deliver(_ notices: [Notice]) {}
}

private func withQueue(_ body: (TransactionQueue, String) async throws -> Void) async throws {
    try await withFolder { folder in
        let owner = Owner(try EmbeddedLocation(path: folder.path + "/locks.db"))
        let queue = TransactionQueue(path: owner.location.path, environment: .system)
        queue.setOwner(owner)
        try await body(queue, owner.location.path)
        withExtendedLifetime(owner) {}
    }
}
