import Foundation
import TestKit
import Testing

/// A file of locks that several users share belongs to the folder's group, with the rights that the umask leaves.
@Suite(.enabled(if: TestScope.mayUseRoot, "needs root, to be several users"), .timeLimit(.minutes(2)))
struct SharedFileTests {
    /// Any numbers serve as users and as a group.
    private static let group = 54_321

    /// Makes a folder of the group's, in which users find dlock.
    private static func withSharedFolder(_ mode: String, _ body: (Shell) async throws -> Void) async throws {
        try await Shell.with { shell async throws in
            let script =
                "chmod 755 . && mkdir shared && chgrp \(Self.group) shared && chmod \(mode) shared && cp \"$D\" dlock && chmod 755 dlock"
            try #require(try await shell.run(script).status == 0)
            try await body(shell)
        }
    }

    private static func take(_ shell: Shell, _ user: Int, umask: String) async throws -> Shell.Output {
        try await shell.run(
            """
            umask \(umask)
            exec setpriv --reuid \(user) --regid \(user) --groups \(Self.group) \
                ./dlock run --no-wait --backend "embedded://$PWD/shared/locks.db" a -- true
            """)
    }

    private static let files = ["locks.db", "locks.db-wal", "locks.db-shm"]

    private static func modes(_ shell: Shell) async throws -> [String] {
        try await shell.run("cd shared; stat -c '%a %g' \(Self.files.joined(separator: " "))").out.split(
            separator: "\n"
        ).map(String.init)
    }

    @Test(arguments: ["2775", "775"])
    func `users of a group use one file, whether or not the folder hands its group on`(mode: String) async throws {
        try await Self.withSharedFolder(mode) { shell async throws in
            for user in [61_001, 61_002, 61_001] {
                let output = try await Self.take(shell, user, umask: "002")
                #expect(output.status == 0, "\(user): \(output.error)")
            }
            #expect(try await Self.modes(shell) == ["664 \(Self.group)", "664 \(Self.group)", "664 \(Self.group)"])
            #expect(try await shell.run("stat -c '%a %g' shared/locks.db-live").out.hasSuffix("775 \(Self.group)\n"))
        }
    }

    @Test(arguments: [("002", "664"), ("007", "660"), ("022", "644"), ("077", "600")])
    func `the umask says what others may, and who may not write hears what is needed`(umask: String, mode: String)
        async throws
    {
        try await Self.withSharedFolder("2775") { shell async throws in
            #expect(try await Self.take(shell, 61_001, umask: umask).status == 0)
            #expect(try await Self.modes(shell).allSatisfy { $0.hasPrefix(mode + " ") })
            let second = try await Self.take(shell, 61_002, umask: umask)
            if mode.dropFirst().hasPrefix("6") {
                #expect(second.status == 0, "\(second.error)")
            } else {
                #expect(second.status == 69 && second.error.contains("locks.db"), "\(second)")
            }
        }
    }
}
