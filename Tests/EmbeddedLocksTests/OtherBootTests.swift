import DistributedLocks
import Foundation
import GRDB
import LockKernel
import TestKit
import Testing

@testable import EmbeddedLocks

/// E6: a file whose boot is not the one that a client sees. After a reboot it is void; as long as anybody lives it is not.
@Suite(.timeLimit(.minutes(2)))
struct OtherBootTests {
    @Test func `who sees another boot than a living holder is refused and told which one`() async throws {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            let (mine, theirs) = (FakeEnvironment(), FakeEnvironment())
            theirs.reboot()
            try await withClient(path, environment: mine.environment) { first in
                let handle = try await first.acquire("a", lease: .seconds(60))
                try await withClient(path, environment: theirs.environment) { second in
                    let error = await acquireError(second)
                    #expect(error?.code == .invalidConfiguration)
                    #expect(error?.message.contains("which holds 'a'") == true)
                    #expect(error?.message.contains("pid \(getpid())") == true)
                    #expect(await acquireError(second, "b")?.code == .invalidConfiguration)
                }
                try handle.checkValid()
                try await handle.release()
                _ = try await token(first)
            }
        }
    }

    @Test func `who has the file open since before does nothing in it when it became one of another boot`() async throws
    {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            let (mine, theirs) = (FakeEnvironment(), FakeEnvironment())
            theirs.reboot()
            try await withClient(path, environment: mine.environment) { first in
                _ = try await token(first)
                try await withClient(path, environment: theirs.environment) { second in
                    // Nobody holds or waits: the file becomes one of the other boot.
                    let handle = try await second.acquire("a", lease: .seconds(60))
                    let error = await acquireError(first)
                    #expect(error?.code == .invalidConfiguration)
                    #expect(error?.message.contains("which holds 'a'") == true)
                    try await handle.release()
                    // And back.
                    let next = try await token(first)
                    #expect(next > handle.token)
                    #expect(try await token(second) > next)
                }
            }
        }
    }

    @Test func `a boot that cannot be told is refused, and never taken for a name`() async throws {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            let blind = EmbeddedEnvironment(.system, files: FilesOfBoot { nil })
            let reason = "/proc/sys/kernel/random/boot_id cannot be read"
            try await withClient(path) { first in
                let handle = try await first.acquire("a", lease: .seconds(60))
                try await withClient(path, environment: blind) { second in
                    // Not because of the other one, whom it could not compare with.
                    #expect(await acquireError(second)?.message.hasPrefix(reason) == true)
                    #expect(await acquireError(second, "b")?.message.hasPrefix(reason) == true)
                }
                try handle.checkValid()
                try await handle.release()
            }
            // Nor does it take a file that is of no boot yet.
            try await withClient(folder.path + "/other.db", environment: blind) { client in
                #expect(await acquireError(client)?.message.hasPrefix(reason) == true)
            }
        }
    }

    @Test func `a holder of another boot whose socket is missing is void when it was not renewed for its lease`()
        async throws
    {
        try await withFolder { folder in
            let (before, after) = (folder.path + "/locks.db", folder.path + "/after.db")
            let fake = FakeEnvironment()
            let lease: Duration = .seconds(2)
            try await withClient(before, environment: fake.environment) { first in
                let handle = try await first.acquire("a", lease: lease)
                try copyDatabase(before, to: after)
                fake.reboot()
                let start = ContinuousClock.now
                // One after the other, each of which lives for less than the lease.
                var granted: FencingToken?
                var refusals = 0
                while granted == nil {
                    try await withClient(after, environment: fake.environment) { second in
                        do {
                            granted = try await second.withLock("a", waitingAtMost: .milliseconds(100)) { $0.token }
                        } catch let error as LockError {
                            #expect(error.code == .unreachable)
                            if error.message.contains("of another boot") { refusals += 1 }
                        }
                    }
                }
                #expect(ContinuousClock.now - start >= lease)
                #expect(refusals > 0)
                #expect(try #require(granted) > handle.token)
                try await handle.release()
            }
        }
    }

    @Test func `a holder of another boot whose socket is missing is not void while it is renewed`() async throws {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            let (mine, theirs) = (FakeEnvironment(), FakeEnvironment())
            theirs.reboot()
            try await withClient(path, environment: mine.environment) { first in
                let handle = try await first.acquire("a", lease: .seconds(1))
                // As if the folder of the sockets was not shared.
                for name in try FileManager.default.contentsOfDirectory(atPath: path + "-live") {
                    try FileManager.default.removeItem(atPath: path + "-live/" + name)
                }
                let start = ContinuousClock.now
                var codes: Set<LockError.Code> = []
                while ContinuousClock.now - start < .seconds(4) {
                    try await withClient(path, environment: theirs.environment) { second in
                        do {
                            try await second.withLock("a", waitingAtMost: .milliseconds(100)) { _ in }
                            Issue.record("granted beside a living holder")
                        } catch let error as LockError {
                            codes.insert(error.code)
                        }
                    }
                }
                #expect(
                    codes.contains(.invalidConfiguration) && codes.isSubset(of: [.invalidConfiguration, .unreachable]))
                try handle.checkValid()
                try await handle.release()
            }
        }
    }

    @Test func `waiters are told when the file became one of another boot`() async throws {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            let (mine, theirs) = (FakeEnvironment(), FakeEnvironment())
            theirs.reboot()
            try await withClient(path, environment: mine.environment) { first in
                let handle = try await first.acquire("a", lease: .seconds(60))
                let waiting = Task { try await first.withLock("a") { _ in } }
                try await eventually("one waits") { first.queuedCount == 1 }
                // By hand, because no client would do so.
                try await DatabaseQueue(path: path).write { db in
                    try db.execute(sql: "DELETE FROM waiters; UPDATE locks SET owner = NULL, participant = NULL")
                    try db.execute(sql: "UPDATE meta SET value = 'boot-1+' WHERE key = 'boot_id'")
                }
                try await withClient(path, environment: theirs.environment) { second in
                    let other = try await second.acquire("a", lease: .seconds(60))
                    // Its look at the file is refused, too.
                    try await handle.release()
                    let poke = Task { try await first.withLock("a") { _ in } }
                    await #expect(throws: LockError.self) { try await poke.value }
                    try other.checkValid()
                    waiting.cancel()
                    _ = await waiting.result
                    try await other.release()
                }
            }
        }
    }
}

