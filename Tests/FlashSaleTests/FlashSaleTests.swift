import Foundation
import TestKit
import Testing

/// Small sales with real processes, databases and servers.
@Suite(.serialized, .timeLimit(.minutes(3))) struct FlashSaleTests {
    private struct Outcome: Decodable {
        let mode: String
        let items: Int
        let sold: Int
        let oversold: Int
        let refused: Int
        let stopped: Int
        let killed: Int
        let isDeadlocked: Bool
        let failed: Int
    }

    private static var program: String {
        URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
            .appending(path: "flash-sale").path
    }

    /// Runs a small sale; `during` runs beside it.
    private static func sale(
        _ arguments: [String],
        in folder: URL,
        during: () async throws -> Void = {}
    ) async throws -> [Outcome] {
        let output = folder.appending(path: "output")
        let script = "exec \"$0\" \"$@\" > '\(output.path)'"
        let log = folder.appending(path: "log").path
        let child = try ChildProcess(
            "sh",
            ["-c", script, Self.program, "--json", "--items", "40", "--buyers", "200", "--sellers", "5"] + arguments,
            output: log)
        try await during()
        try await eventually(within: .seconds(120), "the sale is over") { child.hasEnded }
        let said = try String(contentsOfFile: log, encoding: .utf8)
        let status = await child.waitForEnd()
        #expect(status == 0, "\(said)")
        return try JSONDecoder().decode([Outcome].self, from: Data(contentsOf: output))
    }

    @Test func `each broken lock does its harm, and lock, lease and fence sell exactly what there is`() async throws {
        try await withFolder { folder async throws in
            let outcomes = try await Self.sale([], in: folder)
            try #require(outcomes.count == 5)
            let (noLock, blindRelease, noLease, noFence, fenced) = (
                outcomes[0], outcomes[1], outcomes[2], outcomes[3], outcomes[4]
            )
            #expect(noLock.oversold > 0)
            #expect(blindRelease.oversold > 0 && blindRelease.stopped > 0)
            #expect(noLease.isDeadlocked && noLease.killed == 1 && noLease.sold < noLease.items)
            #expect(noFence.oversold > 0 && noFence.stopped > 0)
            Self.expectExact(fenced)
            #expect(outcomes.dropLast().allSatisfy { $0.refused == 0 && $0.failed == 0 })
        }
    }

    @Test(.enabled(if: RedisServer.isRequired && PostgresServer.isRequired))
    func `with PostgreSQL and Redis, which forgets everything in the middle, it sells exactly what there is`()
        async throws
    {
        try await withFolder { folder async throws in
            try await PostgresServer.withServer { postgres async throws in
                try await RedisServer.withServer { redis async throws in
                    // Half of the sale is over: the sale waits until the server was restarted.
                    let (half, restarted) = (folder.appending(path: "half"), folder.appending(path: "restarted"))
                    let disturb = "touch '\(half.path)'; while [ ! -e '\(restarted.path)' ]; do sleep 0.02; done"
                    let outcomes = try await Self.sale(
                        ["--fenced", "--backend", redis.url, "--database", postgres.url, "--disturb", disturb],
                        in: folder
                    ) {
                        try await eventually(within: .seconds(90), "half is sold") {
                            FileManager.default.fileExists(atPath: half.path)
                        }
                        try await redis.restart()
                        _ = FileManager.default.createFile(atPath: restarted.path, contents: nil)
                    }
                    Self.expectExact(try #require(outcomes.first))
                    let stock = try await postgres.psql("SELECT stock FROM items; SELECT count(*) FROM sales;").lines
                    #expect(stock == ["0", "40"])
                }
            }
        }
    }

    private static func expectExact(_ fenced: Outcome) {
        #expect(fenced.sold == 40 && fenced.oversold == 0)
        #expect(fenced.stopped >= 4 && fenced.killed >= 3)
        // Each that was stopped between reading and writing was refused when it went on.
        #expect(fenced.refused >= 3)
        #expect(!fenced.isDeadlocked && fenced.failed == 0)
    }
}
