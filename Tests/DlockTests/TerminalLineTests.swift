import Foundation
import TestKit
import Testing

/// What a terminal's user sees while a lock is waited for.
@Suite(.timeLimit(.minutes(2)))
struct TerminalLineTests {
    /// Runs a script on a terminal of its own; prints what came out there, as Python shows bytes.
    private static let onTerminal = """
        import os, pty, sys
        pid, fd = pty.fork()
        if pid == 0:
            os.execvp("sh", ["sh", "-c", sys.argv[1]])
        out = b""
        while True:
            try: chunk = os.read(fd, 4096)
            except OSError: break
            if not chunk: break
            out += chunk
            if len(sys.argv) > 2 and sys.argv[2].encode() in out and os.path.exists("hold"): os.remove("hold")
        print(repr(out))
        """

    private static func run(_ shell: Shell, _ script: String, until text: String = "", terminal: String = "xterm")
        async throws
        -> String
    {
        try Self.onTerminal.write(toFile: shell.folder.path + "/t.py", atomically: false, encoding: .utf8)
        let output = try await shell.run(
            "exec python3 t.py \"$S\" \(text)", environment: ["S": script, "TERM": terminal])
        #expect(output.status == 0, "\(output.error)")
        return output.out
    }

    @Test func `a line that the caller has begun stays, if nothing is waited for`() async throws {
        try await Shell.with { shell async throws in
            let out = try await Self.run(shell, "printf 'Deploying... '; \"$D\" run a -- true; echo done")
            #expect(out == "b'Deploying... done\\r\\n'\n")
        }
    }

    @Test func `while it is waited for a line stands behind what the caller has begun, and goes away`() async throws {
        try await Shell.with { shell async throws in
            let holder = try shell.start(
                "exec \"$D\" run a -- sh -c 'touch hold; while [ -e hold ]; do sleep 0.05; done'")
            try await eventually("it is held") { shell.contents("hold") != nil }
            let out = try await Self.run(
                shell, "printf 'Deploying... '; \"$D\" run a -- true; echo done", until: "waiting")
            _ = await holder.end()
            #expect(out.hasPrefix("b\"Deploying... \\x1b7\\x1b[?7ldlock: waiting "), "\(out)")
            #expect(
                out.contains("for 'a', number 1 of 1; held for ") && out.hasSuffix("\\x1b8\\x1b[Kdone\\r\\n\"\n"),
                "\(out)")
            #expect(!out.contains("\\r\\x1b[K"))
        }
    }

    @Test(arguments: ["dumb", ""])
    func `a terminal that cannot take a line away gets none`(terminal: String) async throws {
        try await Shell.with { shell async throws in
            let holder = try shell.start("exec \"$D\" run a -- sleep 2")
            try await eventually("it is held") { try await shell.status("a").holder != nil }
            let out = try await Self.run(shell, "\"$D\" run a -- echo done", terminal: terminal)
            _ = await holder.end()
            #expect(out == "b'done\\r\\n'\n")
        }
    }

    @Test(arguments: ["run job -- ./rep", "write rep", "write --fence rep", "run job -- cat rep"])
    func `bash completes names of files`(line: String) async throws {
        try await Shell.with { shell async throws in
            let script = """
                touch report.csv; "$D" --generate-completion-script bash >c; . ./c
                COMP_WORDS=(dlock \(line)); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_LINE="dlock \(line)"; COMP_POINT=${#COMP_LINE}
                _dlock dlock "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"; echo "${COMPREPLY[@]}"
                """
            try script.write(toFile: shell.folder.path + "/s", atomically: false, encoding: .utf8)
            let output = try await shell.run("bash s")
            #expect(output.out.contains("report.csv"), "\(output)")
        }
    }
}