/// Files copied while they are in use.
func copyDatabase(_ from: String, to: String) throws {
    for suffix in ["", "-wal"] { try FileManager.default.copyItem(atPath: from + suffix, toPath: to + suffix) }
}

/// Sockets that nobody listens to any more, as they stand in a folder after a reboot.
func leaveDeadSockets(of path: String, at other: String) throws {
    try FileManager.default.createDirectory(atPath: other + "-live", withIntermediateDirectories: true)
    for name in try FileManager.default.contentsOfDirectory(atPath: path + "-live") {
        let poller = try SystemPoller(.system)
        let number = try #require(UInt64(name.prefix { $0 != "." }, radix: 16))
        guard !name.hasSuffix(".wake") else { continue }
        let folder = try SocketFolder(path: other + "-live", on: .system)
        let socket = try LivenessSocket(
            ParticipantID(rawValue: Int64(bitPattern: number)), in: folder, poller: poller,
            timers: SystemThreads().makeQueue("test"))
        socket.shutDown(leavingName: true)
    }
}

/// The verdict by itself.
@Suite struct EarlierBootTests {
    private let now = BootTime(nanoseconds: 1_000_000_000_000)

    private func claim(_ sight: EarlierBoot.Sight, lease: Duration? = .seconds(30), leaseEnd: Int64 = 7)
        -> EarlierBoot.Claim
    {
        EarlierBoot.Claim(
            name: "a", owner: OwnerMetadata(host: "h", pid: 1), sight: sight,
            hold: lease.map { EarlierBoot.Hold(lease: $0, token: 5, leaseEnd: BootTime(nanoseconds: leaseEnd)) })
    }

