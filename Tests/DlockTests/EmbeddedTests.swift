import Foundation
import Testing

/// `dlock run` on a file of locks that does not do as it should.
@Suite(.timeLimit(.minutes(3)))
struct EmbeddedTests {
    @Test
    func `a release that was not confirmed is told, and keeps nobody from the lock when the file can be written again`()
        async throws
    {
        try await Shell.with { shell async throws in
            // Holds the file for writing until it is told to let go.
            let blocker = """
                import os, sqlite3, time
                file = sqlite3.connect("dlock/locks.db", isolation_level=None, timeout=60)
                file.execute("BEGIN IMMEDIATE")
                open("blocked", "w").close()
                while not os.path.exists("let-go"): time.sleep(0.01)
                """
            try Data(blocker.utf8).write(to: shell.folder.appending(path: "blocker.py"))
            let output = try await shell.run(
                """
                "$D" run y -- sh -c 'setsid python3 blocker.py & while [ ! -e blocked ]; do sleep 0.01; done'
                code=$?; touch let-go; exit $code
                """)
            #expect(output.status == 0)
            #expect(output.error.contains("has not confirmed that 'y' was released"), "\(output.error)")
            let next = try await shell.run("exec \"$D\" run --no-wait y -- true")
            #expect(next.status == 0, "\(next.error)")
            #expect(next.error.isEmpty)
        }
    }
}
