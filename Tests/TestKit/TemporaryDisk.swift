package import Foundation
import LockKernel

/// A small disk of a test's own, in memory, that can be filled.
package struct TemporaryDisk: Sendable {
    package let folder: URL

    /// Whether this process may mount one.
    package static let isPossible: Bool = {
        #if os(Linux)
        TestScope.mayUseRoot && (try? Self.withDisk(kilobytes: 64) { _ in }) != nil
        #else
        false
        #endif
    }()

    package static func withDisk(
        kilobytes: Int,
        isolation: isolated (any Actor)? = #isolation,
        _ body: (TemporaryDisk) async throws -> Void
    ) async throws {
        let disk = try Self.mounted(kilobytes: kilobytes)
        defer { disk.remove() }
        try await body(disk)
    }

    private static func withDisk(kilobytes: Int, _ body: (TemporaryDisk) throws -> Void) throws {
        let disk = try Self.mounted(kilobytes: kilobytes)
        defer { disk.remove() }
        try body(disk)
    }

    private static func mounted(kilobytes: Int) throws -> TemporaryDisk {
        let folder = temporaryFolder("disk")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        do {
            try NetworkNamespaces.run(["mount", "-t", "tmpfs", "-o", "size=\(kilobytes)k", "dlock-test", folder.path])
        } catch {
            try? FileManager.default.removeItem(at: folder)
            throw error
        }
        return TemporaryDisk(folder: folder)
    }

    private func remove() {
        _ = try? NetworkNamespaces.run(["umount", "-l", self.folder.path])
        try? FileManager.default.removeItem(at: self.folder)
    }

    private var filler: URL { self.folder.appending(path: "filler") }

    /// Leaves no room.
    package func fill() throws {
        let file = open(self.filler.path, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        guard file >= 0 else { throw TestKitError("the filler cannot be made: \(errno)") }
        defer { close(file) }
        let page = [UInt8](repeating: 1, count: 4_096)
        while write(file, page, page.count) > 0 {}
        guard errno == ENOSPC else { throw TestKitError("the disk cannot be filled: \(errno)") }
    }

    package func makeRoom() throws { try FileManager.default.removeItem(at: self.filler) }
}
