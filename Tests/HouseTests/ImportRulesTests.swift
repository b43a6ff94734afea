import Foundation
import Testing

/// Which way imports run. See ARCHITECTURE.md.
@Suite struct ImportRulesTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// What a module's sources may import, beside the standard library. LockKernel hands on the C library.
    private static let allowed: [String: Set<String>] = [
        "Sources/LockKernel": ["CKernel", "Darwin", "Dispatch", "Glibc", "Musl"],
        "Sources/DistributedLocks": [
            "LockKernel", "DequeModule", "HeapModule", "Logging", "Metrics", "ServiceLifecycle", "Tracing",
        ],
        "Sources/EmbeddedLocks": [
            "CEmbedded", "DistributedLocks", "LockKernel", "GRDB", "GRDBSQLite", "Logging",
        ],
        "Sources/LockTransport": ["LockKernel", "NIOCore", "NIOPosix", "NIOSSL"],
        "Sources/RedisLocks": [
            "DistributedLocks", "LockKernel", "LockTransport", "DequeModule", "Logging", "NIOCore", "NIOPosix",
        ],
        "Sources/RedisLocks/Wire": ["NIOCore"],
        "Sources/RedisLocks/Connection": ["LockKernel", "LockTransport", "DequeModule", "Logging", "NIOCore"],
        "Sources/RedisLocks/Sentinel": ["LockKernel", "LockTransport", "DequeModule", "Logging", "NIOCore"],
        "Sources/ZooKeeperLocks": [
            "DistributedLocks", "LockKernel", "LockTransport", "DequeModule", "Logging", "NIOCore", "NIOPosix",
        ],
        "Sources/ZooKeeperLocks/Wire": ["NIOCore"],
        "Sources/ZooKeeperLocks/Session": ["LockKernel", "LockTransport", "DequeModule", "Logging", "NIOCore"],
        "Sources/LockURLs": ["DistributedLocks", "EmbeddedLocks", "Logging", "RedisLocks", "ZooKeeperLocks"],
        "Sources/LockTesting": ["DistributedLocks", "LockKernel"],
        "Sources/LockSimulator": [
            "CSimulator", "Dispatch", "DistributedLocks", "EmbeddedLocks", "GRDBSQLite", "LockKernel", "LockTransport",
            "RedisLocks", "ZooKeeperLocks", "DequeModule", "HeapModule", "Logging", "NIOCore",
        ],
        "Sources/lock-simulator": ["ArgumentParser", "LockSimulator"],
        "Sources/Fencing": ["DistributedLocks", "LockKernel"],
        "Sources/FencingGRDB": ["DistributedLocks", "Fencing", "GRDB"],
        "Sources/FencingHummingbird": ["DistributedLocks", "Fencing", "HTTPTypes", "Hummingbird", "NIOCore"],
        "Sources/Supervision": ["CSupervision", "Dispatch", "LockKernel"],
        "Sources/dlock": [
            "ArgumentParser", "DistributedLocks", "Dispatch", "Fencing", "Foundation", "Histogram", "LockKernel",
            "LockURLs",
            "Logging", "Subprocess", "Supervision", "SystemPackage",
        ],
    ]

    private static let system: Set<String> = ["Swift", "Synchronization"]

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

    /// Folders that know nothing of locks, though their module does: what a word is looked for in is code, without comments.
    @Test(arguments: [
        ("Sources/RedisLocks/Wire", #"\b(Redis\w*|\w*Lock\w*|Script\w*|Owner\w*)\b"#),
        ("Sources/RedisLocks/Connection", #"\b(?!withLock\b)\w*Locks?(?![a-z])\w*\b|\bRedlock\w*\b|\bOwner\w*\b"#),
        ("Sources/RedisLocks/Sentinel", #"\b(?!withLock\b)\w*Locks?(?![a-z])\w*\b|\bRedlock\w*\b|\bOwner\w*\b"#),
        ("Sources/ZooKeeperLocks/Wire", #"\b(ZooKeeperClient\w*|\w*Lock\w*|Contender\w*)\b"#),
        ("Sources/ZooKeeperLocks/Session", #"\b(?!withLock\b)\w*Locks?(?![a-z])\w*\b|\bContender\w*\b"#),
    ])
    func `what carries bytes knows nothing of locks`(folder: String, pattern: String) throws {
        let regex = try NSRegularExpression(pattern: pattern)
        let base = Self.root.appending(path: folder)
        let files = try #require(FileManager.default.enumerator(at: base, includingPropertiesForKeys: nil))
        var count = 0
        for case let file as URL in files where file.pathExtension == "swift" {
            count += 1
            for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
                let code = String(line.split(separator: "//", maxSplits: 1, omittingEmptySubsequences: false)[0])
                guard !code.contains("import "),
                    let found = regex.firstMatch(in: code, range: NSRange(code.startIndex..., in: code)),
                    let range = Range(found.range, in: code)
                else { continue }
                Issue.record("\(folder)/…/\(file.lastPathComponent) must not name \(code[range])")
            }
        }
        #expect(count > 0)
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
