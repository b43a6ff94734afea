import DistributedLocks
import Foundation
import TestKit
import Testing

@testable import dlock

/// A dlock that a command under a lock calls finds the same backend.
// C7
@Suite(.timeLimit(.minutes(2)))
struct NestedTests {
    private static let password = "top secret/#?@%&"
    private static let encoded = "top%20secret%2F%23%3F%40%25%26"

    private static func with(_ body: (Shell, RedisServer) async throws -> Void) async throws {
        let options = RedisServer.Options(arguments: ["--requirepass", Self.password])
        try await RedisServer.withServer(options) { server async throws in
            try await Shell.with { shell async throws in try await body(shell, server) }
        }
    }

    @Test(.enabled(if: RedisServer.isRequired))
    func `a password in the URL serves the command's own dlock, at any depth, and is nowhere to be seen`() async throws
    {
        try await Self.with { shell, server async throws in
            let url = "redis://:\(Self.encoded)@127.0.0.1:\(server.port)"
            let output = try await shell.run(
                """
                "$D" run a -- sh -c '
                    "$D" run b -- sh -c "\\"$D\\" run c -- true; echo \\$?; \\"$D\\" run --no-wait a -- true; echo \\$?"
                    env; tr "\\0" " " </proc/$PPID/cmdline; echo
                '
                """,
                environment: ["DLOCK_BACKEND": url])
            #expect(output.out.hasPrefix("0\n64\n") && output.out.contains("password-file=/proc/"), "\(output)")
            #expect(!output.out.contains("secret"), "\(output.out)")
            #expect(output.status == 0)
        }
    }

    @Test(.enabled(if: RedisServer.isRequired), arguments: ["--backend '", "--backend='"])
    func `a password on the command line is not shown by a list of processes`(option: String) async throws {
        try await Self.with { shell, server async throws in
            let url = "redis://:\(Self.encoded)@127.0.0.1:\(server.port)"
            let script = """
                cat >list <<'END'
                for p in /proc/[0-9]*; do [ "$(readlink $p/exe)" != "$D" ] || { tr '\\0' ' ' <$p/cmdline; echo; }; done
                END
                "$D" run \(option)\(url)' a -- sh list
                """
            let output = try await shell.run(script)
            #expect(output.status == 0 && output.out.contains("redis://:xxx"), "\(output)")
            #expect(!output.out.contains("secret"), "\(output.out)")
        }
    }

    @Test(.enabled(if: RedisServer.isRequired))
    func `a password file serves in another folder, and one that can be read once, too`() async throws {
        try await Self.with { shell, server async throws in
            let url = "redis://127.0.0.1:\(server.port)"
            let output = try await shell.run(
                """
                printf '%s\\n' "$P" > pw
                "$D" run --backend '\(url)?password-file=pw' a -- sh -c 'cd /; exec "$D" run b -- echo by file'
                printf '%s\\n' "$P" | "$D" run --backend '\(url)?password-file=/dev/fd/0' a -- sh -c 'exec "$D" run b -- echo by pipe'
                d=$(printf 'caf\\351'); mkdir "$d"; cp pw "$d"; cd "$d"
                "$D" run --backend '\(url)?password-file=pw' a -- sh -c 'cd /; exec "$D" run b -- echo from a folder that is no text'
                "$D" run --backend '\(url)?password-env=P' a -- sh -c 'exec "$D" run b -- echo by variable'
                """,
                environment: ["P": Self.password])
            #expect(output.out == "by file\nby pipe\nfrom a folder that is no text\nby variable\n", "\(output)")
        }
    }

    @Test(arguments: [
        "embedded:///tmp/a%20b%25%3F%23/l.db", "redis://user@host:1/2?prefix=a%26b%3D%23&max-waiters=5",
        "zookeeper://[::1]:1,h/a%3Fb%2525", "redis+unix:///run/r%23%3F.sock?prefix=%25",
    ])
    func `what is handed on names the same backend`(url: String) throws {
        let original = try LockURL(url)
        #expect(try LockURL(HandedOnURL(original).text) == original)
    }

    @Test func `an empty DLOCK_BACKEND is refused`() async throws {
        try await Shell.with { shell async throws in
            for command in ["run a -- true", "status", "break --yes a", "init", "scripts load"] {
                let output = try await shell.run("DLOCK_BACKEND= \"$D\" \(command)")
                #expect(output.status == 64 && output.error.hasPrefix("dlock: DLOCK_BACKEND is empty"), "\(output)")
            }
            #expect(try await shell.run("DLOCK_BACKEND= \"$D\" run --backend embedded: a -- true").status == 0)
        }
    }
}
