import DistributedLocks
import Foundation
import TestKit
import Testing

@testable import EmbeddedLocks

/// Sockets beside a file of locks that several users share.
@Suite(.enabled(if: TestScope.mayUseRoot, "needs root, to give files to a group"), .timeLimit(.minutes(1)))
struct SharedSocketTests {
    /// Any number serves as a group: nobody has to be in it for root to give files to it.
    private static let group: gid_t = 54_321

    @Test func `sockets belong to the folder's group`() async throws {
        try await withFolder { folder async throws in
            try #require(chown(folder.path, uid_t.max, Self.group) == 0)
            let path = folder.path + "/locks.db"
            try await withClient(path) { client in
                _ = try await client.withLockIfAvailable("a") { _ in
                    let names = try FileManager.default.contentsOfDirectory(atPath: path + "-live")
                    #expect(names.count >= 2)
                    for name in names + ["."] {
                        var status = stat()
                        try #require(lstat(path + "-live/" + name, &status) == 0)
                        #expect(status.st_gid == Self.group, "\(name)")
                    }
                }
            }
        }
    }
}
