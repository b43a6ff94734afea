package import Foundation
import LockKernel
import Synchronization

/// A process that was started for a test and does not outlive it.
///
/// It is started with an empty signal mask: threads of the pool block signals, and children would inherit that. On Linux
/// `setpriv` has the kernel kill it if this process dies; the thread that starts children therefore never ends.
package final class ChildProcess: Sendable {
    package let pid: pid_t
    /// What `waitpid` told, when it has ended.
    private let status = Mutex<Int32?>(nil)

    package init(_ executable: String, _ arguments: [String], output: String = "/dev/null") throws {
        self.pid = try Self.starter.run {
            var attributes = posix_spawnattr_t()
            posix_spawnattr_init(&attributes)
            defer { posix_spawnattr_destroy(&attributes) }
            var empty = sigset_t()
            sigemptyset(&empty)
            posix_spawnattr_setsigmask(&attributes, &empty)
            posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
            var actions = posix_spawn_file_actions_t()
            posix_spawn_file_actions_init(&actions)
            defer { posix_spawn_file_actions_destroy(&actions) }
            posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
            posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o600)
            posix_spawn_file_actions_adddup2(&actions, 1, 2)
            // Pipes of other tests must not be kept open by this child. Closing what is not open is no error here.
            for descriptor in 3..<Int32(1_024) { posix_spawn_file_actions_addclose(&actions, descriptor) }
            var words = [executable] + arguments
            #if os(Linux)
            words = ["setpriv", "--pdeathsig", "KILL"] + words
            #endif
            let argv = words.map { strdup($0) } + [nil]
            defer { for word in argv { free(word) } }
            var pid: pid_t = 0
            let error = posix_spawnp(&pid, words[0], &actions, &attributes, argv, environ)
            guard error == 0 else { throw TestKitError("\(words[0]): \(String(cString: strerror(error)))") }
            return pid
        }
    }

    package func signal(_ number: Int32) { kill(self.pid, number) }

    /// Comes back when it stands still: see ``stopProcess(_:)``.
    package func stop() throws { try stopProcess(self.pid) }

    /// Whether it has ended by itself.
    package var hasEnded: Bool {
        self.status.withLock { known in
            if known != nil { return true }
            var status: Int32 = 0
            if waitpid(self.pid, &status, WNOHANG) == self.pid { known = status }
            return known != nil
        }
    }

    /// Kills it, if it has not ended, and waits for its end.
    package func end() {
        self.status.withLock { known in
            guard known == nil else { return }
            kill(self.pid, SIGKILL)
            var status: Int32 = 0
            while waitpid(self.pid, &status, 0) == -1 && errno == EINTR {}
            known = status
        }
    }

    /// Waits until it has ended by itself; kills it when it has not within the limit.
    ///
    /// - Returns: its exit code, or 128 and the signal that ended it.
    package func waitForEnd(within limit: Duration = .seconds(60)) async -> Int32 {
        try? await eventually(within: limit, "it has ended") { self.hasEnded }
        self.end()
        let status = self.status.withLock { $0 } ?? 0
        return status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + (status & 0x7F)
    }

    deinit { self.end() }

    private static let starter = PermanentThread()
}

/// A thread that never ends, and runs what it is given.
private final class PermanentThread: Sendable {
    private struct State {
        var work: [@Sendable () -> Void] = []
    }

    private let state = Mutex(State())
    private let wakeup = DispatchSemaphore(value: 0)

    init() {
        Thread.detachNewThread { [self] in
            while true {
                self.wakeup.wait()
                let work = self.state.withLock { $0.work.removeFirst() }
                work()
            }
        }
    }

    func run<Success: Sendable>(_ body: @escaping @Sendable () throws -> Success) throws -> Success {
        let result = Mutex<Result<Success, any Error>?>(nil)
        let done = DispatchSemaphore(value: 0)
        self.state.withLock { state in
            state.work.append {
                let outcome = Result { try body() }
                result.withLock { $0 = outcome }
                done.signal()
            }
        }
        self.wakeup.signal()
        done.wait()
        guard let outcome = result.withLock({ $0 }) else { preconditionFailure("work without an outcome") }
        return try outcome.get()
    }
}

package struct TestKitError: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}
