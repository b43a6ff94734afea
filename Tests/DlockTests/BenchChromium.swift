import Foundation
import TestKit
import Testing

/// Chromium without a window, to look at pages as their readers do.
struct Chromium {
    static let program: String? = {
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        return ["chromium", "chromium-browser", "google-chrome"].lazy.flatMap { name in folders.map { "\($0)/\(name)" }
        }
        .first { access($0, X_OK) == 0 }
    }()

    /// Whether tests with a browser run. Where CI is set they always do, and fail without one.
    static var isRequired: Bool { TestScope.isRequired(ifInstalled: Self.program != nil) }

    /// Where it keeps its files; goes with the test.
    let folder: URL

    /// What a page has become when it is loaded, and what it asked the network for.
    struct Visit {
        let dom: String
        /// Requests that the page made, not the browser by itself.
        let requests: [String]
    }

    /// Loads a file. Nothing but this host can be reached: no name resolves.
    func visit(_ file: URL, arguments: [String] = [], width: Int = 1_280) async throws -> Visit {
        let id = UUID().uuidString
        let log = self.folder.appending(path: "net-\(id).json")
        let output = self.folder.appending(path: "dom-\(id)")
        try await self.run(
            arguments + [
                "--window-size=\(width),2000", "--log-net-log=\(log.path)", "--dump-dom", "file://\(file.path)",
            ],
            output: output
        )
        return Visit(
            dom: try String(contentsOf: output, encoding: .utf8), requests: try Self.requests(in: log))
    }

    /// Writes a picture or a PDF.
    func render(_ file: URL, arguments: [String]) async throws {
        try await self.run(
            arguments + ["file://\(file.path)"], output: self.folder.appending(path: "out-\(UUID().uuidString)"))
    }

    private func run(_ arguments: [String], output: URL) async throws {
        let profile = self.folder.appending(path: "profile-\(UUID().uuidString)")
        let words =
            [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--disable-extensions",
                "--host-resolver-rules=MAP * ~NOTFOUND", "--user-data-dir=\(profile.path)",
            ] + arguments
        let program = try #require(Self.program, "chromium is not installed")
        // What it says of buses and fonts is not part of the page.
        let script = "exec \"$0\" \"$@\" 2>\(output.path).error"
        let child = try ChildProcess("sh", ["-c", script, program] + words, output: output.path)
        let status = await child.waitForEnd(within: .seconds(90))
        let said = (try? String(contentsOfFile: output.path + ".error", encoding: .utf8)) ?? ""
        try #require(status == 0, "chromium ended with \(status): \(said.suffix(500))")
    }

    /// The browser's own requests have no page as their origin.
    private static func requests(in log: URL) throws -> [String] {
        struct Log: Decodable {
            struct Event: Decodable {
                struct Parameters: Decodable {
                    var url: String?
                    var initiator: String?
                }
                var params: Parameters?
            }
            var events: [Event]
        }
        let events = try JSONDecoder().decode(Log.self, from: try Data(contentsOf: log)).events
        return events.compactMap { event in
            guard let parameters = event.params, let url = parameters.url, let initiator = parameters.initiator,
                initiator != "not an origin"
            else { return nil }
            return url
        }
    }
}
