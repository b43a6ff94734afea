import DistributedLocks
import Foundation
import Subprocess

/// What a worker process is told to do, in one line of JSON on its standard input: a backend's password must not stand
/// in `argv`.
///
/// The worker answers in lines of text:
///
/// | order | worker says | is told | says then |
/// |---|---|---|---|
/// | `contend` | `ready` | `go INSTANT`: begin at that instant of ``BenchClock`` | its report |
/// | `hold` | `held TOKEN` | nothing; it is killed | |
/// | `wait` | | | its report |
///
/// A report is one line of JSON (``WorkerReport``) and as many bytes as that says. A worker that is told nothing more ends
/// when its standard input does, and one that measures when its time is over: none is left behind when dlock is killed.
struct WorkerOrder: Codable, Sendable {
    enum Task: String, Codable, Sendable {
        /// Takes one lock over and over, together with others.
        case contend
        /// Takes the lock and keeps it.
        case hold
        /// Lets many wait for one lock.
        case wait
    }

    var task: Task
    var name: String
    var workers: Int
    var settings: BenchSettings
}

/// What a worker process has done.
struct WorkerReport: Codable, Sendable {
    struct Failed: Codable, Sendable {
        var status: Int32
        var message: String
    }

    var failed: Failed?
    /// How many cycles each worker did. They follow in this order, see ``LoggedCycle/encode(_:)``.
    var cycles: [Int] = []
    /// How many bytes follow.
    var byteCount = 0
    var idle: IdleRound?
}

/// A worker process, for as long as the body of ``run(_:body:)`` lasts.
struct BenchChild {
    private let execution: Execution<CustomWriteInput, SequenceOutput, FileDescriptorOutput>
    private var output: SubprocessOutputSequence.Iterator
    private var buffer: [UInt8] = []

    private init(_ execution: Execution<CustomWriteInput, SequenceOutput, FileDescriptorOutput>) {
        self.execution = execution
        self.output = execution.standardOutput.makeAsyncIterator()
    }

    /// Starts a worker, and ends it when the body has ended or its time is over.
    @concurrent
    static func run<Success: Sendable>(
        _ order: WorkerOrder,
        body: @escaping @concurrent @Sendable (inout BenchChild) async throws -> Success
    ) async throws -> Success {
        let text = String(decoding: try JSONEncoder().encode(order), as: UTF8.self) + "\n"
        return try await withThrowingTaskGroup(of: Success.self) { group in
            group.addTask { @concurrent in
                try await Subprocess.run(
                    Self.executable,
                    arguments: ["bench-worker"],
                    input: .inputWriter,
                    output: .sequence,
                    error: .currentStandardError
                ) { execution in
                    var child = BenchChild(execution)
                    let result: Result<Success, any Error>
                    do {
                        try await child.write(text)
                        result = .success(try await body(&child))
                    } catch {
                        result = .failure(error)
                    }
                    // It has ended by itself, or there is no use for it any more.
                    try? execution.send(signal: .kill)
                    return result
                }.closureResult.get()
            }
            group.addTask { @concurrent in
                try await Task.sleep(for: order.settings.patience * 2 + .seconds(30))
                throw Failure(status: ExitStatus.unavailable, message: "a worker process of the measurement hangs")
            }
            defer { group.cancelAll() }
            guard let first = try await group.next() else { preconditionFailure("a group of two tasks has a result") }
            return first
        }
    }

    private static var executable: Executable {
        #if os(Linux)
        // Also when the file has been replaced meanwhile.
        .path(Self.made(of: "/proc/self/exe"))
        #else
        .path(Self.made(of: Bundle.main.executablePath ?? CommandLine.arguments[0]))
        #endif
    }

    /// Makes a `FilePath` without importing the module that it is from, which differs between platforms.
    private static func made<Value: ExpressibleByStringLiteral>(
        of text: String
    ) -> Value where Value.StringLiteralType == String {
        Value(stringLiteral: text)
    }

    func write(_ text: String) async throws {
        _ = try await self.execution.standardInputWriter.write(text)
    }

    /// As a crash does it: nothing of the worker runs any more.
    func kill() throws {
        try self.execution.send(signal: .kill)
    }

    /// The next line, without its end.
    mutating func line() async throws -> String {
        var searched = 0
        while true {
            if let end = self.buffer[searched...].firstIndex(of: UInt8(ascii: "\n")) {
                let line = String(decoding: self.buffer[..<end], as: UTF8.self)
                self.buffer.removeFirst(end + 1)
                return line
            }
            searched = self.buffer.count
            try await self.readMore()
        }
    }

    /// Reads a report. Throws what the worker failed with.
    mutating func report() async throws -> (report: WorkerReport, cycles: [[LoggedCycle]]) {
        let report = try Self.decoded(try await self.line())
        while self.buffer.count < report.byteCount { try await self.readMore() }
        guard let all = LoggedCycle.decode(Array(self.buffer.prefix(report.byteCount))),
            all.count == report.cycles.reduce(0, +)
        else { throw Self.unintelligible }
        var rest = all[...]
        let cycles = report.cycles.map { count in
            defer { rest = rest.dropFirst(count) }
            return Array(rest.prefix(count))
        }
        return (report, cycles)
    }

    /// The next line, unless it is the report of a failure.
    mutating func answer(_ word: String) async throws -> String {
        let line = try await self.line()
        guard line.hasPrefix(word) else {
            _ = try Self.decoded(line)
            throw Self.unintelligible
        }
        return String(line.dropFirst(word.count).drop { $0 == " " })
    }

    private static func decoded(_ line: String) throws -> WorkerReport {
        guard let report = try? JSONDecoder().decode(WorkerReport.self, from: Data(line.utf8)) else {
            throw Self.unintelligible
        }
        if let failed = report.failed { throw Failure(status: failed.status, message: failed.message) }
        return report
    }

    private static var unintelligible: Failure {
        Failure(status: ExitStatus.violation, message: "a worker process of the measurement cannot be understood")
    }

    private mutating func readMore() async throws {
        guard let chunk = try await self.output.next() else {
            throw Failure(
                status: ExitStatus.unavailable, message: "a worker process of the measurement ended too early")
        }
        chunk.withUnsafeBytes { self.buffer.append(contentsOf: $0) }
    }
}
