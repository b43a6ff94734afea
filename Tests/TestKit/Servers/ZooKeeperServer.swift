package import Foundation
import LockKernel
import Synchronization

/// A ZooKeeper server of a test's own, alone or as one of an ensemble: on free loopback ports, with a data folder of its own.
package final class ZooKeeperServer: Sendable {
    package struct Options: Sendable {
        /// The shortest session lasts two ticks.
        package var tickMilliseconds = 500
        /// More lines for the configuration, such as `snapCount=100`.
        package var lines: [String] = []
        /// More system properties, such as `zookeeper.extendedTypesEnabled=true`.
        package var properties: [String: String] = [:]
        /// Certificates to serve TLS with, on a second port.
        package var certificates: TestCertificates?
        /// What the server finds in its data folder when it starts first, such as `version-2/snapshot.64`.
        package var files: [String: [UInt8]] = [:]

        package init(
            tickMilliseconds: Int = 500,
            lines: [String] = [],
            properties: [String: String] = [:],
            certificates: TestCertificates? = nil,
            files: [String: [UInt8]] = [:]
        ) {
            self.tickMilliseconds = tickMilliseconds
            self.lines = lines
            self.properties = properties
            self.certificates = certificates
            self.files = files
        }
    }

    package let port: Int
    /// Where TLS is spoken; 0 if nowhere.
    package let tlsPort: Int
    package let folder: URL
    private let options: Options
    /// The number of this server and the lines that name all of them; `nil` if it is alone.
    private let ensemble: (id: Int, lines: [String])?
    private let process = Mutex<ChildProcess?>(nil)

    package var url: String { "zookeeper://127.0.0.1:\(self.port)" }
    package var pid: pid_t { self.process.withLock { $0?.pid ?? 0 } }

    private static let javaFolder = "/usr/share/java"
    private static let jars = [
        "zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-nop", "metrics-core", "snappy-java", "jackson-core",
        "jackson-databind", "jackson-annotations", "commons-cli", "commons-io",
        // Debian's netty-all is empty.
        "netty-buffer", "netty-codec", "netty-common", "netty-handler", "netty-resolver", "netty-transport",
        "netty-transport-native-epoll", "netty-transport-native-unix-common",
    ]

    /// Whether there is a ZooKeeper on this machine.
    package static let isInstalled: Bool = {
        let hasJava = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").contains {
            access("\($0)/java", X_OK) == 0
        }
        return hasJava
            && ZooKeeperServer.jars.allSatisfy { access("\(ZooKeeperServer.javaFolder)/\($0).jar", R_OK) == 0 }
    }()

    /// Whether tests against a server run.
    package static var isRequired: Bool { TestScope.isRequired(ifInstalled: Self.isInstalled) }

    package static func withServer<Success>(
        _ options: Options = Options(),
        isolation: isolated (any Actor)? = #isolation,
        _ body: (ZooKeeperServer) async throws -> Success
    ) async throws -> Success {
        let server = try ZooKeeperServer(options)
        defer { server.remove() }
        try await server.start()
        return try await body(server)
    }

    /// One for all tests that do not disturb it; each uses a chroot of its own. It ends with the test process.
    package static func shared() async throws -> ZooKeeperServer { try await Self.theShared.value }

    private static let theShared = Task {
        // Sessions of tests come by the hundred, and none is to be refused.
        let server = try ZooKeeperServer(Options(lines: ["maxClientCnxns=0", "snapCount=1000000"]))
        try await server.start()
        return server
    }

    fileprivate init(_ options: Options, ensemble: (id: Int, lines: [String])? = nil) throws {
        self.options = options
        self.ensemble = ensemble
        self.folder = temporaryFolder("zookeeper")
        try FileManager.default.createDirectory(
            at: self.folder.appending(path: "data"),
            withIntermediateDirectories: true
        )
        for (name, bytes) in options.files {
            let file = self.folder.appending(path: "data").appending(path: name)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(bytes).write(to: file)
        }
        self.port = try FreePort.next()
        self.tlsPort = options.certificates == nil ? 0 : try FreePort.next()
        try self.configure()
    }

    fileprivate func remove() {
        self.kill()
        try? FileManager.default.removeItem(at: self.folder)
    }

    private func configure() throws {
        var lines = [
            "dataDir=\(self.folder.path)/data", "clientPort=\(self.port)", "clientPortAddress=127.0.0.1",
            "tickTime=\(self.options.tickMilliseconds)", "admin.enableServer=false", "4lw.commands.whitelist=*",
            "maxClientCnxns=0",
        ]
        if let certificates = self.options.certificates {
            lines += [
                "secureClientPort=\(self.tlsPort)", "ssl.keyStore.location=\(certificates.keyStore.path)",
                "ssl.trustStore.location=\(certificates.authority.path)", "ssl.clientAuth=none",
                "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
            ]
        }
        if let ensemble {
            lines += ["initLimit=20", "syncLimit=10"] + ensemble.lines
            try "\(ensemble.id)".write(
                to: self.folder.appending(path: "data/myid"), atomically: true, encoding: .utf8)
        }
        lines += self.options.lines
        try lines.joined(separator: "\n").write(
            to: self.folder.appending(path: "zoo.cfg"), atomically: true, encoding: .utf8)
    }

    /// Starts the server, or starts it again, and waits until it serves.
    package func start() async throws {
        try self.launch()
        try await self.serves()
    }

    /// - Parameter words: stand before the command, such as `["ip", "netns", "exec", "a"]`.
    package func launch(prefix words: [String] = []) throws {
        let command =
            words
            + Self.command(
                configuration: self.folder.appending(path: "zoo.cfg"),
                properties: self.options.properties.map { "-D\($0)=\($1)" }
            )
        let child = try ChildProcess(
            command[0], Array(command.dropFirst()), output: self.folder.appending(path: "log").path)
        self.process.withLock { $0 = child }
    }

    /// What starts a server with a configuration file.
    package static func command(configuration: URL, properties: [String] = []) -> [String] {
        let classPath = Self.jars.map { "\(Self.javaFolder)/\($0).jar" }.joined(separator: ":")
        return [
            "java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
            // Tests are about agreement, not about disks.
            "-Dzookeeper.forceSync=no",
        ] + properties + ["-cp", classPath, "org.apache.zookeeper.server.quorum.QuorumPeerMain", configuration.path]
    }

    /// Waits until it serves clients.
    package func serves() async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < deadline {
            if let state = try? self.monitor()["zk_server_state"], state != "read-only" { return }
            if self.process.withLock({ $0?.hasEnded ?? true }) { break }
            try await Task.sleep(for: .milliseconds(20))
        }
        let said = (try? String(contentsOf: self.folder.appending(path: "log"), encoding: .utf8)) ?? ""
        throw TestKitError("ZooKeeper did not start: \(said.suffix(1_000))")
    }

    /// Ends the server at once.
    package func kill() {
        self.process.withLock { process in
            process?.signal(SIGCONT)
            process?.end()
            process = nil
        }
    }

    /// Stops the server's process in its tracks.
    package func stop() throws { try self.process.withLock { try $0?.stop() } }

    /// Lets a stopped server go on.
    package func resume() { self.process.withLock { $0?.signal(SIGCONT) } }

    /// A command of four letters, on a connection of its own.
    package func command(_ word: String) throws -> String {
        let connection = try PlainConnection(port: self.port, timeoutSeconds: 2)
        defer { connection.close() }
        return try connection.ask(word)
    }

    /// The server's own figures, by their names (`mntr`).
    package func monitor() throws -> [String: String] {
        var figures: [String: String] = [:]
        for line in try self.command("mntr").split(whereSeparator: \.isNewline) {
            let parts = line.split(separator: "\t", maxSplits: 1)
            if parts.count == 2 { figures[String(parts[0])] = String(parts[1]) }
        }
        return figures
    }
}

