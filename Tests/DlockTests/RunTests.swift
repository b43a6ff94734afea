import Foundation
import TestKit
import Testing

/// `dlock run`, as a user sees it.
@Suite(.timeLimit(.minutes(3)))
struct RunTests {
    @Test func `the command gets its token, and the next one a higher one`() async throws {
        try await Shell.with { shell async throws in
            let script =
                "exec \"$D\" run hello -- sh -c 'echo \"$DLOCK_NAME $DLOCK_FENCING_TOKEN $DLOCK_TOKEN_DOMAIN $DLOCK_BACKEND\"'"
            let first = try await shell.run(script)
            let second = try await shell.run(script)
            #expect(first.status == 0 && second.status == 0 && first.error.isEmpty)
            let words = [first, second].map { $0.out.split(whereSeparator: \.isWhitespace).map(String.init) }
            #expect(
                words[0].count == 4 && words[0][0] == "hello" && words[0][2] == "clock" && words[0][3] == "embedded:")
            let tokens = words.compactMap { Int($0[1]) }
            #expect(tokens.count == 2 && tokens[0] < tokens[1])
        }
    }

    @Test(arguments: [
        ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137), ("true", 0),
    ])
    func `the exit code is the command's`(command: String, status: Int32) async throws {
        try await Shell.with { shell async throws in
            #expect(try await shell.run("\"$D\" run a -- sh -c '\(command)'").status == status)
            #expect(try await shell.run("\"$D\" run --no-wait a -- true").status == 0)
        }
    }

    @Test func `a command that is missing or cannot be run releases the lock`() async throws {
        try await Shell.with { shell async throws in
            let missing = try await shell.run("\"$D\" run a -- ./no-such-command")
            #expect(missing.status == 127 && missing.error.contains("not found"))
            let refused = try await shell.run("echo true > x; \"$D\" run a -- ./x")
            #expect(refused.status == 126 && refused.error.contains("cannot be run"))
            #expect(try await shell.run("\"$D\" run --no-wait a -- true").status == 0)
        }
    }

    @Test func `standard input, output and error are the command's own`() async throws {
        try await Shell.with { shell async throws in
            let piped = try await shell.run("printf 'a\\nb\\n' | \"$D\" run a -- cat | tr a-z A-Z")
            #expect(piped.out == "A\nB\n" && piped.error.isEmpty)
            let closed = try await shell.run("\"$D\" run a -- cat <&-")
            #expect(closed.out.isEmpty)
            let error = try await shell.run("\"$D\" run a -- sh -c 'echo oops >&2'")
            #expect(error.error == "oops\n" && error.out.isEmpty)
        }
    }

    // E1
    @Test func `two hundred processes count to two hundred`() async throws {
        try await Shell.with { shell async throws in
            let output = try await shell.run(
                """
                echo 0 > c
                for i in $(seq 200); do "$D" run counter -- sh -c 'n=$(cat c); echo $((n+1)) > c' & done
                wait
                """)
            #expect(output.error.isEmpty)
            #expect(shell.contents("c") == "200\n")
            #expect(try await shell.status("counter").holder == nil)
        }
    }

    @Test func `a held lock is 75 at once, or after the time given, or what the user wants`() async throws {
        try await Shell.with { shell async throws in
            let holder = try shell.start("exec \"$D\" run a -- sh -c 'echo > held; read line < hold'; ")
            mkfifo(shell.folder.appending(path: "hold").path, 0o600)
            try await eventually("it is held") { try await shell.status("a").holder != nil }
            #expect(try await shell.run("\"$D\" run --no-wait a -- true").status == 75)
            #expect(try await shell.run("\"$D\" run --wait 2s a -- true").status == 75)
            #expect(try await shell.run("\"$D\" run --no-wait --busy-exit-code 3 a -- true").status == 3)
            #expect(try await shell.run("\"$D\" run --no-wait b -- true").status == 0)
            kill(holder.pid, SIGTERM)
            #expect(await holder.end().status == 143)
        }
    }

    @Test func `when dlock is killed its command dies before the next one starts`() async throws {
        try await Shell.with { shell async throws in
            // The command ignores SIGTERM and has a child that does, too.
            let command =
                "trap \"\" TERM; (while :; do date +%s%N > .now; mv .now alive; sleep 0.01; done) & while :; do sleep 0.1; done"
            let holder = try shell.start("exec \"$D\" run --lease 6s a -- sh -c '\(command)'")
            try await eventually("it is held") { shell.contents("alive") != nil }
            let next = try shell.start(
                "exec \"$D\" run a -- sh -c 'date +%s%N > started; cat alive > last; sleep 0.2; cat alive > later'")
            try await eventually("one waits") { try await shell.status("a").waiters.count == 1 }
            kill(holder.pid, SIGKILL)
            #expect(await next.end().status == 0)
            let last = shell.contents("last")
            #expect(last == shell.contents("later"), "the first command went on")
            let instants = [last, shell.contents("started")].compactMap { $0.flatMap { Int($0.dropLast()) } }
            #expect(instants.count == 2 && instants[0] < instants[1])
            _ = await holder.end()
        }
    }

    @Test func `when dlock is killed and its command dies readily the next one starts at once`() async throws {
        try await Shell.with { shell async throws in
            let holder = try shell.start("exec \"$D\" run a -- sleep 1000")
            try await eventually("it is held") { try await shell.status("a").holder != nil }
            let next = try shell.start("exec \"$D\" run a -- true")
            try await eventually("one waits") { try await shell.status("a").waiters.count == 1 }
            let killed = ContinuousClock.now
            kill(holder.pid, SIGKILL)
            #expect(await next.end().status == 0)
            #expect(ContinuousClock.now - killed < .seconds(20))
        }
    }

    @Test func `when dlock is stopped past its lease its command is dead first, and it says 79 afterwards`()
        async throws
    {
        try await Shell.with { shell async throws in
            let command = "trap \"\" TERM; while :; do date +%s%N > .now; mv .now alive; sleep 0.01; done"
            let holder = try shell.start("exec \"$D\" run --lease 6s a -- sh -c '\(command)'")
            try await eventually("it is held") { shell.contents("alive") != nil }
            let first = try await shell.status("a").holder?.token
            let next = try shell.start(
                "exec \"$D\" run a -- sh -c 'echo $DLOCK_FENCING_TOKEN > token; cat alive > last; sleep 0.2; cat alive > later'"
            )
            try await eventually("one waits") { try await shell.status("a").waiters.count == 1 }
            try stopProcess(holder.pid)
            #expect(await next.end().status == 0)
            #expect(shell.contents("last") == shell.contents("later"), "the first command went on")
            let second = shell.contents("token").map { String($0.dropLast()) }
            let tokens = [first, second].compactMap { $0.flatMap { Int($0) } }
            #expect(tokens.count == 2 && tokens[0] < tokens[1])
            kill(holder.pid, SIGCONT)
            let end = await holder.end()
            #expect(end.status == 79)
            #expect(end.error.contains("lost the lock 'a'"))
        }
    }

    @Test func `a broken lock ends its command, and --max-hold does`() async throws {
        try await Shell.with { shell async throws in
            let holder = try shell.start("exec \"$D\" run --label me a -- sleep 1000")
            try await eventually("it is held") { try await shell.status("a").holder?.owner?.label == "me" }
            #expect(try await shell.run("\"$D\" break a").status == 64)
            #expect(try await shell.run("\"$D\" break a --yes").status == 0)
            #expect(await holder.end().status == 79)
            let again = try await shell.run("\"$D\" break a --yes")
            #expect(again.status == 1, "\(again.out)\(again.error)")
            let bounded = try await shell.run("\"$D\" run --max-hold 300ms a -- sleep 1000")
            #expect(bounded.status == 79)
        }
    }

    @Test func `signals reach the command, and end a dlock that waits`() async throws {
        try await Shell.with { shell async throws in
            let holder = try shell.start(
                "exec \"$D\" run a -- sh -c 'trap \"echo got it; exit 5\" HUP; echo > ready; while :; do sleep 0.01; done'"
            )
            try await eventually("the trap is set") { shell.contents("ready") != nil }
            let waiting = try shell.start("exec \"$D\" run a -- true")
            try await eventually("one waits") { try await shell.status("a").waiters.count == 1 }
            kill(waiting.pid, SIGTERM)
            #expect(await waiting.end().status == 143)
            try await eventually("nobody waits") { try await shell.status("a").waiters.isEmpty }
            kill(holder.pid, SIGHUP)
            let end = await holder.end()
            #expect(end.status == 5 && end.out == "got it\n")
        }
    }

    @Test func `a command that runs under a lock does not wait for it`() async throws {
        try await Shell.with { shell async throws in
            let nested = try await shell.run("\"$D\" run a -- \"$D\" run b -- \"$D\" run a -- true")
            #expect(nested.status == 64 && nested.error.contains("'a' already"))
            #expect(try await shell.run("\"$D\" run a -- \"$D\" run b -- true").status == 0)
            // The variable of a lock that is no longer held accuses nobody.
            let stale = try await shell.run(
                "h=$(\"$D\" run a -- sh -c 'echo \"$DLOCK_HELD\"'); DLOCK_HELD=$h \"$D\" run a -- true")
            #expect(stale.status == 0)
        }
    }
}
