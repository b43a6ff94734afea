import Foundation
import TestKit
import Testing

@testable import dlock

/// Arguments and environment are bytes from main to exec.
@Suite(.timeLimit(.minutes(2)))
struct RawTextTests {
    @Test func `any bytes come out as they went in, and no two give one string`() {
        var generator = SeededGenerator(seed: 1)
        var seen: [String: [UInt8]] = [:]
        let pieces: [[UInt8]] = [
            [0xE9], [0xC3, 0xA9], [0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x8F, 0xBF, 0xA9],
            [0xF4, 0x8F, 0xBE, 0x80],
            [0xE2, 0x82], [0x80], [0x61], [0xF0, 0x9F, 0x98, 0x80], [0xF5, 0x80, 0x80, 0x80],
        ]
        for _ in 0..<20_000 {
            let bytes = (0..<Int.random(in: 0...6, using: &generator)).flatMap { _ in
                pieces.randomElement(using: &generator)!
            }
            let text = RawText.string(bytes)
            #expect(RawText.bytes(text) == bytes)
            if let other = seen.updateValue(bytes, forKey: text) { #expect(other == bytes) }
        }
    }

    @Test func `text stays as it is, and what is none is shown as bytes`() {
        #expect(RawText.string(Array("café 😀".utf8)) == "café 😀")
        #expect(RawText.shown(RawText.string([0x61, 0xE9])) == "a\\xE9")
    }

    @Test func `a command gets the bytes of its arguments and of its environment`() async throws {
        try await Shell.with { shell async throws in
            let output = try await shell.run(
                """
                f=$(printf 'caf\\351.txt'); echo data > "$f"
                "$D" run a -- cp "$f" "copy-$f"; echo $?; cat "copy-$f"
                X=$f "$D" run a -- sh -c 'printf %s "$X"' | od -An -tx1
                env "$(printf 'n\\351=1')" "$D" run a -- env | grep -c "$(printf 'n\\351=1')"
                echo new | "$D" write --token 5 --fence "$f.fence" "$f"; echo $?; cat "$f" "$f.fence"
                """,
                environment: ["LC_ALL": "C"])
            #expect(output.out == "0\ndata\n 63 61 66 e9 2e 74 78 74\n1\n0\nnew\n5 clock\n", "\(output)")
        }
    }

    @Test(arguments: [
        "run \"$x\" -- true", "run --label \"$x\" a -- true", "run --backend \"embedded:///tmp/$x\" a -- true",
        "status \"$x\"",
        "break --yes \"$x\"", "\"$x\"",
    ])
    func `an argument that has to be text and is none is 64`(arguments: String) async throws {
        try await Shell.with { shell async throws in
            let output = try await shell.run("x=$(printf 'caf\\351'); \"$D\" \(arguments)")
            #expect(output.status == 64 && output.out.isEmpty)
            #expect(output.error.contains("is not UTF-8 text") && output.error.contains("caf\\xE9"), "\(output.error)")
        }
    }

    @Test(arguments: ["DLOCK_BACKEND", "XDG_STATE_HOME"])
    func `a variable that has to be text and is none is 64`(variable: String) async throws {
        try await Shell.with { shell async throws in
            let output = try await shell.run("\(variable)=$(printf '/tmp/\\351') \"$D\" run a -- true")
            #expect(output.status == 64 && output.error.contains("\(variable) is not UTF-8 text"), "\(output.error)")
            #expect(!FileManager.default.fileExists(atPath: "/tmp/\u{FFFD}"))
        }
    }

    @Test func `a command has every variable of its caller, twice where it was there twice`() async throws {
        try await Shell.with { shell async throws in
            let script =
                "import os; os.execve(os.environ['D'], ['dlock', 'run', 'a', '--', 'cat', '/proc/self/environ'], os.environ)"
            let output = try await shell.run(
                "python3 -c \"\(script)\" | tr '\\0' '\\n' | grep -c ^XDG_STATE_HOME=; echo \"$?\"")
            #expect(output.out == "1\n0\n", "\(output)")
        }
    }
}
