package import Foundation
import LockKernel
import Synchronization

/// A PostgreSQL server of a test's own: on a free loopback port, with a data folder of its own.
///
/// It refuses to run as root. Tests that do start it as the user `postgres`, whom Debian's package makes.
package final class PostgresServer: Sendable {
    package let port: Int
    package let folder: URL
    private let process = Mutex<ChildProcess?>(nil)

    package var url: String { "postgres://postgres@127.0.0.1:\(self.port)/postgres" }

    /// Where the server's programs are; `nil` if they are not on this machine.
    private static let binaries: String? = {
        let path = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
        let debian = (12...18).reversed().map { "/usr/lib/postgresql/\($0)/bin" }
        return (debian + path).first { access("\($0)/initdb", X_OK) == 0 }
    }()

    /// Whether tests against a server run.
    package static var isRequired: Bool { TestScope.isRequired(ifInstalled: Self.binaries != nil) }

    package static func withServer<Success>(
        isolation: isolated (any Actor)? = #isolation,
        _ body: (PostgresServer) async throws -> Success
    ) async throws -> Success {
        let server = try PostgresServer()
        do {
            try await server.initialize()
            try await server.start()
            let result = try await body(server)
            await server.remove()
            return result
        } catch {
            await server.remove()
            throw error
        }
    }

    private init() throws {
        self.folder = temporaryFolder("postgres")
        self.port = try FreePort.next()
        try FileManager.default.createDirectory(at: self.folder, withIntermediateDirectories: true)
    }

    private func initialize() async throws {
        if geteuid() == 0 {
            guard let user = getpwnam("postgres") else {
                throw TestKitError("PostgreSQL does not run as root, and there is no user 'postgres'")
            }
            chown(self.folder.path, user.pointee.pw_uid, user.pointee.pw_gid)
        }
        let log = self.folder.appending(path: "initdb.log").path
        let initdb = try Self.child(
            "initdb", ["-D", self.data, "-A", "trust", "-U", "postgres", "-N", "-E", "UTF8", "--locale=C"],
            output: log)
        guard await initdb.waitForEnd() == 0 else { throw TestKitError("initdb failed: \(Self.tail(log))") }
    }

    private var data: String { self.folder.appending(path: "data").path }
    private var log: String { self.folder.appending(path: "log").path }

    private static func tail(_ file: String) -> Substring {
        ((try? String(contentsOfFile: file, encoding: .utf8)) ?? "").suffix(800)
    }

    private static func child(_ program: String, _ arguments: [String], output: String) throws -> ChildProcess {
        guard let binaries = Self.binaries else { throw TestKitError("there is no PostgreSQL on this machine") }
        let words = ["\(binaries)/\(program)"] + arguments
        guard geteuid() == 0 else { return try ChildProcess(words[0], Array(words.dropFirst()), output: output) }
        // A change of user takes back what ChildProcess asked for, so it is asked for again.
        let asPostgres = ["--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig", "KILL", "--"]
        return try ChildProcess("setpriv", asPostgres + words, output: output)
    }

    /// Starts the server, or starts it again, and waits until it answers.
    package func start() async throws {
        do {
            try await eventually(within: .seconds(30), "it answers") {
                // It ends at once while children of a killed predecessor are still there.
                if self.process.withLock({ $0?.hasEnded ?? true }) { try self.launch() }
                return try await self.psql("SELECT 1").status == 0
            }
        } catch {
            throw TestKitError("PostgreSQL did not start: \(error) \(Self.tail(self.log))")
        }
    }

    private func launch() throws {
        let child = try Self.child(
            "postgres",
            [
                "-D", self.data, "-p", "\(self.port)", "-c", "listen_addresses=127.0.0.1", "-c",
                "unix_socket_directories=", "-c", "max_connections=50", "-c", "shared_buffers=16MB",
            ],
            output: self.log)
        self.process.withLock { $0 = child }
    }

    /// Kills the server as a power cut would: nothing is written any more.
    package func kill() { self.process.withLock { $0?.end() } }

    private func remove() async {
        let process = self.process.withLock { process in
            defer { process = nil }
            return process
        }
        // The immediate shutdown, which takes the children along; killing comes after it.
        process?.signal(SIGQUIT)
        _ = await process?.waitForEnd(within: .seconds(5))
        try? FileManager.default.removeItem(at: self.folder)
    }

    /// What psql said and how it ended.
    package struct Result: Sendable {
        package let status: Int32
        /// Rows without headers, columns separated by `|`, then errors as `psql:…: ERROR:  …`, one a line.
        package let output: String

        package var lines: [String] { self.output.split(separator: "\n").map(String.init) }
    }

    /// A script that psql runs.
    package final class Script: Sendable {
        private let child: ChildProcess
        private let files: (script: String, output: String)

        fileprivate init(_ text: String, server: PostgresServer) throws {
            let name = server.folder.appending(path: "psql-\(UUID().uuidString.prefix(12))").path
            self.files = (name + ".sql", name + ".out")
            try text.write(toFile: self.files.script, atomically: false, encoding: .utf8)
            self.child = try ChildProcess(
                "psql",
                [
                    "-X", "-q", "-A", "-t", "-h", "127.0.0.1", "-p", "\(server.port)", "-U", "postgres", "-v",
                    "VERBOSITY=verbose", "-f", self.files.script, "postgres",
                ],
                output: self.files.output)
        }

        /// Waits for the end.
        package func end() async -> Result {
            let status = await self.child.waitForEnd()
            let output = (try? String(contentsOfFile: self.files.output, encoding: .utf8)) ?? ""
            for file in [self.files.script, self.files.output] { try? FileManager.default.removeItem(atPath: file) }
            return Result(status: status, output: output)
        }
    }

    /// Starts psql with a script. It goes on after an error, unless the script says `\set ON_ERROR_STOP on`.
    package func starting(_ script: String) throws -> Script { try Script(script, server: self) }

    /// Runs a script with psql.
    package func psql(_ script: String) async throws -> Result { try await self.starting(script).end() }
}
