import DistributedLocks
import Foundation
import LockTesting
import TestKit
import Testing

@testable import dlock

/// What is said: one line that tells what is wrong and what would be right, and nothing that controls a terminal.
@Suite(.timeLimit(.minutes(2)))
struct MessageTests {
    private static let hostile = "x\u{1B}]0;title\u{7}\u{1B}[2J\u{9B}1m\u{202E}\u{2066}\u{2028}\nforged: free\r"

    @Test func `no scalar that may control a terminal is left, and text stays as it is`() {
        let wrong = (UInt32(0)...0x10FFFF).compactMap(Unicode.Scalar.init).filter { scalar in
            let text = "a" + String(scalar) + "b"
            let shown = text.harmless
            let isHarmless = !shown.unicodeScalars.contains { $0.mayControl }
            return !isHarmless || (shown != text) != scalar.mayControl
        }
        #expect(wrong.isEmpty)
        #expect("Grüße 👨‍👩‍👧 日本 नमस्ते".harmless == "Grüße 👨‍👩‍👧 日本 नमस्ते")
        #expect("\u{202E}\u{200F}\u{061C}\u{85}\u{7F}".harmless == "\\u{202E}\\u{200F}\\u{61C}\\u{85}\\u{7F}")
    }

    private static func checkHolderIsHarmless(_ url: String) async throws {
        try await Shell.with { shell async throws in
            let holder = try shell.start(
                "exec \"$D\" run --label \"$L\" \"$N\" -- sleep 100",
                environment: ["DLOCK_BACKEND": url, "L": Self.hostile, "N": "a\u{202E}b"])
            let environment = ["DLOCK_BACKEND": url, "N": "a\u{202E}b"]
            try await eventually("it is held") {
                try await shell.run("\"$D\" status | grep -q held", environment: environment).status == 0
            }
            for (command, lines) in [
                ("status", 1), ("status \"$N\"", 1), ("run --no-wait \"$N\" -- true", 1),
                ("run --wait 100ms \"$N\" -- true", 1),
                ("status --json", nil), ("break --yes \"$N\"", 1),
            ] {
                let output = try await shell.run("\"$D\" \(command) 2>&1", environment: environment)
                #expect(
                    !output.out.unicodeScalars.contains { $0.mayControl && $0 != "\n" },
                    "\(command): \(output.out.debugDescription)")
                if let lines { #expect(output.out.split(separator: "\n").count == lines, "\(command): \(output.out)") }
            }
            _ = await holder.end()
        }
    }

    @Test func `embedded: a holder's label and a lock's name control no terminal`() async throws {
        try await Shell.with { try await Self.checkHolderIsHarmless("embedded://\($0.folder.path)/l.db") }
    }

    @Test(.enabled(if: RedisServer.isRequired))
    func `redis: a holder's label and a lock's name control no terminal`() async throws {
        try await RedisServer.withServer { try await Self.checkHolderIsHarmless($0.url) }
    }

    @Test(.enabled(if: ZooKeeperServer.isRequired))
    func `zookeeper: a holder's label and a lock's name control no terminal`() async throws {
        try await ZooKeeperServer.withServer { try await Self.checkHolderIsHarmless($0.url) }
    }

    @Test func `nothing that a status tells controls a terminal, wherever it comes from`() throws {
        let owner = OwnerMetadata(host: Self.hostile, pid: 1, label: Self.hostile)
        for hidesHolder in [true, false] {
            let status = LockStatus(
                name: try LockName("a\u{202E}b"),
                holders: hidesHolder
                    ? []
                    : [
                        LockStatus.Holder(
                            metadata: owner, token: nil, remainingLease: nil, heldFor: nil, isBroken: true)
                    ],
                waiters: [LockStatus.Waiter(metadata: owner, waitingFor: nil)],
                lastToken: nil,
                tokenDomain: .clock,
                nodes: [LockStatus.Node(name: Self.hostile, state: Self.hostile)],
                obstacles: [
                    LockStatus.Obstacle(place: Self.hostile, reason: Self.hostile, hidesHolder: hidesHolder),
                    LockStatus.Obstacle(place: Self.hostile, reason: Self.hostile, hidesHolder: false),
                ]
            )
            let text = StatusReport.text([status])
            #expect(!text.unicodeScalars.contains { $0.mayControl && $0 != "\n" }, "\(text.debugDescription)")
            #expect(text.split(separator: "\n").count == (hidesHolder ? 4 : 5), "\(text)")
        }
    }

