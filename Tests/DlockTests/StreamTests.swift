import Foundation
import TestKit
import Testing

/// Standard streams that are closed, full, ended, or do not block.
// C5
@Suite(.timeLimit(.minutes(3)))
struct StreamTests {
    private static let printing = [
        "status", "status --json", "status a", "scripts list", "scripts list --json", "--help", "run --help",
        "--version",
        "--generate-completion-script bash",
    ]

    @Test(arguments: Self.printing, [">/dev/full", ">&-"])
    func `output that cannot be written is 74 and one line`(arguments: String, redirection: String) async throws {
        try await Shell.with { shell async throws in
            let output = try await shell.run("\"$D\" \(arguments) \(redirection)")
            #expect(output.status == 74, "\(output)")
            #expect(output.error.hasPrefix("dlock: standard output cannot be written: "), "\(output.error)")
            #expect(output.error.split(separator: "\n").count == 1)
        }
    }

    @Test func `a lock is broken also where that cannot be said`() async throws {
        try await Shell.with { shell async throws in
            let holder = try shell.start("exec \"$D\" run a -- sleep 100")
            try await eventually("it is held") { try await shell.status("a").holder != nil }
            let output = try await shell.run("\"$D\" break --yes a >/dev/full")
            #expect(output.status == 74, "\(output)")
            #expect(await holder.end().status == 79)
        }
    }

    @Test(arguments: Self.printing)
    func `a reader that goes away is no error`(arguments: String) async throws {
        try await Shell.with { shell async throws in
            let output = try await shell.run("{ \"$D\" \(arguments); echo $? >code; } | true; cat code")
            #expect(output.out == "0\n" && output.error.isEmpty, "\(output)")
        }
    }

    @Test func `a pipe that does not block gets all of the output`() async throws {
        try await Shell.with { shell async throws in
            let program = """
                import fcntl, os, subprocess
                r, w = os.pipe()
                fcntl.fcntl(w, fcntl.F_SETFL, os.O_NONBLOCK)
                fcntl.fcntl(w, 1031, 4096)
                child = subprocess.Popen([os.environ["D"], "scripts", "list", "--json"], stdout=w)
                os.close(w)
                # It is full.
                while fcntl.ioctl(r, 0x541B, b"0000") != (4096).to_bytes(4, "little"): pass
                text = b""
                while True:
                    chunk = os.read(r, 1000)
                    if not chunk: break
                    text += chunk
                print(child.wait(), len(text))
                """
            try program.write(toFile: shell.folder.path + "/p.py", atomically: false, encoding: .utf8)
            let output = try await shell.run("python3 p.py; \"$D\" scripts list --json | wc -c")
            let lines = output.out.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
            #expect(lines.count == 2 && lines[0] == ["0", lines[1][0]], "\(output)")
            #expect(Int(lines[1][0])! > 20_000)
        }
    }

    @Test func `write reads all of a pipe that does not block, and nothing of one that is closed`() async throws {
        try await Shell.with { shell async throws in
            let program = """
                import fcntl, os, subprocess
                r, w = os.pipe()
                fcntl.fcntl(r, fcntl.F_SETFL, os.O_NONBLOCK)
                child = subprocess.Popen([os.environ["D"], "write", "--token", "5", "file"], stdin=r)
                os.close(r)
                for part in range(200):
                    os.write(w, b"x" * 1000)
                    # It has read what there was, and found nothing more, at least once.
                    while part == 0 and fcntl.ioctl(w, 0x541B, b"0000") != b"\\0\\0\\0\\0": pass
                os.close(w)
                print(child.wait())
                """
            try program.write(toFile: shell.folder.path + "/p.py", atomically: false, encoding: .utf8)
            let output = try await shell.run(
                "python3 p.py; wc -c < file; \"$D\" write --token 6 file <&-; echo $?; wc -c < file")
            #expect(output.out == "0\n200000\n73\n200000\n", "\(output)")
            #expect(output.error.contains("standard input cannot be read"))
        }
    }

    @Test(arguments: ["2>&-", "2>/dev/full", "2> >(exit 0)"])
    func `a standard error that takes nothing changes neither the command nor its exit code`(redirection: String)
        async throws
    {
        try await Shell.with { shell async throws in
            let command = "exec bash -c '\"$D\" run a -- sh -c \"sleep 0.1; exit 7\" \(redirection); echo $?'"
            #expect(try await shell.run(command).out == "7\n")
            let refused = "exec bash -c '\"$D\" run --lease nonsense a -- true \(redirection); echo $?'"
            #expect(try await shell.run(refused).out == "64\n")
        }
    }
}
