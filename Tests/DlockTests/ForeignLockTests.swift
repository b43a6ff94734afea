import Foundation
import TestKit
import Testing

/// What the command says of keys that other programs have set.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(2)))
struct ForeignLockToolTests {
    @Test func `break says that another program cannot be told, ends with 69, and takes its key away with --now`()
        async throws
    {
        try await RedisServer.withServer { server async throws in
            try await Shell.with { shell async throws in
                try server.command("SET", "dlock:job", "someone")
                let output = try await shell.run("exec $D break --yes --backend \(server.url) job")
                #expect(output.status == 69 && output.out.isEmpty, "\(output.out)")
                #expect(output.error.split(separator: "\n").count == 1)
                #expect(
                    output.error.contains("another program, which cannot be told") && output.error.contains("--now"))
                #expect(try server.command("GET", "dlock:job") == .text("someone"))
                try server.command("PEXPIRE", "dlock:job", "30000")
                let ending = try await shell.run("exec $D break --yes --backend \(server.url) job")
                #expect(ending.status == 69 && ending.error.contains("its lease ends in "), "\(ending.error)")
                let now = try await shell.run("exec $D break --now --yes --backend \(server.url) job")
                #expect(now.status == 0 && now.out.contains("was taken from its holder"), "\(now.error)")
                #expect(try server.command("EXISTS", "dlock:job") == .integer(0))
            }
        }
    }

    @Test func `status shows a key of another type as what it is, for people and as JSON`() async throws {
        try await RedisServer.withServer { server async throws in
            try await Shell.with { shell async throws in
                try server.command("RPUSH", "dlock:list", "x")
                try server.command("SET", "dlock:theirs", "someone")
                try server.command("SADD", "dlock.fence:{dlock:theirs}", "x")
                let text = try await shell.run("exec $D status --backend \(server.url)")
                #expect(text.status == 0)
                #expect(text.out.contains("list: another program's key, of type list (dlock:list)"), "\(text.out)")
                #expect(text.out.contains("theirs: held by another program\n"), "\(text.out)")
                #expect(
                    text.out.contains("\n  another program's key, of type set (dlock.fence:{dlock:theirs})"),
                    "\(text.out)")
                let json = try await shell.run("exec $D status --json --backend \(server.url)")
                let report = try #require(
                    try JSONSerialization.jsonObject(with: Data(json.out.utf8)) as? [String: Any])
                let locks = try #require(report["locks"] as? [[String: Any]])
                let obstacles = locks.compactMap { $0["obstacles"] as? [[String: String]] }.flatMap(\.self)
                #expect(obstacles.compactMap { $0["place"] } == ["dlock:list", "dlock.fence:{dlock:theirs}"])
                #expect(obstacles.compactMap { $0["reason"] }.first == "another program's key, of type list")
            }
        }
    }
}
