import Foundation
import LockKernel

/// Hosts of a test's own: network namespaces that hang together at a bridge, each by a link that can be taken down.
///
/// Their names begin with `dlk-` and this process's id, so that scripts/test.sh can remove what a killed run left behind.
package final class NetworkNamespaces: Sendable {
    package let count: Int
    private let stem: String
    private var hub: String { "\(self.stem)-hub" }

    /// Whether this process may make namespaces.
    package static let isPossible: Bool = {
        TestScope.mayUseRoot && (try? NetworkNamespaces.run(["ip", "netns", "list"])) != nil
    }()

    package static func withHosts<Success>(
        _ count: Int,
        isolation: isolated (any Actor)? = #isolation,
        _ body: (NetworkNamespaces) async throws -> Success
    ) async throws -> Success {
        let hosts = NetworkNamespaces(count)
        defer { hosts.remove() }
        try await onThread { try hosts.make() }
        return try await body(hosts)
    }

    private init(_ count: Int) {
        self.count = count
        self.stem = "dlk-\(getpid())-\(UUID().uuidString.prefix(4))"
    }

    /// Hosts are counted from 1.
    package func name(_ host: Int) -> String { "\(self.stem)-\(host)" }
    package func address(_ host: Int) -> String { "10.77.0.\(host)" }
    /// Stands before a command that is to run on a host.
    package func prefix(_ host: Int) -> [String] { ["ip", "netns", "exec", self.name(host)] }

    private func make() throws {
        try Self.run(["ip", "netns", "add", self.hub])
        try self.inHub(["ip", "link", "add", "bridge", "type", "bridge"])
        try self.inHub(["ip", "link", "set", "bridge", "up"])
        for host in 1...self.count {
            try Self.run(["ip", "netns", "add", self.name(host)])
            try self.inHub([
                "ip", "link", "add", "h\(host)", "type", "veth", "peer", "name", "eth", "netns", self.name(host),
            ])
            try self.inHub(["ip", "link", "set", "h\(host)", "master", "bridge"])
            try self.inHub(["ip", "link", "set", "h\(host)", "up"])
            try Self.run(self.prefix(host) + ["ip", "address", "add", "\(self.address(host))/24", "dev", "eth"])
            try Self.run(self.prefix(host) + ["ip", "link", "set", "eth", "up"])
            try Self.run(self.prefix(host) + ["ip", "link", "set", "lo", "up"])
        }
    }

    private func remove() {
        for host in 1...self.count { _ = try? Self.run(["ip", "netns", "del", self.name(host)]) }
        _ = try? Self.run(["ip", "netns", "del", self.hub])
    }

    /// Cuts a host off from all others, or connects it again.
    package func setLink(_ host: Int, isUp: Bool) throws {
        try self.inHub(["ip", "link", "set", "h\(host)", isUp ? "up" : "down"])
    }

    private func inHub(_ command: [String]) throws {
        try Self.run(["ip", "netns", "exec", self.hub] + command)
    }

    /// Runs a command to its end, and returns what it wrote.
    @discardableResult
    package static func run(_ command: [String]) throws -> String {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = command
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw TestKitError("\(command.joined(separator: " ")): \(text)")
        }
        return text
    }
}
