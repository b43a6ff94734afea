import Foundation
import TestKit
import Testing

/// dlock against a real redis-server.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(2)))
struct RedisToolTests {
    private static func with(
        _ options: RedisServer.Options = RedisServer.Options(),
        _ body: (Shell, RedisServer) async throws -> Void
    ) async throws {
        try await RedisServer.withServer(options) { server async throws in
            try await Shell.with { shell async throws in try await body(shell, server) }
        }
    }

    @Test func `run, status and break work on a URL, and tokens rise`() async throws {
        try await Self.with { shell, server async throws in
            let output = try await shell.run(
                """
                export DLOCK_BACKEND=\(server.url)
                $D run a -- sh -c 'echo $DLOCK_FENCING_TOKEN $DLOCK_TOKEN_DOMAIN'
                $D run a -- sh -c 'echo $DLOCK_FENCING_TOKEN; $D status a; $D run --no-wait a -- true; echo $?; \
                    DLOCK_HELD= $D run --no-wait a -- true; echo $?'
                $D status; $D break --yes a; echo $?
                """
            )
            let lines = output.out.split(separator: "\n").map(String.init)
            try #require(lines.count >= 6, "\(output.out) \(output.error)")
            #expect(lines[0].hasSuffix(" clock"))
            let first = try #require(Int64(lines[0].dropLast(6)))
            #expect(try #require(Int64(lines[1])) > first)
            #expect(lines[2].contains("held by pid"))
            #expect(lines[3] == "64")
            #expect(lines[4] == "75")
            #expect(lines.last == "1")
        }
    }

    @Test func `a password is in no output and no environment`() async throws {
        try await Self.with(RedisServer.Options(arguments: ["--requirepass", "top-secret"])) {
            shell, server async throws in
            let good = "redis://:top-secret@127.0.0.1:\(server.port)"
            let output = try await shell.run(
                """
                $D run --backend '\(good)' a -- sh -c 'env | grep DLOCK; $D status --json --backend "$U" a' 
                $D run --backend 'redis://:wrong-top-secret@127.0.0.1:\(server.port)' a -- true; echo $?
                printf 'top-secret\\n' > pw; $D run --backend 'redis://127.0.0.1:\(server.port)?password-file=pw' a -- echo by file
                P=top-secret $D run --backend 'redis://127.0.0.1:\(server.port)?password-env=P' a -- echo by variable
                """,
                environment: ["U": good]
            )
            #expect(!output.error.contains("top-secret"), "\(output.error)")
            // U is the test's own.
            #expect(!output.out.contains("top-secret"), "\(output.out)")
            #expect(output.out.contains("by file\nby variable"))
            #expect(output.out.contains("\n69\n"))
            #expect(output.error.contains("WRONGPASS"))
        }
    }

    @Test func `a command dies with its lock when the server forgets everything`() async throws {
        try await Self.with { shell, server async throws in
            let running = try shell.start(
                "$D run --lease 2s --backend \(server.url) a -- sh -c 'touch held; sleep 60'; echo status $?"
            )
            try await eventually("it holds") {
                FileManager.default.fileExists(atPath: shell.folder.appending(path: "held").path)
            }
            try server.command("FLUSHALL")
            let output = await running.end()
            #expect(output.out.contains("status 79"), "\(output.out) \(output.error)")
        }
    }

    @Test func `a long queue is told in part, with how many more there are`() async throws {
        try await Self.with { shell, server async throws in
            try server.command([
                "EVAL",
                """
                for i = 1, 1500 do
                    local owner = string.format('%027d', i) .. ':cccccccccccccccc:' .. i .. ':host:'
                    redis.call('RPUSH', 'dlock.queue:{dlock:a}', owner)
                    redis.call('HSET', 'dlock.waiters:{dlock:a}', owner, '9999999999999178000000000030000')
                end
                """, "0",
            ])
            let output = try await shell.run(
                "$D status --backend \(server.url) a; $D status --json --backend \(server.url) a | grep waiterCount")
            #expect(output.out.contains("1000. waiting: pid 1000"), "\(output.out.suffix(300)) \(output.error)")
            #expect(output.out.contains("\n  and 500 more\n"))
            #expect(output.out.contains("\"waiterCount\" : 1500"))
        }
    }

