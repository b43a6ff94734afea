import Foundation
import TestKit
import Testing

import struct LockSimulator.Scenario

/// Whole runs, each in a process of its own.
@Suite(.timeLimit(.minutes(10))) struct RunTests {
    private func run(_ arguments: String...) async throws -> (code: Int32, output: String) {
        let output = FileManager.default.temporaryDirectory.appending(path: "simulation-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: output) }
        let process = try ChildProcess(
            AgentProcess.folder.appending(path: "lock-simulator").path, arguments, output: output)
        let code = await process.waitForEnd(within: .seconds(300))
        return (code, try String(contentsOfFile: output, encoding: .utf8))
    }

    @Test(arguments: Scenario.Store.allCases)
    func `two processes with one seed do the same, step by step, and nothing goes wrong`(store: Scenario.Store)
        async throws
    {
        let first = try await self.run("--backend", store.rawValue, "--seed", "1", "--seeds", "25", "--each")
        // Another process, and others have run there before: nothing of them may be left.
        let second = try await self.run("--backend", store.rawValue, "--seed", "9", "--seeds", "17", "--each")
        #expect(first.code == 0, "\(first.output.suffix(1_000))")
        func seeds(_ output: String) -> [Substring] { output.split(separator: "\n").filter { $0.hasPrefix("seed ") } }
        #expect(seeds(first.output).count == 25)
        #expect(Array(seeds(first.output).dropFirst(8)) == seeds(second.output))
        // Each seed is another run, with grants and faults.
        let hashes = first.output.split(separator: "\n").compactMap { $0.split(separator: "trace ").last }
        #expect(Set(hashes).count > 25)
        for fault in ["stopped client", "killed client"] + Self.faults(of: store) {
            #expect(first.output.contains(fault), "\(fault)")
        }
    }

    private static let serverFaults = [
        "cut connection", "partition", "refusing server", "restarted server", "stopped server",
    ]

    private static func faults(of store: Scenario.Store) -> [String] {
        switch store {
        case .redis, .redlock: Self.serverFaults
        case .zookeeper: Self.serverFaults + ["cut off server"]
        case .sentinel:
            Self.serverFaults + ["cut off server", "cut off Sentinel", "ordered failover", "stopped Sentinel"]
        #if Embedded
        case .embedded:
            [
                "clock set", "full disk", "killed in a transaction", "power cut", "slow disk",
                "stopped in a transaction",
            ]
        #endif
        }
    }

    @Test func `a run is told line by line, in order`() async throws {
        let (code, output) = try await self.run("--seed", "7", "--trace")
        #expect(code == 0)
        let times = output.split(separator: "\n").compactMap { line in
            line.contains(": ") ? Double(line.prefix { $0 != " " }) : nil
        }
        #expect(times.count > 50)
        #expect(times == times.sorted())
    }

    private static let plantedFolder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Planted")

    /// scripts/planted.sh shows that each is found.
    @Test func `every planted bug can still be planted`() async throws {
        let files = try FileManager.default.contentsOfDirectory(at: Self.plantedFolder, includingPropertiesForKeys: nil)
            .filter { $0.pathExtension == "patch" }
        #expect(files.count >= 19)
        for file in files {
            let text = try String(contentsOf: file, encoding: .utf8)
            for field in ["backend: ", "rule: ", "seeds: "] { #expect(text.contains("\n" + field), "\(file)") }
            let check = try ChildProcess(
                "git", ["-C", Self.plantedFolder.path, "apply", "--check", "--directory", "", file.path])
            #expect(await check.waitForEnd() == 0, "\(file.lastPathComponent)")
        }
    }
}
