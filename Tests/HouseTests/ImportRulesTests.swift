import Foundation
import Testing

/// Which way imports run. See ARCHITECTURE.md.
@Suite struct ImportRulesTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// What a module's sources may import, beside the standard library and the C library.
    private static let allowed: [String: Set<String>] = [
        "Sources/LockKernel": ["CKernel", "Dispatch"],
        "Sources/DistributedLocks": [
            "LockKernel", "DequeModule", "HeapModule", "Logging", "Metrics", "ServiceLifecycle", "Tracing",
        ],
        "Sources/Backends/Embedded": [
            "CEmbedded", "DistributedLocks", "LockKernel", "GRDB", "GRDBSQLite", "Logging",
        ],
        "Sources/Backends/Redis/RESP": ["NIOCore"],
        "Sources/Backends/Transport": ["LockKernel", "NIOCore", "NIOPosix", "NIOSSL"],
        "Sources/Backends/Redis/Client": ["LockKernel", "RESP", "Transport", "DequeModule", "Logging", "NIOCore"],
        "Sources/Backends/Redis/Locks": [
            "DistributedLocks", "LockKernel", "RESP", "RedisClient", "Transport", "DequeModule", "Logging", "NIOCore",
            "NIOPosix",
        ],
        "Sources/Backends/ZooKeeper/Jute": ["NIOCore"],
        "Sources/Backends/ZooKeeper/Client": ["Jute", "LockKernel", "Transport", "DequeModule", "Logging", "NIOCore"],
        "Sources/Backends/ZooKeeper/Locks": [
            "DistributedLocks", "Jute", "LockKernel", "ZooKeeperClient", "Transport", "Logging", "NIOCore", "NIOPosix",
        ],
        "Sources/LockURLs": ["DistributedLocks", "EmbeddedLocks", "Logging", "RedisLocks", "ZooKeeperLocks"],
        "Sources/LockTesting": ["DistributedLocks"],
        "Sources/Fencing/Rule": ["DistributedLocks"],
        "Sources/Fencing/SQL": [],
        "Sources/Fencing/GRDB": ["DistributedLocks", "Fencing", "FencingSQL", "GRDB"],
        "Sources/Fencing/Redis": ["DistributedLocks", "Fencing"],
        "Sources/Fencing/ZooKeeper": ["DistributedLocks", "Fencing"],
        "Sources/Fencing/HTTP": ["DistributedLocks", "Fencing"],
        "Sources/Fencing/Hummingbird": [
            "DistributedLocks", "Fencing", "FencingHTTP", "HTTPTypes", "Hummingbird", "NIOCore",
        ],
        "Sources/Fencing/Files": ["DistributedLocks", "Fencing"],
        "Sources/dlock/Supervision": ["CSupervision", "Dispatch"],
        "Sources/dlock/Tool": [
            "ArgumentParser", "DistributedLocks", "Dispatch", "Fencing", "FencingFiles", "Foundation", "Histogram",
            "LockKernel", "LockURLs", "Logging", "Subprocess", "Supervision", "SystemPackage",
        ],
    ]

    private static let system: Set<String> = ["Darwin", "Glibc", "Musl", "Swift", "Synchronization"]

    private static func imports(of folder: String) throws -> [(file: String, module: String)] {
        let base = Self.root.appending(path: folder)
        let files = try #require(FileManager.default.enumerator(at: base, includingPropertiesForKeys: nil))
        var found: [(String, String)] = []
        for case let file as URL in files where file.pathExtension == "swift" {
            for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
                let words = line.split(separator: " ")
                guard let index = words.firstIndex(of: "import"), index + 1 < words.count,
                    words[..<index].allSatisfy({
                        $0.hasPrefix("@") || ["public", "package", "internal", "private"].contains($0)
                    })
                else { continue }
                // "import struct A.B" imports A.
                let kinds: Set<Substring> = ["struct", "class", "enum", "protocol", "func", "var", "let", "typealias"]
                let name = kinds.contains(words[index + 1]) ? words[index + 2] : words[index + 1]
                found.append((file.lastPathComponent, String(name.prefix { $0 != "." })))
            }
        }
        return found
    }

    @Test(arguments: allowed.keys.sorted())
    func `a module imports only what its place in the house allows`(folder: String) throws {
        let allowed = try #require(Self.allowed[folder])
        let imports = try Self.imports(of: folder)
        #expect(!imports.isEmpty || allowed.isEmpty)
        for (file, module) in imports where !allowed.contains(module) && !Self.system.contains(module) {
            Issue.record("\(folder)/…/\(file) must not import \(module)")
        }
    }

    @Test func `every folder of Swift sources has its rule`() throws {
        let sources = Self.root.appending(path: "Sources")
        let files = try #require(FileManager.default.enumerator(at: sources, includingPropertiesForKeys: nil))
        for case let file as URL in files where file.pathExtension == "swift" {
            let path = String(file.path.dropFirst(Self.root.path.count + 1))
            #expect(Self.allowed.keys.contains { path.hasPrefix($0 + "/") }, "\(path) has no rule")
        }
    }
}
