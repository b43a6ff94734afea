package import Foundation
import LockKernel
import Synchronization

/// One process of a ``SentinelSetup``: a Redis server or a Sentinel, on this host or in a network namespace.
package final class SentinelNode: Sendable {
    package let host: String
    package let port: Int
    /// Where TLS is spoken; 0 if nowhere. The nodes then speak TLS with each other.
    package let tlsPort: Int
    /// Where others find it.
    package var announcedPort: Int { self.tlsPort == 0 ? self.port : self.tlsPort }
    private let certificates: TestCertificates?
    private let asksForCertificates: Bool
    /// Stands before commands that run where the node is.
    package let prefix: [String]
    package let folder: URL
    private let process = Mutex<ChildProcess?>(nil)
    private let output: String

    init(
        host: String, prefix: [String] = [], certificates: TestCertificates? = nil, asksForCertificates: Bool = false
    ) throws {
        self.host = host
        self.port = try FreePort.next()
        self.tlsPort = certificates == nil ? 0 : try FreePort.next()
        self.certificates = certificates
        self.asksForCertificates = asksForCertificates
        self.prefix = prefix
        self.folder = temporaryFolder("sentinel")
        self.output = self.folder.appending(path: "log").path
        try FileManager.default.createDirectory(at: self.folder, withIntermediateDirectories: true)
    }

    package var pid: pid_t { self.process.withLock { $0?.pid ?? 0 } }
    package var isRunning: Bool { self.process.withLock { $0.map { !$0.hasEnded } ?? false } }

    /// Starts a server that keeps everything in memory.
    ///
    /// - Parameter master: whose replica it is; `nil`: a master.
    package func startServer(replicaOf master: SentinelNode? = nil, _ arguments: [String] = []) throws {
        var words = [
            "--port", "\(self.port)", "--bind", self.host, "--dir", self.folder.path, "--save", "", "--appendonly",
            "no",
            "--protected-mode", "no", "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1",
        ]
        if let master { words += ["--replicaof", master.host, "\(master.announcedPort)"] }
        for (name, value) in self.tlsSettings { words += ["--" + name, value] }
        try self.start(words + arguments)
    }

    var tlsSettings: [(name: String, value: String)] {
        guard let certificates else { return [] }
        return [
            ("tls-port", "\(self.tlsPort)"), ("tls-replication", "yes"),
            ("tls-auth-clients", self.asksForCertificates ? "yes" : "no"),
            ("tls-cert-file", certificates.certificate.path), ("tls-key-file", certificates.key.path),
            ("tls-ca-cert-file", certificates.authority.path),
        ]
    }

    /// Starts a Sentinel with the file of its folder, which it writes anew itself.
    package func startSentinel() throws {
        try self.start([self.folder.appending(path: "sentinel.conf").path, "--sentinel"])
    }

    private func start(_ arguments: [String]) throws {
        // A word of more than one line is none for a shell, but for `ip netns exec` it is.
        let child = try ChildProcess("env", self.prefix + [RedisServer.program] + arguments, output: self.output)
        self.process.withLock { $0 = child }
        let deadline = ContinuousClock.now + .seconds(10)
        while ContinuousClock.now < deadline, !child.hasEnded {
            if let answer = try? self.command("PING"), !answer.string.hasPrefix("LOADING") { return }
            usleep(5_000)
        }
        let said = (try? String(contentsOfFile: self.output, encoding: .utf8)) ?? ""
        throw TestKitError("\(self.host):\(self.port) did not start: \(said.suffix(500))")
    }

    /// Ends the process at once.
    package func kill() { self.process.withLock { $0?.end() } }
    /// Stops the process in its tracks.
    package func stop() throws { try self.process.withLock { try $0?.stop() } }
    /// Lets a stopped process go on.
    package func resume() { self.process.withLock { $0?.signal(SIGCONT) } }

    func remove() {
        self.kill()
        try? FileManager.default.removeItem(at: self.folder)
    }

    @discardableResult
    package func command(_ words: String...) throws -> RedisAnswer { try self.command(words) }

    @discardableResult
    package func command(_ words: [String]) throws -> RedisAnswer {
        guard self.prefix.isEmpty else { return try self.commandFromWithin(words) }
        let connection = try PlainRedisConnection(port: self.port)
        defer { connection.close() }
        return try connection.command(words)
    }

    /// In another network namespace, where only a process of its own can ask: all answers are texts.
    private func commandFromWithin(_ words: [String]) throws -> RedisAnswer {
        let text = try NetworkNamespaces.run(
            self.prefix + ["timeout", "5", "redis-cli", "-h", self.host, "-p", "\(self.port)"] + words)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { RedisAnswer.text(String($0)) }
        return lines.count <= 2 ? lines[0] : .list(Array(lines.dropLast()))
    }

    /// Names and values in turn, as `SENTINEL MASTER` answers.
    package func fields(_ words: String...) throws -> [String: String] {
        let list = try self.command(words).list?.map(\.string) ?? []
        var fields: [String: String] = [:]
        for index in stride(from: 0, to: list.count - 1, by: 2) { fields[list[index]] = list[index + 1] }
        return fields
    }
}
