import Foundation

/// One master, two replicas and three Sentinels of a test's own.
package final class SentinelSetup: Sendable {
    package struct Options: Sendable {
        /// After so long without a sign of life a Sentinel holds a server for dead.
        package var downAfter: Duration = .milliseconds(700)
        package var failoverTimeout: Duration = .seconds(3)
        /// Three hosts for the three pairs of a server and a Sentinel; `nil`: all on this one.
        package var hosts: NetworkNamespaces?
        /// More lines for the Sentinels' files.
        package var sentinelLines: [String] = []
        /// Certificates to serve TLS with, and nothing else is told to clients.
        package var certificates: TestCertificates?
        /// With certificates: whether clients have to have one, too.
        package var asksForCertificates = false

        package init(
            downAfter: Duration = .milliseconds(700),
            failoverTimeout: Duration = .seconds(3),
            hosts: NetworkNamespaces? = nil,
            sentinelLines: [String] = [],
            certificates: TestCertificates? = nil,
            asksForCertificates: Bool = false
        ) {
            self.downAfter = downAfter
            self.failoverTimeout = failoverTimeout
            self.hosts = hosts
            self.sentinelLines = sentinelLines
            self.certificates = certificates
            self.asksForCertificates = asksForCertificates
        }
    }

    package let name = "mymaster"
    package let servers: [SentinelNode]
    package let sentinels: [SentinelNode]
    private let options: Options

    package var url: String { self.url() }

    /// - Parameter path: what stands behind the name of the master.
    package func url(_ path: String = "") -> String {
        let hosts = self.sentinels.map { "\($0.host):\($0.announcedPort)" }.joined(separator: ",")
        return "redis\(self.options.certificates == nil ? "" : "s")+sentinel://\(hosts)/\(self.name)\(path)"
    }

    package static func withSetup<Success>(
        _ options: Options = Options(),
        isolation: isolated (any Actor)? = #isolation,
        _ body: (SentinelSetup) async throws -> Success
    ) async throws -> Success {
        let setup = try SentinelSetup(options)
        defer { setup.remove() }
        try await setup.start()
        return try await body(setup)
    }

    /// One for all tests that do not disturb it; each uses a key prefix of its own. It ends with the test process.
    package static func shared() async throws -> SentinelSetup { try await Self.theShared.value }

    private static let theShared = Task {
        // A machine that is busy with tests must not look like a master that died.
        let setup = try SentinelSetup(Options(downAfter: .seconds(60)))
        try await setup.start()
        return setup
    }

    private init(_ options: Options) throws {
        self.options = options
        var servers: [SentinelNode] = []
        var sentinels: [SentinelNode] = []
        for number in 1...3 {
            let host = options.hosts?.address(number) ?? "127.0.0.1"
            let prefix = options.hosts?.prefix(number) ?? []
            func node() throws -> SentinelNode {
                try SentinelNode(
                    host: host, prefix: prefix, certificates: options.certificates,
                    asksForCertificates: options.asksForCertificates)
            }
            servers.append(try node())
            sentinels.append(try node())
        }
        self.servers = servers
        self.sentinels = sentinels
    }

    private func start() async throws {
        do {
            try await onThread {
                try self.servers[0].startServer()
                for server in self.servers[1...] { try server.startServer(replicaOf: self.servers[0]) }
            }
            try await self.startSentinels()
            try await self.settled()
        } catch {
            self.remove()
            throw error
        }
    }

    /// With files that know nothing but the master where it is now, and so begin at epoch 0.
    package func startSentinels() async throws { try await onThread { try self.launchSentinels() } }

    private func launchSentinels() throws {
        let master = try self.master()
        for sentinel in self.sentinels {
            let lines =
                [
                    "port \(sentinel.port)", "bind \(sentinel.host)", "dir \(sentinel.folder.path)",
                    "protected-mode no",
                    "sentinel monitor \(self.name) \(master.host) \(master.announcedPort) 2",
                    "sentinel down-after-milliseconds \(self.name) \(Int(self.options.downAfter / .milliseconds(1)))",
                    "sentinel failover-timeout \(self.name) \(Int(self.options.failoverTimeout / .milliseconds(1)))",
                    "sentinel parallel-syncs \(self.name) 2",
                ] + self.options.sentinelLines + sentinel.tlsSettings.map { "\($0.name) \($0.value)" }
            try lines.joined(separator: "\n").write(
                to: sentinel.folder.appending(path: "sentinel.conf"), atomically: true, encoding: .utf8)
            try sentinel.startSentinel()
        }
    }

    private func remove() {
        for node in self.sentinels + self.servers { node.remove() }
    }

    // MARK: Looking

    /// The server that is a master by its own word, with replicas if possible.
    package func master() throws -> SentinelNode {
        let masters = self.servers.filter { (try? $0.command("ROLE").list?.first?.string) == "master" }
        guard let first = masters.first else { throw TestKitError("there is no master") }
        return masters.first { (try? Self.connectedReplicas(of: $0)) ?? 0 > 0 } ?? first
    }

    private static func connectedReplicas(of node: SentinelNode) throws -> Int {
        let text = try node.command("INFO", "replication")
        let lines = text.list?.map(\.string) ?? text.string.split(whereSeparator: \.isNewline).map(String.init)
        let value = lines.first { $0.hasPrefix("connected_slaves:") }?.dropFirst("connected_slaves:".count)
        return value.flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) } ?? 0
    }

    /// The server where the Sentinels send clients.
    package func agreedMaster() throws -> SentinelNode {
        let hosts = self.sentinels.compactMap { sentinel in
            try? sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name).list?.map(\.string)
        }
        guard let address = hosts.first, address.count == 2, hosts.filter({ $0 == address }).count >= 2,
            let server = self.servers.first(where: { $0.host == address[0] && "\($0.announcedPort)" == address[1] })
        else { throw TestKitError("the Sentinels do not agree") }
        return server
    }

    /// Every Sentinel knows the others, and sees a master and two replicas that are well.
    package func isSettled() throws -> Bool {
        let master = try self.agreedMaster()
        guard try master.command("ROLE").list?.first?.string == "master", try Self.connectedReplicas(of: master) == 2
        else {
            return false
        }
        var epochs: Set<String> = []
        for sentinel in self.sentinels {
            let fields = try sentinel.fields("SENTINEL", "MASTER", self.name)
            guard fields["port"] == "\(master.announcedPort)", fields["ip"] == master.host, fields["flags"] == "master",
                fields["num-other-sentinels"] == "2"
            else { return false }
            epochs.insert(fields["config-epoch"] ?? "")
            for server in self.servers where server !== master {
                guard try self.sees(sentinel, replica: server) else { return false }
            }
        }
        return epochs.count == 1
    }

    private func sees(_ sentinel: SentinelNode, replica: SentinelNode) throws -> Bool {
        let answer = try sentinel.command("SENTINEL", "REPLICAS", self.name)
        let text = "\(answer)"
        guard text.contains("\"\(replica.announcedPort)\"") else { return false }
        return !text.contains("s_down") && !text.contains("disconnected") && !text.contains("\"err\"")
    }

    package func settled() async throws {
        try await eventually(within: .seconds(90), "the Sentinels see everything in order") {
            (try? await onThread { try self.isSettled() }) ?? false
        }
    }

    package func epoch() throws -> Int {
        Int(try self.sentinels[0].fields("SENTINEL", "MASTER", self.name)["config-epoch"] ?? "") ?? -1
    }

    // MARK: Failing over

    /// Orders a failover, and waits until the Sentinels send clients to another server.
    package func failOver() async throws {
        let before = try self.agreedMaster()
        try await eventually(within: .seconds(60), "a Sentinel takes the order") {
            try self.sentinels[0].command("SENTINEL", "FAILOVER", self.name).string == "OK"
        }
        try await eventually(within: .seconds(60), "there is another master") {
            (try? await onThread { try self.agreedMaster() }).map { $0 !== before } ?? false
        }
    }

    /// Kills the master.
    ///
    /// - Returns: the server that was it.
    @discardableResult
    package func killMaster() throws -> SentinelNode {
        let master = try self.agreedMaster()
        master.kill()
        return master
    }

    /// Starts a server that was killed as a replica of the present master, and waits until all is in order again.
    package func revive(_ server: SentinelNode) async throws {
        try await eventually(within: .seconds(60), "there is another master") {
            guard let master = try? await onThread({ try self.agreedMaster() }), master !== server else { return false }
            return try master.command("ROLE").list?.first?.string == "master"
        }
        try await onThread { try server.startServer(replicaOf: self.agreedMaster()) }
        try await self.settled()
    }
}
