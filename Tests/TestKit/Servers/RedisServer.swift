package import Foundation
import LockKernel
import Synchronization

/// A redis-server of a test's own: on a free loopback port and a unix socket, with a data folder of its own.
package final class RedisServer: Sendable {
    package struct Options: Sendable {
        /// More words for the server's command line, such as `["--maxmemory", "10mb"]`.
        package var arguments: [String] = []
        /// Whether what is written survives a restart.
        package var isPersistent = false
        /// Certificates to serve TLS with, on a second port.
        package var certificates: TestCertificates?
        /// More variables for the server's environment.
        package var environment: [String: String] = [:]

        package init(
            arguments: [String] = [],
            isPersistent: Bool = false,
            certificates: TestCertificates? = nil,
            environment: [String: String] = [:]
        ) {
            self.arguments = arguments
            self.isPersistent = isPersistent
            self.certificates = certificates
            self.environment = environment
        }
    }

    package let port: Int
    /// Where TLS is spoken; 0 if nowhere.
    package let tlsPort: Int
    package let folder: URL
    private let options: Options
    private let process = Mutex<ChildProcess?>(nil)

    package var url: String { "redis://127.0.0.1:\(self.port)" }
    package var socketPath: String { self.folder.appending(path: "redis.sock").path }
    package var pid: pid_t { self.process.withLock { $0?.pid ?? 0 } }

    /// The server's program: another one than Debian's, such as Valkey's, where `DLOCK_REDIS_SERVER` has its path.
    package static let program = ProcessInfo.processInfo.environment["DLOCK_REDIS_SERVER"] ?? "redis-server"

    /// Whether there is a server on this machine.
    package static let isInstalled: Bool = {
        if RedisServer.program.hasPrefix("/") { return access(RedisServer.program, X_OK) == 0 }
        return (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").contains {
            access("\($0)/\(RedisServer.program)", X_OK) == 0
        }
    }()

    /// Whether tests against a server run.
    package static var isRequired: Bool { TestScope.isRequired(ifInstalled: Self.isInstalled) }

    package static func withServer<Success>(
        _ options: Options = Options(),
        isolation: isolated (any Actor)? = #isolation,
        _ body: (RedisServer) async throws -> Success
    ) async throws -> Success {
        let server = try await Self.started(options)
        defer { server.remove() }
        return try await body(server)
    }

    private init(_ options: Options) throws {
        self.options = options
        self.folder = temporaryFolder("redis")
        try FileManager.default.createDirectory(at: self.folder, withIntermediateDirectories: true)
        self.port = try FreePort.next()
        self.tlsPort = options.certificates == nil ? 0 : try FreePort.next()
        do {
            try self.launch()
        } catch {
            self.remove()
            throw error
        }
    }

    /// A server on other ports if the first ones were taken in between.
    static func started(_ options: Options) async throws -> RedisServer {
        try await onThread {
            for _ in 0..<2 {
                if let server = try? RedisServer(options) { return server }
            }
            return try RedisServer(options)
        }
    }

    func remove() {
        self.process.withLock { process in
            process?.end()
            process = nil
        }
        try? FileManager.default.removeItem(at: self.folder)
    }

    /// Starts the server, or starts it again, and waits until it answers.
    package func start() async throws { try await onThread { try self.launch() } }

    private func launch() throws {
        var arguments = [
            "--port", "\(self.port)", "--bind", "127.0.0.1", "-::1", "--dir", self.folder.path, "--save", "",
            "--appendonly", self.options.isPersistent ? "yes" : "no", "--appendfsync", "always", "--daemonize", "no",
            "--unixsocket", self.socketPath, "--protected-mode", "no", "--enable-debug-command", "yes",
        ]
        if let certificates = self.options.certificates {
            arguments += [
                "--tls-port", "\(self.tlsPort)", "--tls-cert-file", certificates.certificate.path,
                "--tls-key-file", certificates.key.path, "--tls-ca-cert-file", certificates.authority.path,
                "--tls-auth-clients", "no",
            ]
        }
        arguments += self.options.arguments
        let log = self.folder.appending(path: "log").path
        let variables = self.options.environment.map { "\($0)=\($1)" }
        let child = try ChildProcess("env", variables + [Self.program] + arguments, output: log)
        self.process.withLock { $0 = child }
        let deadline = ContinuousClock.now + .seconds(10)
        while ContinuousClock.now < deadline, !child.hasEnded {
            if let answer = try? self.command("PING"), case .text = answer { return }
            if let answer = try? self.command("PING"), case .error(let text) = answer, !text.hasPrefix("LOADING") {
                return
            }
            usleep(2_000)
        }
        let said = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
        throw TestKitError("redis-server did not start: \(said.suffix(500))")
    }

    /// Ends the server at once.
    package func kill() { self.process.withLock { $0?.end() } }

    /// Ends the server at once and starts it again; without persistence it has forgotten everything.
    package func restart() async throws {
        self.kill()
        try await self.start()
    }

    /// Stops the server's process in its tracks.
    package func stop() throws { try self.process.withLock { try $0?.stop() } }

    /// Lets a stopped server go on.
    package func resume() { self.process.withLock { $0?.signal(SIGCONT) } }

    /// Asks the server, on a connection of its own.
    @discardableResult
    package func command(_ words: String...) throws -> RedisAnswer { try self.command(words) }

    @discardableResult
    package func command(_ words: [String]) throws -> RedisAnswer {
        try self.withConnection { try $0.command(words) }
    }

    /// A plain connection, for conversations.
    package func withConnection<Success>(_ body: (PlainRedisConnection) throws -> Success) throws -> Success {
        let connection = try PlainRedisConnection(port: self.port)
        defer { connection.close() }
        return try body(connection)
    }

    /// How often each command was called, by the server's own count.
    package func commandCalls() throws -> [String: Int] {
        var calls: [String: Int] = [:]
        for line in try self.command("INFO", "commandstats").string.split(whereSeparator: \.isNewline) {
            guard line.hasPrefix("cmdstat_"), let colon = line.firstIndex(of: ":"),
                let start = line.range(of: "calls="), let end = line[start.upperBound...].firstIndex(of: ",")
            else { continue }
            calls[String(line[..<colon].dropFirst("cmdstat_".count))] = Int(line[start.upperBound..<end])
        }
        return calls
    }
}

/// Ports that nothing listens on. Each is given out once.
package enum FreePort {
    private static let given = Mutex<Set<Int>>([])

    package static func next() throws -> Int {
        for _ in 0..<100 {
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            guard descriptor >= 0 else { break }
            defer { close(descriptor) }
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            // Below those that connections are given by the kernel: one of them could take it before the server does.
            address.sin_port = in_port_t.random(in: 15_000..<32_000).bigEndian
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let port = withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer -> Int? in
                    guard bind(descriptor, pointer, length) == 0, getsockname(descriptor, pointer, &length) == 0 else {
                        return nil
                    }
                    return pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                        Int(UInt16(bigEndian: $0.pointee.sin_port))
                    }
                }
            }
            if let port, Self.given.withLock({ $0.insert(port).inserted }) { return port }
        }
        throw TestKitError("there is no free port")
    }
}
