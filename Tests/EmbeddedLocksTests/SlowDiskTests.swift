import DistributedLocks
import Foundation
import TestKit
import Testing

@testable import EmbeddedLocks

/// E10: a disk that takes seconds to sync.
@Suite(.enabled(if: NetworkNamespaces.isPossible, "only root makes namespaces"), .timeLimit(.minutes(3)))
struct SlowDiskTests {
    @Test func `nobody's thread waits for a slow disk, and losses are told in time`() async throws {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            // Made before, because to make a file waits for the disk many times.
            try await withClient(path) { _ = try await token($0) }
            let disk = try SlowDisk(folder: folder, delay: .seconds(2))
            let agent = try AgentProcess.beat(url: "embedded://\(path)", lease: .seconds(1), prefix: disk.prefix)
            defer { agent.end() }
            // Enough for the log to become too long, and to be begun anew.
            try await eventually(within: .seconds(120), "it has taken its locks") {
                agent.number(of: "cycles") ?? 0 >= 3_000
            }
            agent.letGo()
            try await eventually(within: .seconds(30), "it ends") { agent.isOver }
            let (stall, late) = (agent.number(of: "stall"), agent.number(of: "late"))
            #expect(stall.map { $0 < 1_000 } == true, "its main actor stood still for \(stall ?? -1) ms")
            #expect(late.map { $0 < 1_000 } == true, "a loss was told \(late ?? -1) ms late")
        }
    }
}
