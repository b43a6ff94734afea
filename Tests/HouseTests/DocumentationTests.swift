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

    @Test func `every program of the readme stands in the samples that are compiled`() throws {
        let samples = try String(
            contentsOf: Self.root.appending(path: "Tests/LockURLsTests/ReadmeSamples.swift"), encoding: .utf8)
        let known = Self.lines(samples).joined(separator: "\n")
        let parts = try String(contentsOf: Self.root.appending(path: "README.md"), encoding: .utf8)
            .components(separatedBy: "```")
        let programs = parts.enumerated().filter { $0.offset % 2 == 1 }.map(\.element)
            .filter { $0.hasPrefix("swift\nimport ") }
        #expect(programs.count == 2)
        for program in programs {
            let (imports, statements) = (
                Self.lines(program.dropFirst(6)).filter { $0.hasPrefix("import ") },
                Self.lines(program.dropFirst(6)).filter { !$0.hasPrefix("import ") }
            )
            #expect(known.contains(statements.joined(separator: "\n")), "\(program)")
            for line in imports { #expect(known.contains(line), "\(line)") }
        }
    }

    @Test func `links from one page to another lead somewhere`() throws {
        let pages =
            [
                "README.md", "ARCHITECTURE.md", "HANDBOOK.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md",
                "Benchmarks/README.md", "Fuzzing/README.md",
            ].map { Self.root.appending(path: $0) }
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

    @Test func `scripts, folders and files that the pages name are there`() throws {
        let folders = try FileManager.default.contentsOfDirectory(
            at: Self.root.appending(path: "docs"), includingPropertiesForKeys: nil)
        let pages =
            ["README.md", "ARCHITECTURE.md", "HANDBOOK.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"]
            .map { Self.root.appending(path: $0) } + folders.filter { $0.pathExtension == "md" }
        let path = /[\s`(](?:[.]\/)?((?:scripts|Tests|Sources|Benchmarks|Examples|Fuzzing|docs)\/[\w.\/+*-]+)/
        var count = 0
        for page in pages {
            for match in try String(contentsOf: page, encoding: .utf8).matches(of: path) {
                // A star stands for several files, a stop ends the sentence.
                let name = match.output.1.prefix { $0 != "*" }.trimmingCharacters(in: ["."])
                count += 1
                let isThere =
                    match.output.1.contains("*")
                    || FileManager.default.fileExists(atPath: Self.root.appending(path: name).path)
                #expect(isThere, "\(page.lastPathComponent) names \(match.output.1)")
            }
        }
        #expect(count >= 20)
    }

    /// The sources of a folder.
    private static func sources(in folder: String) throws -> [(name: String, text: String)] {
        let files = try #require(
            FileManager.default.enumerator(at: Self.root.appending(path: folder), includingPropertiesForKeys: nil))
        return try files.compactMap { $0 as? URL }.filter { $0.pathExtension == "swift" }
            .map { ($0.lastPathComponent, try String(contentsOf: $0, encoding: .utf8)) }
    }

    @Test func `every metric, log key and span of the sources stands on the page about them`() throws {
        let page = try String(
            contentsOf: Self.root.appending(path: "Sources/DistributedLocks/DistributedLocks.docc/Observability.md"),
            encoding: .utf8)
        let name = /"((?:lock|redis|zookeeper|distributed_locks)\.[a-z_.]+)"/
        var known: Set<Substring> = []
        for source in try Self.sources(in: "Sources") {
            for match in source.text.matches(of: name) {
                known.insert(match.output.1)
                #expect(page.contains("`\(match.output.1)`"), "\(source.name): \(match.output.1)")
            }
        }
        #expect(known.count >= 20)
    }

    @Test func `every suite of peers stands in the list of benchmarks`() throws {
        let list = try String(contentsOf: Self.root.appending(path: "Benchmarks/README.md"), encoding: .utf8)
        let scripts = try FileManager.default.contentsOfDirectory(
            atPath: Self.root.appending(path: "Benchmarks/peers").path
        ).filter { $0.hasSuffix(".sh") && $0 != "dlock.sh" }
        #expect(scripts.count >= 4)
        for script in scripts { #expect(list.contains("`peers/\(script)"), "\(script)") }
    }
}
