import Foundation
import Testing

/// docs/safety.md and the tests that it names, both ways.
@Suite struct SafetyTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// A way to fail, and the files of the tests that are said to show it.
    private static func rows() throws -> [String: [String]] {
        let page = try String(contentsOf: Self.root.appending(path: "docs/safety.md"), encoding: .utf8)
        var rows: [String: [String]] = [:]
        for line in page.split(separator: "\n") {
            let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
            guard let id = cells.first, id.wholeMatch(of: /[A-Z][0-9]+/) != nil, let last = cells.last else { continue }
            #expect(rows[id] == nil, "\(id) stands there twice")
            rows[id] = last.matches(of: /`([A-Za-z]+Tests)`/).map { String($0.output.1) }
        }
        return rows
    }

    /// What the comments of each file of tests say that it shows: file, and ids.
    private static func comments() throws -> [(file: String, ids: Set<String>)] {
        let folder = Self.root.appending(path: "Tests")
        guard let files = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil) else { return [] }
        var found: [(file: String, ids: Set<String>)] = []
        for case let file as URL in files where file.pathExtension == "swift" {
            var ids: Set<String> = []
            for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
                guard let slashes = line.range(of: "//") else { continue }
                for match in line[slashes.upperBound...].matches(of: /\b[SRQZEC][0-9]{1,2}\b/) {
                    ids.insert(String(match.output))
                }
            }
            found.append((file.deletingPathExtension().lastPathComponent, ids))
        }
        return found
    }

    @Test func `each way to fail names tests, and these say so`() throws {
        let (rows, comments) = (try Self.rows(), try Self.comments())
        #expect(rows.count > 60)
        for (id, names) in rows {
            #expect(!names.isEmpty, "\(id) is shown by nothing")
            for name in names {
                #expect(
                    comments.contains { $0.file == name && $0.ids.contains(id) },
                    "\(id) is said to be shown by \(name), whose comments do not say so")
            }
        }
    }

    @Test func `what tests say that they show stands in the page, with their names`() throws {
        let rows = try Self.rows()
        for (file, ids) in try Self.comments() {
            for id in ids {
                #expect(rows[id] != nil, "\(file) says that it shows \(id), which docs/safety.md does not have")
                #expect(
                    rows[id]?.contains(file) ?? true,
                    "\(file) says that it shows \(id), where docs/safety.md does not name it")
            }
        }
    }
}
