import DistributedLocks
import Foundation
import LockTransport
import LockURLs
import NIOCore
import Synchronization
import TestKit
import Testing

@testable import ZooKeeperLocks

/// What is left on the ensemble (Z9, S13).
@Suite(.enabled(if: ZooKeeperServer.isRequired), .timeLimit(.minutes(3)))
struct LeftoverTests {
    /// One that does not remove containers by itself for as long as a test runs.
    private static let options = ZooKeeperServer.Options(properties: ["znode.container.checkIntervalMs": "3600000"])

    private func backend(_ url: String) throws -> ZooKeeperLockBackend {
        try #require(try LockBackends.backend(url: url) as? ZooKeeperLockBackend)
    }

    private func folders(_ server: ZooKeeperServer) async throws -> [String] {
        try await self.backend(server.url).children("/dlock")
    }

    private static func lockMany(_ locks: LockClient, names: Range<Int>, workers: Int = 32) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for worker in 0..<workers {
                group.addTask {
                    for name in names where name % workers == worker { _ = try await token(locks, "name-\(name)") }
                }
            }
            try await group.waitForAll()
        }
    }

    @Test func `of thousands of names that were locked at full speed nothing is left soon afterwards`() async throws {
        try await ZooKeeperServer.withServer(Self.options) { server async throws in
            try await withLockClient(server.url + "?session-timeout=10s") { locks in
                let holder = Holder(locks, "held")
                await holder.isHeld()
                try await Self.lockMany(locks, names: 0..<4_000)
                try await eventually("only the lock that is held has a folder") {
                    try await self.folders(server) == ["held"]
                }
                // It was not used for longer than the others were idle.
                holder.letGo()
                _ = try await holder.end()
                try await eventually("none has") { try await self.folders(server).isEmpty }
                _ = try await token(locks, "name-7")
            }
        }
    }

    @Test func `a client that has ended in good order has left nothing`() async throws {
        try await ZooKeeperServer.withServer(Self.options) { server async throws in
            for count in [1, 300] {
                try await withLockClient(server.url + "?session-timeout=10s") { locks in
                    try await Self.lockMany(locks, names: 0..<count)
                }
                try await eventually("nothing is left") { try await self.folders(server).isEmpty }
            }
        }
    }

    @Test func `a folder that others use is not taken from them`() async throws {
        try await ZooKeeperServer.withServer(Self.options) { server async throws in
            let url = server.url + "?session-timeout=10s"
            try await withLockClient(url) { first in
                let holders = (0..<3).map { Holder(first, "shared-\($0)") }
                for holder in holders { await holder.isHeld() }
                try await withLockClient(url) { second in
                    try await Self.lockMany(second, names: 0..<20)
                    for name in 0..<3 {
                        #expect(try await second.withLockIfAvailable("shared-\(name)") { _ in true } == nil)
                        let error = await #expect(throws: LockError.self) {
                            try await second.withLock("shared-\(name)", waitingAtMost: .milliseconds(50)) { _ in }
                        }
                        #expect(error?.code == .timedOut)
                    }
                }
                try await eventually("what is held is left") {
                    try await self.folders(server).sorted() == ["shared-0", "shared-1", "shared-2"]
                }
                for holder in holders {
                    holder.letGo()
                    _ = try await holder.end()
                }
                try await eventually("nothing is left") { try await self.folders(server).isEmpty }
            }
        }
    }

    // Z5: a folder goes whenever it is empty, and numbers begin again.
    @Test func `where a lock's folder is deleted whenever it is empty one holds at a time, and tokens rise`()
        async throws
    {
        let server = try await ZooKeeperServer.shared()
        let url = server.chroot(timeout: 10)
        let folder = try self.backend(url).configuration.chroot + "/dlock/a"
        let ledger = Ledger()
        let gone = Count()
        let deleter = Operator(try self.backend(server.url).configuration)
        let running = Task { await deleter.run() }
        defer { running.cancel() }
        let deleting = Task {
            while !ledger.isOver {
                do {
                    _ = try await deleter.answer(.delete(path: folder))
                    gone.add()
                } catch let error as ZooKeeperError where error.serverCode == .noNode {
                    gone.add()
                } catch let error as ZooKeeperError where error.serverCode == .notEmpty {
                    continue
                }
            }
        }
        try await withLockClient(url) { first in
            try await withLockClient(url) { second in
                for _ in 0..<25 {
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for worker in 0..<8 {
                            group.addTask {
                                let locks = worker.isMultiple(of: 2) ? first : second
                                try await locks.withLock("a", waitingAtMost: .seconds(60)) { held in
                                    ledger.entered(held.token)
                                    defer { ledger.left() }
                                    await Task.yield()
                                }
                            }
                        }
                        try await group.waitForAll()
                    }
                    let before = gone.value
                    try await eventually("its folder is gone") { gone.value > before }
                }
            }
        }
        ledger.end()
        try await deleting.value
        #expect(ledger.overlaps == 0)
        #expect(ledger.count == 25 * 8)
        #expect(ledger.tokens == ledger.tokens.sorted() && Set(ledger.tokens).count == ledger.tokens.count)
    }

    private final class Count: Sendable {
        private let number = Atomic(0)
        var value: Int { self.number.load(ordering: .relaxed) }
        func add() { self.number.add(1, ordering: .relaxed) }
    }

    private final class Sink: LockEventSink {
        func receive(_ event: LockEvent) {}
    }

    @Test func `a backend that has ended keeps nobody whom it told, and is freed`() async throws {
        let server = try await ZooKeeperServer.shared()
        weak var sink: Sink?
        weak var shell: ZooKeeperShell?
        func run(_ backend: ZooKeeperLockBackend) async throws {
            let told = Sink()
            sink = told
            backend.start(delivering: told)
            let running = Task { try await backend.run() }
            _ = try await backend.status(of: LockName("a"))
            running.cancel()
            try await running.value
        }
        var backend: ZooKeeperLockBackend? = try self.backend(server.chroot())
        if let backend {
            try await run(backend)
            let bound = backend.store.core
            shell = try await backend.store.eventLoop.submit { Weakly(bound.value) }.get().value
        }
        try await eventually("its sink is freed") { sink == nil }
        #expect(backend != nil)
        backend = nil
        try await eventually("all of it is freed") { shell == nil }
    }

    /// Carries a reference out of the event loop, only to see whether it is still there.
    private struct Weakly: @unchecked Sendable {
        weak var value: ZooKeeperShell?
        init(_ value: ZooKeeperShell) { self.value = value }
    }
}
