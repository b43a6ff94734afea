import Foundation
import TestKit
import Testing

/// Runs the real dlock as a user would, with state of its own.
struct Shell {
    struct Output {
        let status: Int32
        let out: String
        let error: String
    }

    let folder: URL

    static var dlock: String {
        URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().appending(path: "dlock")
            .path
    }

    static func with(_ body: (Shell) async throws -> Void) async throws {
        let folder = temporaryFolder("tool")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try await body(Shell(folder: folder))
    }

    /// Starts a script in which $D is dlock.
    func start(_ script: String, environment: [String: String] = [:]) throws -> Running {
        try Running(script, folder: self.folder, environment: environment)
    }

    /// Runs a script to its end.
    func run(_ script: String, environment: [String: String] = [:]) async throws -> Output {
        let running = try self.start(script, environment: environment)
        return await running.end()
    }

    final class Running: Sendable {
        let pid: pid_t
        private let ended: Task<Output, Never>

        init(_ script: String, folder: URL, environment: [String: String]) throws {
            var all = ProcessInfo.processInfo.environment
            all["XDG_STATE_HOME"] = folder.path
            all["D"] = Shell.dlock
            all["DLOCK_BACKEND"] = nil
            all["DLOCK_HELD"] = nil
            all.merge(environment) { $1 }
            // Files, not pipes: what a killed dlock leaves behind must not keep the test waiting.
            let id = UUID().uuidString
            let (out, error) = (folder.appending(path: ".out-\(id)"), folder.appending(path: ".error-\(id)"))
            let pid = try Self.spawn(
                "cd '\(folder.path)'\n" + script, environment: all, out: out.path, error: error.path)
            self.pid = pid
            let (stream, continuation) = AsyncStream.makeStream(of: Int32.self, bufferingPolicy: .bufferingNewest(1))
            Thread.detachNewThread {
                var status: Int32 = 0
                while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
                continuation.yield(status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + (status & 0x7F))
                continuation.finish()
            }
            self.ended = Task {
                var status: Int32 = -1
                for await value in stream { status = value }
                return Output(
                    status: status,
                    out: (try? String(contentsOf: out, encoding: .utf8)) ?? "",
                    error: (try? String(contentsOf: error, encoding: .utf8)) ?? ""
                )
            }
        }

        func end() async -> Output { await self.ended.value }

        /// As a shell would: with no signal blocked or ignored. Foundation's Process hands on the mask of a pool's
        /// thread, which blocks them all.
        private static func spawn(
            _ script: String,
            environment: [String: String],
            out: String,
            error: String
        ) throws -> pid_t {
            var attributes = posix_spawnattr_t()
            posix_spawnattr_init(&attributes)
            defer { posix_spawnattr_destroy(&attributes) }
            var (none, all) = (sigset_t(), sigset_t())
            sigemptyset(&none)
            sigfillset(&all)
            posix_spawnattr_setsigmask(&attributes, &none)
            posix_spawnattr_setsigdefault(&attributes, &all)
            posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
            var actions = posix_spawn_file_actions_t()
            posix_spawn_file_actions_init(&actions)
            defer { posix_spawn_file_actions_destroy(&actions) }
            posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
            posix_spawn_file_actions_addopen(&actions, 1, out, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
            posix_spawn_file_actions_addopen(&actions, 2, error, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
            // Nothing of this process's: not what other tests have open.
            for descriptor in 3..<Int32(1_024) { posix_spawn_file_actions_addclose(&actions, descriptor) }
            let words: [String] = ["/bin/sh", "-c", script]
            var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
            var variables: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
            defer { for string in arguments + variables { free(string) } }
            var pid: pid_t = 0
            let code = posix_spawn(&pid, "/bin/sh", &actions, &attributes, &arguments, &variables)
            guard code == 0 else { throw POSIXError(POSIXErrorCode(rawValue: code) ?? .EINVAL) }
            return pid
        }
    }

    func contents(_ name: String) -> String? {
        try? String(contentsOf: self.folder.appending(path: name), encoding: .utf8)
    }

    /// What `dlock status NAME --json` says.
    func status(_ name: String) async throws -> Status {
        let output = try await self.run("exec \"$D\" status --json '\(name)'")
        try #require(output.status == 0, "\(output.error)")
        let report = try JSONDecoder().decode(Report.self, from: Data(output.out.utf8))
        let status = try #require(report.locks.first)
        #expect(status.holders.map(\.token) == (status.holder.map { [$0.token] } ?? []))
        return status
    }

    struct Report: Decodable { let locks: [Status] }
    struct Status: Decodable {
        struct Owner: Decodable {
            let pid: pid_t
            let label: String?
        }
        struct Holder: Decodable {
            let owner: Owner?
            let token: String?
        }
        struct Waiter: Decodable { let owner: Owner? }
        /// The first of `holders`.
        let holder: Holder?
        let holders: [Holder]
        let waiters: [Waiter]
        let lastToken: String?
    }
}
