package import Foundation
import LockKernel
import Synchronization

/// A running test-agent.
package final class AgentProcess: Sendable {
    private struct State {
        var lines: [String] = []
        var times: [ContinuousClock.Instant] = []
        var isOver = false
    }

    package let pid: pid_t
    private let process: Mutex<Process>
    private let input: Pipe
    private let state = Mutex(State())

    /// - Parameter words: stand before the command, such as `["ip", "netns", "exec", "a"]`.
    package convenience init(url: String, name: String, lease: Duration, prefix words: [String] = []) throws {
        try self.init([url, name, String(Int(lease / .milliseconds(1)))], prefix: words)
    }

    /// One that takes and gives back locks all the time: see TestAgent/Load.swift.
    package static func load(url: String, names: Int, lease: Duration) throws -> AgentProcess {
        try AgentProcess(["--load", url, "\(names)", String(Int(lease / .milliseconds(1)))])
    }

    /// One whose tasks wait for one lock: see TestAgent/Waiters.swift.
    package static func waiters(
        _ count: Int,
        url: String,
        name: String,
        lease: Duration,
        prefix words: [String] = []
    ) throws -> AgentProcess {
        try AgentProcess(
            ["--waiters", url, name, "\(count)", String(Int(lease / .milliseconds(1)))], prefix: words)
    }

    /// One whose tasks ask for one lock without waiting: see TestAgent/Pollers.swift.
    package static func pollers(clients: Int, tasks: Int, url: String, name: String) throws -> AgentProcess {
        try AgentProcess(["--pollers", url, name, "\(clients)", "\(tasks)"])
    }

    /// One that measures how long its main actor stands still: see TestAgent/Beat.swift.
    package static func beat(url: String, lease: Duration, prefix words: [String] = []) throws -> AgentProcess {
        try AgentProcess(["--beat", url, String(Int(lease / .milliseconds(1)))], prefix: words)
    }

    /// One that holds a lock while its pool is busy: see TestAgent/BusyPool.swift.
    package static func busyPool(url: String, lease: Duration, time: Duration) throws -> AgentProcess {
        try AgentProcess(["--busy", url, "\(Int(lease / .milliseconds(1)))", "\(Int(time / .milliseconds(1)))"])
    }

    /// One that makes and ends clients: see TestAgent/Churn.swift.
    package static func churn(url: String, clients: Int) throws -> AgentProcess {
        try AgentProcess(["--churn", url, "\(clients)"])
    }

    private init(_ arguments: [String], prefix words: [String] = []) throws {
        let process = Process()
        let agent = Self.folder.appending(path: "test-agent").path
        let command = ["env"] + words + [agent] + arguments
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = Array(command.dropFirst())
        let output = Pipe()
        let input = Pipe()
        process.standardOutput = output
        process.standardInput = input
        try process.run()
        self.pid = process.processIdentifier
        self.process = Mutex(process)
        self.input = input
        // The parent's copies of the child's ends are closed by Process.
        let reading = output.fileHandleForReading
        Thread.detachNewThread { [weak self] in
            var rest = Data()
            while case let data = reading.availableData, !data.isEmpty {
                rest.append(data)
                while let newline = rest.firstIndex(of: 0x0A) {
                    let line = String(decoding: rest[rest.startIndex..<newline], as: UTF8.self)
                    rest.removeSubrange(rest.startIndex...newline)
                    self?.state.withLock { state in
                        state.lines.append(line)
                        state.times.append(.now)
                    }
                }
            }
            self?.state.withLock { $0.isOver = true }
        }
    }

    /// Where the package's executables are: beside the test bundle.
    package static var folder: URL {
        URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    }

    package var lines: [String] { self.state.withLock { $0.lines } }
    package var isOver: Bool { self.state.withLock { $0.isOver } }

    package func count(of word: String) -> Int { self.lines.count { $0 == word || $0.hasPrefix(word + " ") } }

    /// The number that stands behind a word, the last time that it was said.
    package func number(of word: String) -> Int? {
        self.lines.last { $0.hasPrefix(word + " ") }.flatMap { Int($0.dropFirst(word.count + 1)) }
    }

    package func said(_ word: String) -> Bool { self.lines.contains { $0 == word || $0.hasPrefix(word + " ") } }

    /// When it was read that it said a word for the first time, or the last time.
    package func time(of word: String, last: Bool = false) -> ContinuousClock.Instant? {
        self.state.withLock { state in
            let isIt = { (line: String) in line == word || line.hasPrefix(word + " ") }
            let index = last ? state.lines.lastIndex(where: isIt) : state.lines.firstIndex(where: isIt)
            return index.map { state.times[$0] }
        }
    }

    /// The token of its grant, in decimal digits.
    package var tokenText: String? {
        self.lines.first { $0.hasPrefix("held ") }.map { String($0.dropFirst(5)) }
    }

    package func signal(_ number: Int32) { kill(self.pid, number) }

    /// Comes back when it stands still: see ``stopProcess(_:)``.
    package func stop() throws { try stopProcess(self.pid) }

    package func letGo() { try? self.input.fileHandleForWriting.close() }

    /// Ends the process if it has not ended.
    package func end() {
        self.process.withLock { process in
            if process.isRunning {
                kill(self.pid, SIGKILL)
                process.waitUntilExit()
            }
        }
    }
}
