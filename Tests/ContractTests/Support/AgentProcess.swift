import DistributedLocks
import Foundation
import Synchronization

/// A running contract-agent.
final class AgentProcess: Sendable {
    private struct State {
        var lines: [String] = []
        var isOver = false
    }

    let pid: pid_t
    private let process: Mutex<Process>
    private let input: Pipe
    private let state = Mutex(State())

    init(url: String, name: String, lease: Duration) throws {
        let process = Process()
        process.executableURL = Self.folder.appending(path: "contract-agent")
        process.arguments = [url, name, String(Int(lease / .milliseconds(1)))]
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
                    self?.state.withLock { $0.lines.append(line) }
                }
            }
            self?.state.withLock { $0.isOver = true }
        }
    }

    /// Where the package's executables are: beside the test bundle.
    private static var folder: URL {
        URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    }

    var lines: [String] { self.state.withLock { $0.lines } }
    var isOver: Bool { self.state.withLock { $0.isOver } }

    func said(_ word: String) -> Bool { self.lines.contains { $0 == word || $0.hasPrefix(word + " ") } }

    var token: FencingToken? {
        self.lines.first { $0.hasPrefix("held ") }.flatMap { FencingToken(String($0.dropFirst(5))) }
    }

    func signal(_ number: Int32) { kill(self.pid, number) }

    func letGo() { try? self.input.fileHandleForWriting.close() }

    /// Ends the process if it has not ended.
    func end() {
        self.process.withLock { process in
            if process.isRunning {
                kill(self.pid, SIGKILL)
                process.waitUntilExit()
            }
        }
    }
}