    @Test func `what the environment says of an outer lock controls no terminal`() async throws {
        try await Shell.with { shell async throws in
            let script =
                "\"$D\" run a -- sh -c 'DLOCK_HELD=\"$DLOCK_HELD$(printf \"\\\\033[2J\")\" DLOCK_TOKEN_DOMAIN=\"$H\" \"$D\" write f </dev/null' 2>&1"
            let output = try await shell.run(script, environment: ["H": Self.hostile])
            #expect(output.status == 64, "\(output)")
            #expect(
                !output.out.unicodeScalars.contains { $0.mayControl && $0 != "\n" }, "\(output.out.debugDescription)")
        }
    }

    @Test(arguments: [
        ("stat", "there is no command 'stat': did you mean 'status'? (see dlock --help)"),
        ("scripts lst", "there is no command 'lst': did you mean 'list'? (see dlock scripts --help)"),
        (
            "run --wait 5 a -- true",
            "--wait: the duration '5' has no unit: write it as in 5s, 5m or 5h (see dlock run --help)"
        ),
        (
            "run --lease soon a -- true",
            "--lease: 'soon' is no duration: write it as in 500ms, 10s, 5m or 1h30m (see dlock run --help)"
        ),
        ("run --lease 40d a -- true", "not 40 d"),
        ("run -- true", "no lock's name: write it before --, as in: dlock run NAME -- COMMAND (see dlock run --help)"),
        ("write", "(see dlock write --help)"),
        ("run 'redis://u:SECRET@h' x -- true", "(see dlock run --help)"),
        ("scripts load redis://u:SECRET@h", "(see dlock scripts load --help)"),
        ("redis://u:SECRET@h", "there is no command '…@h'"),
    ])
    func `wrong usage says what would be right, and where to read on`(arguments: String, message: String) async throws {
        try await Shell.with { shell async throws in
            let output = try await shell.run("\"$D\" \(arguments)")
            #expect(output.status == 64)
            #expect(output.error.contains(message) && !output.error.contains("SECRET"), "\(output.error)")
        }
    }

    @Test func `durations are what was written`() {
        #expect(DurationArgument.parse("40d") == .seconds(3_456_000))
        #expect(DurationArgument.parse("0.1s") == .milliseconds(100))
        #expect(DurationArgument.parse("1h30m1.5s10ms") == .milliseconds(5_401_510))
        #expect(DurationArgument.parse(".5s") == .milliseconds(500))
        for text in ["", "5", "s", "1..2s", "1.2.3s", "-1s", "1 s", "1e3s", "٣s", "5x", "9999999999s", ".s"] {
            #expect(DurationArgument.parse(text) == nil, "\(text)")
        }
    }

    @Test func `a name may begin with a dash`() async throws {
        try await Shell.with { shell async throws in
            #expect(try await shell.run("\"$D\" run -- -x -- sh -c 'echo $DLOCK_NAME'").out == "-x\n")
            #expect(try await shell.run("\"$D\" status -- -x").out.hasPrefix("-x: free"))
            #expect(try await shell.run("\"$D\" run --no-wait -- -x -- echo -- -y --").out == "-- -y --\n")
        }
    }

    @Test func `who has the lock is said with the lock's name, at once and after waiting`() async throws {
        try await Shell.with { shell async throws in
            let holder = try shell.start("exec \"$D\" run --label worker a -- sleep 100")
            try await eventually("it is held") { try await shell.status("a").holder != nil }
            let busy = try await shell.run("\"$D\" run --no-wait a -- true")
            #expect(
                busy.error.hasPrefix("dlock: 'a' is held by pid ") && busy.error.contains("(worker)"), "\(busy.error)")
            let late = try await shell.run("\"$D\" run --wait 200ms a -- true")
            #expect(
                late.error.hasPrefix("dlock: 'a' was not granted within 200 ms: it is held by pid "), "\(late.error)")
            #expect(late.error.contains("(worker)"))
            kill(holder.pid, SIGTERM)
            _ = await holder.end()
        }
    }

    @Test func `a script whose interpreter is missing is 126, and says so`() async throws {
        try await Shell.with { shell async throws in
            let script = "printf '#!/no/such/interpreter\\n' > s; chmod +x s; "
            for path in ["\"$D\" run a -- ./s", "PATH=$PWD:$PATH \"$D\" run a -- s"] {
                let output = try await shell.run(script + path)
                #expect(output.status == 126 && output.error.contains("interpreter"), "\(output)")
            }
        }
    }

    @Test func `a command that ended by itself when its lock was lost is told so`() async throws {
        try await Shell.with { shell async throws in
            let output = try await shell.run(
                "\"$D\" run --backend \"embedded://$PWD/l.db\" a -- sh -c 'rm l.db l.db-wal l.db-shm; sleep 1.5; exit 3'"
            )
            #expect(output.status == 79, "\(output)")
            #expect(output.error.contains("had ended by itself by then, with exit code 3"), "\(output.error)")
        }
    }

    @Test func `the waiting line tells the place in the queue however narrow the terminal is`() throws {
        var configuration = LockClient.Configuration()
        configuration.metadata = OwnerMetadata(host: "h", pid: 2)
        let client = LockClient(backend: InMemoryLockStore().connect(), configuration: configuration)
        let line = WaitingLine(client: client, name: try LockName("inventory/42"))
        let holder = OwnerMetadata(host: String(repeating: "host", count: 20), pid: 1, label: "a long label, 日本語")
        let status = LockStatus(
            name: try LockName("inventory/42"),
            holders: [
                LockStatus.Holder(
                    metadata: holder, token: nil, remainingLease: nil, heldFor: .seconds(90), isBroken: false)
            ],
            waiters: [LockStatus.Waiter(metadata: OwnerMetadata(host: "h", pid: 2), waitingFor: nil)],
            lastToken: nil,
            tokenDomain: .clock)
        for width in [60, 90, 200] {
            let text = line.line(status, waiting: .seconds(75), width: width)
            #expect(text.contains("number 1 of 1") && text.columns <= width, "\(text)")
            #expect(width < 90 || text.contains("held for 1 min 30 s by"), "\(text)")
        }
    }
}
