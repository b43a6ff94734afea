import DistributedLocks
import Foundation
import TestKit
import Testing

@testable import EmbeddedLocks

/// Whether this process may make namespaces.
private let areNamespacesPossible: Bool = {
    #if os(Linux)
    TestScope.mayUseRoot && (try? NetworkNamespaces.run(["unshare", "-m", "-T", "--fork", "true"])) != nil
    #else
    false
    #endif
}()

/// E6, E7: containers, in real namespaces: each of them has the file, and sees something else besides.
@Suite(.enabled(if: areNamespacesPossible, "only root makes namespaces"), .timeLimit(.minutes(3)))
struct NamespaceTests {
    /// What stands before a command that is to run in a mount namespace of its own, in which a script was run before.
    private static func mounting(_ script: String) -> [String] {
        ["unshare", "-m", "sh", "-c", script + #" && exec "$@""#, "sh"]
    }

    private static func withOffset(_ seconds: Int) -> [String] {
        ["unshare", "-T", "--boottime", "\(seconds)", "--fork", "--kill-child"]
    }

    private func withAgents(
        _ folder: URL,
        _ body: (_ start: (_ prefix: [String], _ path: String?, _ lease: Duration) throws -> AgentProcess) async throws
            -> Void
    ) async throws {
        var agents: [AgentProcess] = []
        defer { for agent in agents { agent.end() } }
        try await body { prefix, path, lease in
            let agent = try AgentProcess(
                url: "embedded://\(path ?? folder.path + "/locks.db")", name: "a", lease: lease, prefix: prefix)
            agents.append(agent)
            return agent
        }
    }

    /// Waits until an agent was refused, and checks that the other one goes on.
    private func expectRefusal(
        _ agent: AgentProcess,
        _ reason: String,
        beside holder: AgentProcess,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        try await eventually("it ends") { agent.isOver }
        let line = agent.lines.last ?? ""
        #expect(line.hasPrefix("failed invalidConfiguration"), "\(agent.lines)", sourceLocation: sourceLocation)
        #expect(line.contains(reason), "\(line)", sourceLocation: sourceLocation)
        #expect(!agent.said("held"), sourceLocation: sourceLocation)
        #expect(holder.lines.last == "valid", sourceLocation: sourceLocation)
    }

    @Test func `a container with a boot id of its own is refused while anybody lives`() async throws {
        try await withFolder { folder in
            try await self.withAgents(folder) { start in
                let holder = try start([], nil, .seconds(30))
                try await eventually("it holds") { holder.said("held") }
                let id = folder.appending(path: "boot_id")
                try Data("11111111-2222-3333-4444-555555555555\n".utf8).write(to: id)
                let prefix = Self.mounting("mount --bind \(id.path) /proc/sys/kernel/random/boot_id")
                let other = try start(prefix, nil, .seconds(30))
                try await self.expectRefusal(other, "another boot id than pid \(holder.pid)", beside: holder)
                holder.letGo()
                try await eventually("it ends") { holder.isOver }
                // Nobody lives: that is a reboot.
                let later = try start(prefix, nil, .seconds(30))
                try await eventually("it holds") { later.said("held") }
                let back = try start([], nil, .seconds(30))
                try await self.expectRefusal(back, "another boot id than pid", beside: later)
            }
        }
    }

    @Test func `a service that cannot see the boot id is refused`() async throws {
        try await withFolder { folder in
            try await self.withAgents(folder) { start in
                let holder = try start([], nil, .seconds(30))
                try await eventually("it holds") { holder.said("held") }
                let other = try start(Self.mounting("mount -t tmpfs none /proc/sys"), nil, .seconds(30))
                try await self.expectRefusal(other, "boot_id cannot be read", beside: holder)
                let empty = try start(
                    Self.mounting("mount --bind /dev/null /proc/sys/kernel/random/boot_id"), nil, .seconds(30))
                try await self.expectRefusal(empty, "boot_id cannot be read", beside: holder)
            }
        }
    }

    @Test(arguments: [100_000, -20, 3])
    func `clients in time namespaces agree on when a lease ends`(offset: Int) async throws {
        try await withFolder { folder in
            try await self.withAgents(folder) { start in
                let url = folder.path + "/locks.db"
                let holder = try start([], nil, .seconds(20))
                try await eventually("it holds") { holder.said("held") }
                let other = try start(Self.withOffset(offset), nil, .seconds(2))
                try await withClient(url) { client in
                    try await eventually("the other one waits") {
                        try await client.status(of: "a").waiters.count == 1 || other.said("held")
                    }
                    #expect(!other.said("held") && holder.lines.last == "valid")
                    holder.letGo()
                    try await eventually("it is the other one's turn") { other.said("held") }
                    // It renews, and is seen to hold for what its lease has left.
                    let remaining = try await client.status(of: "a").holder?.remainingLease
                    #expect(remaining.map { $0 > .zero && $0 <= .seconds(2) } == true)
                    #expect(try await client.acquireIfAvailable("a") == nil)
                    // Neither is found dead nor holds on for longer than its lease when it is stopped.
                    let inner = try #require(Self.child(of: other.pid))
                    try stopProcess(inner)
                    let stopped = ContinuousClock.now
                    let next = try await client.acquire("a", waitingAtMost: .seconds(15))
                    #expect(ContinuousClock.now - stopped > .milliseconds(1_200))
                    kill(inner, SIGCONT)
                    try await eventually("it knows") { other.isOver }
                    #expect(other.said("lost leaseExpired"), "\(other.lines.suffix(3))")
                    try next.checkValid()
                    try await next.release()
                }
            }
        }
    }

    /// `unshare --fork` stands before the agent.
    private static func child(of pid: pid_t) -> pid_t? {
        let text = try? String(contentsOfFile: "/proc/\(pid)/task/\(pid)/children", encoding: .utf8)
        return text?.split(separator: " ").first.flatMap { pid_t($0) }
    }

    @Test func `a process whose own offset cannot be read is refused`() async throws {
        try await withFolder { folder in
            try await self.withAgents(folder) { start in
                let holder = try start([], nil, .seconds(30))
                try await eventually("it holds") { holder.said("held") }
                // The shell's number is the agent's, which it becomes.
                let hidden = try start(
                    Self.mounting("mount --bind /dev/null /proc/$$/timens_offsets"), nil, .seconds(30))
                try await self.expectRefusal(hidden, "timens_offsets cannot be read", beside: holder)
                let blind = try start(Self.mounting("mount --bind /dev/null /proc/$$/mountinfo"), nil, .seconds(30))
                try await self.expectRefusal(blind, "mountinfo cannot be read", beside: holder)
            }
        }
    }

    @Test func `a file that is mounted by itself is refused`() async throws {
        try await withFolder { folder in
            try await self.withAgents(folder) { start in
                let holder = try start([], nil, .seconds(30))
                try await eventually("it holds") { holder.said("held") }
                let other = folder.appending(path: "with blanks in it")
                try FileManager.default.createDirectory(at: other, withIntermediateDirectories: true)
                let path = other.path + "/locks.db"
                try Data().write(to: URL(filePath: path))
                let bound = try start(
                    Self.mounting("mount --bind '\(folder.path)/locks.db' '\(path)'"),
                    path.replacing(" ", with: "%20"), .seconds(30))
                try await self.expectRefusal(bound, "mount its folder", beside: holder)
                // The folder is what is to be mounted: then it is one lock.
                let within = try start(
                    Self.mounting("mount --bind '\(folder.path)' '\(other.path)'"),
                    path.replacing(" ", with: "%20"), .seconds(30))
                try await withClient(folder.path + "/locks.db") { client in
                    try await eventually("it waits") { try await client.status(of: "a").waiters.count == 1 }
                }
                let before = ContinuousClock.now
                holder.letGo()
                try await eventually("it is told at once") { within.said("held") }
                #expect(ContinuousClock.now - before < .seconds(10))
            }
        }
    }

    @Test func `a file with hard links is refused, whichever name is used`() async throws {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            try await withClient(path) { first in
                let handle = try await first.acquire("a", lease: .seconds(60))
                try FileManager.default.linkItem(atPath: path, toPath: folder.path + "/other.db")
                for name in ["other.db", "locks.db"] {
                    try await withClient(folder.path + "/" + name) { second in
                        let error = await acquireError(second)
                        #expect(error?.code == .invalidConfiguration)
                        #expect(error?.message.contains("hard links") == true)
                    }
                }
                try handle.checkValid()
                try FileManager.default.removeItem(atPath: folder.path + "/other.db")
                try await withClient(path) { second in
                    let other = try await second.acquireIfAvailable("a")
                    #expect(other == nil)
                }
                try await handle.release()
            }
        }
    }

    @Test func `a symbolic link leads to one lock, which is handed over at once`() async throws {
        try await withFolder { folder in
            for name in ["a", "b"] {
                try FileManager.default.createDirectory(
                    atPath: folder.path + "/" + name, withIntermediateDirectories: true)
            }
            let path = folder.path + "/a/locks.db"
            // Also before there is a file.
            try FileManager.default.createSymbolicLink(
                atPath: folder.path + "/b/absolute.db", withDestinationPath: path)
            try FileManager.default.createSymbolicLink(
                atPath: folder.path + "/b/locks.db", withDestinationPath: "../b/absolute.db")
            let linked = folder.path + "/b/locks.db"
            #expect(try EmbeddedLocation(path: linked).path.hasSuffix("/a/locks.db"))
            try await withClient(linked) { first in
                let handle = try await first.acquire("a", lease: .seconds(60))
                try await withClient(path) { second in
                    let waiting = Task { try await second.acquire("a") }
                    try await eventually("one waits") { second.queuedCount == 1 }
                    let before = ContinuousClock.now
                    try await handle.release()
                    try await waiting.value.release()
                    // Long before the end of the lease.
                    #expect(ContinuousClock.now - before < .seconds(20))
                }
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path + "/b").count == 2)
        }
    }
}
