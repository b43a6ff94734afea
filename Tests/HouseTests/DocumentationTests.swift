import Foundation
import Testing

/// Code in the documentation is code that was compiled.
@Suite struct DocumentationTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// Text without the differences that indentation makes.
    private static func lines(_ text: some StringProtocol) -> [String] {
        text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
    }

    @Test func `every Swift sample of the documentation catalog stands in the sample tests`() throws {
        let samples = try String(
            contentsOf: Self.root.appending(path: "Tests/DistributedLocksTests/Documentation/SampleTests.swift"),
            encoding: .utf8)
        let known = Self.lines(samples).joined(separator: "\n")
        let catalog = Self.root.appending(path: "Sources/DistributedLocks/DistributedLocks.docc")
        var count = 0
        for page in try FileManager.default.contentsOfDirectory(at: catalog, includingPropertiesForKeys: nil)
        where page.pathExtension == "md" {
            let parts = try String(contentsOf: page, encoding: .utf8).components(separatedBy: "```")
            for block in parts.enumerated().filter({ $0.offset % 2 == 1 }).map(\.element)
            where block.hasPrefix("swift\n") {
                count += 1
                let wanted = Self.lines(block.dropFirst(6)).joined(separator: "\n")
                #expect(known.contains(wanted), "\(page.lastPathComponent): \(block)")
            }
        }
        #expect(count >= 6)
    }

    @Test func `links from one page to another lead somewhere`() throws {
        let pages =
            ["README.md", "ARCHITECTURE.md", "HANDBOOK.md", "CONTRIBUTING.md"].map { Self.root.appending(path: $0) }
            + (try FileManager.default.contentsOfDirectory(
                at: Self.root.appending(path: "docs"), includingPropertiesForKeys: nil))
        for page in pages where page.pathExtension == "md" {
            let text = try String(contentsOf: page, encoding: .utf8)
            for part in text.components(separatedBy: "](").dropFirst() {
                let target = part.prefix { $0 != ")" && $0 != "#" }
                guard !target.isEmpty, !target.contains("://") else { continue }
                let file = page.deletingLastPathComponent().appending(path: String(target))
                #expect(
                    FileManager.default.fileExists(atPath: file.path), "\(page.lastPathComponent) links to \(target)")
            }
        }
    }
}