    private func verdict(_ claims: [EarlierBoot.Claim], _ watch: EarlierBoot.Watch? = nil, at now: BootTime? = nil)
        -> EarlierBoot.Verdict
    {
        EarlierBoot.verdict(on: claims, watch: watch, bootID: "new", now: now ?? self.now)
    }

    @Test func `where all are dead, or nobody is there, all is void`() {
        for claims in [[], [self.claim(.dead)], [self.claim(.dead), self.claim(.dead, lease: nil)]] {
            guard case .void = self.verdict(claims) else {
                Issue.record("not void: \(claims)")
                continue
            }
        }
    }

    @Test func `one that lives, holder or waiter, is enough to be refused`() {
        for living in [self.claim(.alive), self.claim(.alive, lease: nil)] {
            guard case .refuse(_, restart: nil) = self.verdict([self.claim(.dead), self.claim(.unknown), living]) else {
                Issue.record("not refused: \(living)")
                continue
            }
        }
    }

    @Test func `a waiter of whom nothing is known is not waited for`() {
        guard case .void = self.verdict([self.claim(.unknown, lease: nil)]) else {
            Issue.record("waits for a waiter")
            return
        }
    }

    @Test func `a holder of whom nothing is known is waited for, for one lease from the first look on`() throws {
        let claims = [self.claim(.unknown), self.claim(.unknown, lease: .seconds(50)), self.claim(.dead)]
        guard case .wait(_, let watch, let left) = self.verdict(claims) else {
            Issue.record("does not wait")
            return
        }
        #expect(left == .seconds(50))
        let read = try #require(EarlierBoot.Watch(text: watch.text))
        #expect(read == watch)
        guard case .wait(_, let same, let rest) = self.verdict(claims, read, at: self.now + .seconds(49)) else {
            Issue.record("does not wait on")
            return
        }
        #expect(same == watch && rest == .seconds(1))
        guard case .void = self.verdict(claims, read, at: self.now + .seconds(50)) else {
            Issue.record("waits for longer than a lease")
            return
        }
        // The watch of another boot is none.
        let old = EarlierBoot.Watch(bootID: "old", since: watch.since, state: watch.state)
        guard case .wait(_, _, .seconds(50)) = self.verdict(claims, old, at: self.now + .seconds(50)) else {
            Issue.record("believes another boot's watch")
            return
        }
    }

    @Test func `a holder that was renewed while it was watched is refused, and watched anew`() {
        let watch = EarlierBoot.Watch(bootID: "new", since: self.now, state: 12)
        guard
            case .refuse(_, let restart?) = self.verdict(
                [self.claim(.unknown, leaseEnd: 8)], watch, at: self.now + .seconds(60))
        else {
            Issue.record("not refused")
            return
        }
        #expect(restart.since == self.now + .seconds(60) && restart.state == 13)
    }

    @Test func `no lease is believed to last for longer than a day`() {
        guard case .wait(_, _, let left) = self.verdict([self.claim(.unknown, lease: .nanoseconds(Int64.max))]) else {
            Issue.record("does not wait")
            return
        }
        #expect(left == .seconds(86_400))
    }

    @Test func `offsets of time namespaces are read as the kernel writes them`() {
        #expect(TimeNamespace.bootOffset(in: "monotonic           0         0\nboottime            0         0\n") == 0)
        #expect(TimeNamespace.bootOffset(in: "monotonic 5 0\nboottime 100000 7\n") == 100_000_000_000_007)
        #expect(TimeNamespace.bootOffset(in: "boottime -10 500000000\n") == -9_500_000_000)
        #expect(TimeNamespace.bootOffset(in: "monotonic 5 0\n") == nil)
        #expect(TimeNamespace.bootOffset(in: "boottime 9223372036854775807 0\n") == nil)
        #expect(TimeNamespace.bootOffset(in: "boottime 1 x\n") == nil)
    }
}