/// Servers that agree with each other.
package final class ZooKeeperEnsemble: Sendable {
    package let servers: [ZooKeeperServer]

    package var url: String {
        "zookeeper://" + self.servers.map { "127.0.0.1:\($0.port)" }.joined(separator: ",")
    }

    package static func withEnsemble<Success>(
        _ count: Int = 3,
        _ options: ZooKeeperServer.Options = ZooKeeperServer.Options(),
        isolation: isolated (any Actor)? = #isolation,
        _ body: (ZooKeeperEnsemble) async throws -> Success
    ) async throws -> Success {
        let ensemble = try ZooKeeperEnsemble(count, options)
        defer { for server in ensemble.servers { server.remove() } }
        for server in ensemble.servers { try server.launch() }
        for server in ensemble.servers { try await server.serves() }
        return try await body(ensemble)
    }

    private init(_ count: Int, _ options: ZooKeeperServer.Options) throws {
        let lines = try (1...count).map {
            "server.\($0)=127.0.0.1:\(try FreePort.next()):\(try FreePort.next())"
        }
        self.servers = try (1...count).map { try ZooKeeperServer(options, ensemble: (id: $0, lines: lines)) }
    }

    /// Whoever leads now.
    package func leader() throws -> ZooKeeperServer? {
        self.servers.first { (try? $0.monitor()["zk_server_state"]) == "leader" }
    }

    package func followers() throws -> [ZooKeeperServer] {
        self.servers.filter { (try? $0.monitor()["zk_server_state"]) == "follower" }
    }
}