    @Test(arguments: [
        ("redis://127.0.0.1:1", 69), ("redis://", 64), ("redis://a,b", 64), ("redis://127.0.0.1:PORT/x", 64),
        ("redis://127.0.0.1:PORT/99", 69), ("redis://127.0.0.1:PORT?ca-file=x", 64), ("redis+unix://host/x", 64),
        ("redis+unix:///nowhere/redis.sock", 69), ("redis://127.0.0.1:PORT?nonsense=1", 64),
        ("redis://127.0.0.1:PORT?password-file=/nowhere", 64), ("rediss://127.0.0.1:PORT", 69),
        ("redis://127.0.0.1:PORT?prefix=dlock.queue:", 64), ("redis://name:word@127.0.0.1:PORT", 69),
    ])
    func `a URL that cannot be used is one line and its exit code`(url: String, status: Int) async throws {
        try await Self.with { shell, server async throws in
            let url = url.replacing("PORT", with: "\(server.port)")
            let output = try await shell.run("$D run --backend '\(url)' a -- true")
            #expect(output.status == Int32(status), "\(output.error)")
            #expect(output.out.isEmpty)
            #expect(output.error.split(separator: "\n").count == 1, "\(output.error)")
        }
    }

    @Test func `a replica, a cluster and a key of another type are refused with a clear word`() async throws {
        try await Self.with(
            RedisServer.Options(arguments: ["--cluster-enabled", "yes", "--cluster-port", "\(try FreePort.next())"])
        ) {
            shell, server async throws in
            let output = try await shell.run("$D run --backend \(server.url) a -- true")
            #expect(output.status == 69)
            #expect(output.error.contains("Cluster"))
        }
        try await Self.with { shell, server async throws in
            try server.command("RPUSH", "dlock:b", "x")
            let wrong = try await shell.run("$D run --backend \(server.url) b -- true")
            #expect(wrong.status == 69)
            #expect(wrong.error.contains("holds something that is no lock"))
            try server.command("REPLICAOF", "127.0.0.1", "1")
            let output = try await shell.run("$D run --backend \(server.url) a -- true")
            #expect(output.status == 69)
            #expect(output.error.contains("replica"))
        }
    }

    @Test func `over TLS the certificate and the host's name are checked`() async throws {
        let good = try TestCertificates.good.get()
        let wrong = try TestCertificates.wrongName.get()
        try await Self.with(RedisServer.Options(certificates: good)) { shell, server async throws in
            let url = "rediss://localhost:\(server.tlsPort)"
            let output = try await shell.run(
                """
                $D run --backend '\(url)?ca-file=\(good.authority.path)' a -- echo one
                $D run --backend 'rediss://127.0.0.1:\(server.tlsPort)?ca-file=\(good.authority.path)' a -- echo two
                $D run --backend '\(url)' a -- echo three; echo $?
                $D run --backend '\(url)?ca-file=\(wrong.authority.path)' a -- echo four; echo $?
                $D run --backend 'redis://localhost:\(server.tlsPort)' a -- echo five; echo $?
                """
            )
            #expect(output.out == "one\ntwo\n69\n69\n69\n", "\(output.error)")
        }
        try await Self.with(RedisServer.Options(certificates: wrong)) { shell, server async throws in
            let url = "rediss://localhost:\(server.tlsPort)?ca-file=\(wrong.authority.path)"
            let output = try await shell.run(
                "$D run --backend '\(url)' a -- echo no; echo $?; $D run --backend '\(url)&server-name=elsewhere.example' a -- echo yes"
            )
            #expect(output.out == "69\nyes\n", "\(output.error)")
        }
    }

    @Test func `scripts can be listed and loaded`() async throws {
        try await Self.with { shell, server async throws in
            let output = try await shell.run("$D scripts load --backend \(server.url); $D scripts list")
            #expect(output.status == 0)
            let hashes = output.out.split(separator: "\n").dropFirst().compactMap { $0.split(separator: " ").first }
            // Those of one master, of one under Sentinel, and of an instance of a Redlock.
            #expect(hashes.count == 17)
            let known = try server.command(["SCRIPT", "EXISTS"] + hashes.map(String.init)).list ?? []
            #expect(known.count { $0 == .integer(1) } == 12)
            #expect(output.out.hasPrefix("12 scripts are loaded\n"))
        }
    }
}
