package import Foundation
import LockKernel

/// Stops a process (SIGSTOP), and comes back when all of its threads stand still.
///
/// `kill` comes back before that: the other threads go on until one of them has taken the signal, and act on what is done
/// next. One that stands still in the middle of an SQLite transaction is let go on and stopped again: no other process
/// can use that file until it goes on, which is documented and which no test of a stopped holder or waiter is about.
package func stopProcess(_ pid: pid_t) throws {
    let deadline = ContinuousClock.now + .seconds(20)
    repeat {
        guard kill(pid, SIGSTOP) == 0 else { throw TestKitError("process \(pid) cannot be stopped") }
        while try !standsStill(pid) {
            guard ContinuousClock.now < deadline else { throw TestKitError("process \(pid) does not stop") }
            usleep(200)
        }
        if try !holdsFileLock(pid) { return }
        kill(pid, SIGCONT)
        usleep(200)
    } while ContinuousClock.now < deadline
    throw TestKitError("process \(pid) is in a transaction whenever it is stopped")
}

/// Whether each of its threads is stopped: the state stands behind the name, which is in parentheses.
private func standsStill(_ pid: pid_t) throws -> Bool {
    let folder = "/proc/\(pid)/task"
    return try FileManager.default.contentsOfDirectory(atPath: folder).allSatisfy { thread in
        // A thread that has ended since does not run.
        guard let text = try? String(contentsOfFile: "\(folder)/\(thread)/stat", encoding: .utf8),
            let name = text.lastIndex(of: ")")
        else { return true }
        return ["T", "t"].contains(text[name...].dropFirst(2).prefix(1))
    }
}

/// Whether it has a file locked for writing, as who writes to an SQLite file has.
private func holdsFileLock(_ pid: pid_t) throws -> Bool {
    try String(contentsOfFile: "/proc/locks", encoding: .utf8).split(separator: "\n").contains { line in
        let words = line.split(separator: " ")
        return words.contains("POSIX") && words.contains("WRITE") && words.contains(Substring("\(pid)"))
    }
}
