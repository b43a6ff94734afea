import Foundation
import TestKit
import Testing

/// What a command finds open: what the caller of dlock had opened, and nothing of dlock's own.
@Suite(.timeLimit(.minutes(3)))
struct DescriptorTests {
    /// Lists what is open in the shell that it is, 7 among it; whoever runs the tests may have left more open.
    private static let list = "sh -c 'ls /proc/$$/fd >open; cat open' 7</dev/zero"

    private static func check(_ url: String) async throws {
        try await Shell.with { shell async throws in
            let bare = try await shell.run(Self.list)
            let held = try await shell.run("\"$D\" run a -- \(Self.list)", environment: ["DLOCK_BACKEND": url])
            #expect(held.status == 0, "\(held.error)")
            #expect(bare.out.contains("7\n") && held.out == bare.out, "\(bare.out) \(held.out)")
        }
    }

    @Test func `embedded: nothing of dlock's is open`() async throws {
        try await Shell.with { shell async throws in
            try await Self.check("embedded://\(shell.folder.path)/locks.db")
        }
    }

    @Test(.enabled(if: RedisServer.isRequired)) func `redis: nothing of dlock's is open`() async throws {
        try await RedisServer.withServer { try await Self.check($0.url) }
    }

    @Test(.enabled(if: RedisServer.isRequired)) func `redlock: nothing of dlock's is open`() async throws {
        try await RedlockServers.withServers(3) { servers async throws in
            try await Shell.with { shell async throws in
                let initialized = try await shell.run("\"$D\" init", environment: ["DLOCK_BACKEND": servers.url])
                try #require(initialized.status == 0, "\(initialized.error)")
            }
            try await Self.check(servers.url)
        }
    }

    @Test(.enabled(if: RedisServer.isRequired)) func `sentinel: nothing of dlock's is open`() async throws {
        try await Self.check(try await SentinelSetup.shared().url)
    }

    @Test(.enabled(if: ZooKeeperServer.isRequired)) func `zookeeper: nothing of dlock's is open`() async throws {
        try await ZooKeeperServer.withServer { try await Self.check($0.url) }
    }

    @Test(arguments: ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
    func `streams that the caller has closed are closed for the command`(closed: String) async throws {
        try await Shell.with { shell async throws in
            let list = "sh -c 'ls /proc/$$/fd >open; true' \(closed); cat open"
            let bare = try await shell.run(list)
            #expect(!bare.out.isEmpty)
            #expect(try await shell.run("\"$D\" run a -- \(list)").out == bare.out)
        }
    }

    @Test func `too few descriptors are one line, and the command has the limit that dlock was given`() async throws {
        try await Shell.with { shell async throws in
            for command in ["run a -- true", "status", "break --yes a", "write x", "bench", "scripts list"] {
                let output = try await shell.run("ulimit -n 12; \"$D\" \(command) </dev/null")
                #expect(output.status == 69, "\(command): \(output)")
                #expect(
                    output.error.hasPrefix("dlock: too few file descriptors")
                        && output.error.split(separator: "\n").count == 1)
            }
            let raised = try await shell.run("ulimit -S -n 12; \"$D\" run a -- sh -c 'ulimit -S -n'")
            #expect(raised.out == "12\n", "\(raised)")
        }
    }
}
