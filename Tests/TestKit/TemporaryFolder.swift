package import Foundation
import LockKernel

/// Where the folder of a test or a server may be: a name that nobody has, under the folder that goes when all tests are over.
package func temporaryFolder(_ purpose: String) -> URL {
    FileManager.default.temporaryDirectory.appending(path: "dlock-\(purpose)-\(UUID().uuidString.prefix(8))")
}

/// Runs a body with a folder that vanishes with it, also where the body has taken its permissions away.
package func withFolder(
    isolation: isolated (any Actor)? = #isolation,
    _ body: (URL) async throws -> Void
) async throws {
    let folder = temporaryFolder("test")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer {
        chmod(folder.path, 0o700)
        try? FileManager.default.removeItem(at: folder)
    }
    try await body(folder)
}
