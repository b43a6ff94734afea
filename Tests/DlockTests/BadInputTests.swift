import Foundation
import Testing

/// Wrong usage is exit code 64 and one line; a backend that cannot be used is 69.
@Suite(.timeLimit(.minutes(2)))
struct BadInputTests {
    @Test(arguments: [
        "run", "run a", "run a --", "run -- true", "run '' -- true", "run \"$(printf 'a\\tb')\" -- true",
        "run $(printf 'x%.0s' $(seq 513)) -- true", "run --lease 0s a -- true", "run --lease -5s a -- true",
        "run --lease 365d a -- true", "run --lease soon a -- true", "run --lease 5 a -- true",
        "run --wait nonsense a -- true",
        "run --wait 0s a -- true", "run --wait 5s --no-wait a -- true", "run --max-hold 0s a -- true",
        "run --busy-exit-code 256 a -- true", "run --backend nosuch://host a -- true",
        "run --backend embedded://host/x a -- true",
        "run --backend 'embedded:///tmp/x?colour=red' a -- true", "run --backend redis://:99999 a -- true",
        "run --backend relative.db a -- true", "run --unknown a -- true", "status --backend nosuch:", "break",
        "nonsense",
        "break --yes ''",
    ])
    func `nonsense is 64 and one line`(arguments: String) async throws {
        try await Shell.with { shell async throws in
            let output = try await shell.run("\"$D\" \(arguments)")
            #expect(output.status == 64)
            #expect(
                output.error.hasPrefix("dlock: ") && output.error.split(separator: "\n").count == 1, "\(output.error)")
            #expect(output.out.isEmpty)
        }
    }

    @Test func `a backend that cannot be used is 69, and no file is touched`() async throws {
        try await Shell.with { shell async throws in
            let output = try await shell.run(
                """
                echo 'no database, but my notes, which are longer than a header of a hundred bytes, as notes often are, you know' > notes
                cp notes copy
                "$D" run --backend "embedded://$PWD/notes" a -- true; echo $?
                "$D" status --backend "embedded://$PWD/notes"; echo $?
                "$D" break --yes --backend "embedded://$PWD/notes" a; echo $?
                "$D" run --backend "embedded://$PWD/missing/locks.db" a -- true; echo $?
                cmp notes copy && echo same
                """)
            #expect(output.out == "69\n69\n69\n69\nsame\n")
            #expect(output.error.split(separator: "\n").count == 4)
        }
    }

    // C7
    @Test func `no output ever shows a password`() async throws {
        try await Shell.with { shell async throws in
            let output = try await shell.run(
                """
                "$D" run --backend 'nosuch://user:secret@host/' a -- true
                "$D" run --backend 'user:secret@host' a -- true
                "$D" status --json --backend 'embedded://user:secret@/x'
                DLOCK_BACKEND='redis://user:secret@h:0' "$D" status
                """)
            #expect(!(output.out + output.error).contains("secret"))
        }
    }

    @Test func `help and version are no errors`() async throws {
        try await Shell.with { shell async throws in
            for arguments in [
                "--help", "run --help", "write --help", "status --help", "break --help", "bench --help", "--version",
                "",
            ] {
                let output = try await shell.run("\"$D\" \(arguments)")
                #expect(output.status == 0 && !output.out.isEmpty && output.error.isEmpty, "dlock \(arguments)")
            }
            #expect(try await shell.run("\"$D\" --generate-completion-script bash").out.contains("dlock"))
        }
    }

    // The parser wraps at 80 columns, and lines that are longer than that would be broken twice.
    @Test func `help fits 80 columns, and no line is broken twice`() async throws {
        try await Shell.with { shell async throws in
            for command in [
                "", "run", "write", "status", "break", "init", "scripts", "scripts list", "scripts load", "bench",
            ] {
                let help = try await shell.run("\"$D\" \(command) --help").out.split(separator: "\n")
                #expect(help.count > 5 && help.allSatisfy { $0.count <= 80 }, "\(command)")
                let text = help.prefix { !$0.hasPrefix("USAGE:") }
                // A line of one or two words in the middle of a paragraph.
                for (line, next) in zip(text, text.dropFirst()) where line.count < 20 && !line.hasSuffix(".") {
                    #expect(line.hasPrefix(" ") || next.hasPrefix(" ") || line.hasSuffix(":"), "\(command): \(line)")
                }
            }
        }
    }

    @Test func `run is read as one of dlock's commands wherever it says something`() async throws {
        try await Shell.with { shell async throws in
            for help in ["run --help", "help run", "run a --help -- true", "run a -h"] {
                let output = try await shell.run("\"$D\" \(help)")
                #expect(output.status == 0 && output.out.contains("USAGE: dlock run "), "dlock \(help): \(output.out)")
            }
            #expect(try await shell.run("\"$D\" run --version").out == shell.run("\"$D\" --version").out)
            let completions = try await shell.run("\"$D\" --generate-completion-script bash").out
            #expect(try await shell.run("\"$D\" run a --generate-completion-script bash -- true").out == completions)
            // After -- everything is the command's own.
            #expect(try await shell.run("\"$D\" run a -- echo --help --version run").out == "--help --version run\n")
        }
    }

    @Test func `an unlocked name has a status, and so has nothing at all`() async throws {
        try await Shell.with { shell async throws in
            let one = try await shell.run("\"$D\" status nobody")
            #expect(one.status == 0 && one.out.contains("nobody: free"))
            let all = try await shell.run("\"$D\" status")
            #expect(all.status == 0 && all.out == "no lock is held or waited for\n")
        }
    }
}
