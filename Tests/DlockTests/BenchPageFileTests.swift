import Foundation
import TestKit
import Testing

@testable import dlock

/// The page's file: written completely or not at all, and looked at before the measurement.
@Suite(.timeLimit(.minutes(2))) struct BenchPageFileTests {
    private let short = "--workload seq --rounds 1 --seconds 0.01"

    private func names(_ shell: Shell) throws -> [String] {
        // dlock's own state, and what Shell keeps.
        try FileManager.default.contentsOfDirectory(atPath: shell.folder.path)
            .filter { $0 != "dlock" && !$0.hasPrefix(".out-") && !$0.hasPrefix(".error-") }.sorted()
    }

    @Test func `a page that cannot be written is told before the measurement, in one line`() async throws {
        try await Shell.with { shell async throws in
            // A measurement of ten minutes, which must not begin.
            for (file, reason) in [
                ("nowhere/a.html", "No such file or directory"), (".", "Is a directory"),
                ("/proc/a.html", "No such file"),
                ("a.html/b", "Not a directory"),
            ] {
                let output = try await shell.run(
                    "touch a.html; exec \"$D\" bench --workload seq --seconds 600 --html \(file)")
                #expect(output.status == 73, "\(file): \(output.error)")
                #expect(
                    output.error.hasPrefix("dlock: the page '\(file)' cannot be written: \(reason)"), "\(output.error)")
                #expect(output.error.split(separator: "\n").count == 1)
                #expect(output.out == "")
            }
            #expect(try self.names(shell) == ["a.html"])
        }
    }

    @Test func `what cannot be together is refused as wrong usage`() async throws {
        try await Shell.with { shell async throws in
            let both = try await shell.run("exec \"$D\" bench --json --html -")
            #expect(both.status == 64)
            #expect(both.error.contains("give --html a file"))
            let empty = try await shell.run("exec \"$D\" bench --html ''")
            #expect(empty.status == 64)
            #expect(empty.error.contains("--html is the name of a file"))
        }
    }

    @Test func `the page replaces a file in one step, keeps its mode, and leaves nothing else`() async throws {
        try await Shell.with { shell async throws in
            let output = try await shell.run(
                """
                echo old > page.html; chmod 640 page.html; ln -s page.html link.html; exec 9< page.html
                "$D" bench \(self.short) --html link.html; echo code $?; stat -c %a page.html; cat <&9
                """
            )
            #expect(output.out.contains("code 0\n640\nold\n"), "\(output.out) \(output.error)")
            #expect(output.out.hasPrefix("BACKEND"))
            #expect(try self.names(shell) == ["link.html", "page.html"])
            let page = try #require(shell.contents("page.html"))
            #expect(page.hasPrefix("<!doctype html>") && page.hasSuffix("</html>\n"))
        }
    }

    @Test func `a new page has the mode that the umask leaves`() async throws {
        try await Shell.with { shell async throws in
            let output = try await shell.run(
                "umask 027; \"$D\" bench \(self.short) --html page.html >figures; stat -c %a page.html")
            #expect(output.out == "640\n", "\(output.error)")
        }
    }

    @Test func `- is standard output, which has the page alone`() async throws {
        try await Shell.with { shell async throws in
            let output = try await shell.run("exec \"$D\" bench \(self.short) --html -")
            #expect(output.status == 0, "\(output.error)")
            #expect(output.out.hasPrefix("<!doctype html>") && output.out.hasSuffix("</html>\n"))
            #expect(output.error == "")
        }
    }

    @Test func `what is no file is written to, and not replaced`() async throws {
        try await Shell.with { shell async throws in
            let output = try await shell.run(
                "mkfifo pipe; cat pipe > got & \"$D\" bench \(self.short) --html pipe >figures; wait; test -p pipe && head -c 15 got"
            )
            #expect(output.out == "<!doctype html>", "\(output.error)")
            let full = try await shell.run(
                "\"$D\" bench \(self.short) --html /dev/full; echo code $?; test -c /dev/full")
            #expect(full.status == 0)
            #expect(full.out.hasSuffix("code 73\n"))
            #expect(full.error.contains("'/dev/full' cannot be written: No space left on device"))
            // Figures that took minutes are not lost with the page.
            #expect(full.out.hasPrefix("BACKEND"))
        }
    }

    @Test func `JSON and a page can be had together`() async throws {
        try await Shell.with { shell async throws in
            let output = try await shell.run("exec \"$D\" bench \(self.short) --json --html page.html")
            let object = try JSONSerialization.jsonObject(with: Data(output.out.utf8)) as? [String: Any]
            #expect((object?["results"] as? [Any])?.count == 1, "\(output.error)")
            #expect(shell.contents("page.html")?.contains("measure again") == true)
        }
    }

    @Test func `a page that breaks off is not there, and the one before is as it was`() throws {
        let folder = temporaryFolder("page")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appending(path: "page.html").path
        try "old".write(toFile: path, atomically: false, encoding: .utf8)
        let page = try PageFile(path)
        // The folder that takes its place has no room for the file to be renamed to.
        try FileManager.default.removeItem(atPath: path)
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        do {
            try page.write("new")
            Issue.record("a folder is no file")
        } catch let failure as Failure {
            #expect(failure.status == 73)
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["page.html"])
    }

    @Test(arguments: [
        ("--seconds abc", "write a number from 0.01 to 600"), ("--rounds 2.5", "write a number from 1 to 1000"),
        ("--lease 3x", "--lease: '3x' is no duration: write it as in 500ms"),
        ("--processes many", "write a number from 1 to 1000"),
        ("--workers ''", "write a number from 1 to 10000"), ("--workload warm", "there are seq, wide-64"),
        (
            "--backend embedded: --lease 10ms",
            "a lease on embedded lasts from 50 ms to 24 h: choose --lease between them"
        ),
    ])
    func `an option's wrong value is told with what would be right`(options: String, remedy: String) async throws {
        try await Shell.with { shell async throws in
            let output = try await shell.run("exec \"$D\" bench \(options)")
            #expect(output.status == 64)
            #expect(output.error.contains(remedy), "\(output.error)")
            #expect(output.error.split(separator: "\n").count == 1)
        }
    }

    @Test func `no line of the help is longer than a terminal, or broken twice`() async throws {
        try await Shell.with { shell async throws in
            let help = try await shell.run("COLUMNS=80 exec \"$D\" bench --help").out
            let lines = help.split(separator: "\n", omittingEmptySubsequences: false)
            let usage = try #require(lines.firstIndex { $0.hasPrefix("USAGE:") })
            for line in lines[..<usage] { #expect(line.count <= 80, "\(line)") }
            // A word alone between two full lines is what breaking broken lines leaves.
            for (before, (line, after)) in zip(
                lines[..<usage], zip(lines[..<usage].dropFirst(), lines[..<usage].dropFirst(2)))
            where before.count > 60 && after.count > 60 {
                #expect(line.isEmpty || line.count > 30, "\(line)")
            }
        }
    }
}

/// A session's timeout is a lease, too.
@Suite(.enabled(if: ZooKeeperServer.isRequired), .timeLimit(.minutes(2)))
struct BenchSessionLeaseTests {
    @Test func `a lease shorter than the session's timeout is refused with what would be right`() async throws {
        let server = try await ZooKeeperServer.shared()
        try await Shell.with { shell async throws in
            for page in ["", "--html page.html"] {
                let output = try await shell.run(
                    "exec \"$D\" bench --backend '\(server.url)/bench-lease' --lease 1s --workload seq \(page)")
                #expect(output.status == 64)
                #expect(
                    output.error.contains("longer") && output.error.contains("shorter session-timeout"),
                    "\(output.error)")
                #expect(!output.error.contains("86400") && !output.error.contains("seconds"))
            }
        }
    }
}
