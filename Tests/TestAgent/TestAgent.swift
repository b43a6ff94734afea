import DistributedLocks
import Foundation
import LockURLs

/// A process that holds or waits for a lock as a service would, and says what it believes, for tests that stop and kill
/// it.
///
/// `test-agent URL NAME LEASE-MS`: writes `asking`, then `held TOKEN`, then `valid` a hundred times a second for as
/// long as `checkValid()` succeeds, `stale` when it fails first, and at last `lost REASON`, `released` or
/// `failed CODE MESSAGE`. It lets go when its standard input ends. Other modes are in the files beside this one.
@main
struct TestAgent {
    @concurrent
    static func main() async throws {
        let arguments = CommandLine.arguments
        if arguments.count > 1, arguments[1] == "--supervise" {
            exit(await SupervisionAgent(arguments.dropFirst(2)).run())
        }
        if arguments.count == 5, arguments[1] == "--load", let names = Int(arguments[3]), let lease = Int(arguments[4])
        {
            try await Load(names: names, lease: .milliseconds(lease)).run(url: arguments[2])
            exit(0)
        }
        if arguments.count == 6, arguments[1] == "--waiters", let count = Int(arguments[4]),
            let lease = Int(arguments[5])
        {
            try await Waiters(name: arguments[3], count: count, lease: .milliseconds(lease)).run(url: arguments[2])
            exit(0)
        }
        if arguments.count == 6, arguments[1] == "--pollers", let clients = Int(arguments[4]),
            let tasks = Int(arguments[5])
        {
            await Pollers(name: arguments[3], clients: clients, tasks: tasks).run(url: arguments[2])
            exit(0)
        }
        if arguments.count == 4, arguments[1] == "--beat", let lease = Int(arguments[3]) {
            try await Beat(lease: .milliseconds(lease)).run(url: arguments[2])
            exit(0)
        }
        if arguments.count == 5, arguments[1] == "--busy", let lease = Int(arguments[3]), let time = Int(arguments[4]) {
            try await BusyPool(lease: .milliseconds(lease), time: .milliseconds(time)).run(url: arguments[2])
        }
        if arguments.count == 4, arguments[1] == "--churn", let clients = Int(arguments[3]) {
            try await Churn(clients: clients).run(url: arguments[2])
            exit(0)
        }
        guard arguments.count == 4, let lease = Int(arguments[3]) else {
            FileHandle.standardError.write(Data("usage: test-agent URL NAME LEASE-MS\n".utf8))
            exit(64)
        }
        try await withLockClient(arguments[1]) { locks in
            Self.say("asking")
            do {
                try await locks.withLock(arguments[2], lease: .milliseconds(lease)) { held in
                    Self.say("held \(held.token)")
                    try await Self.reportValidity(of: held)
                }
                Self.say("released")
            } catch let error as LockError where error.code == .lost {
                Self.say("lost \(error.lossReason?.rawValue ?? "")")
            } catch let error as LockError {
                Self.say("failed \(error.code) \(error.message)")
            }
        }
        exit(0)
    }

    private static func reportValidity(of held: borrowing HeldLock) async throws {
        while !Task.isCancelled && !Self.inputHasEnded() {
            guard held.isValid else {
                Self.say("stale")
                return
            }
            Self.say("valid")
            try? await Task.sleep(for: .milliseconds(10))
        }
        if !held.isValid { Self.say("stale") }
    }

    /// Whether standard input was closed by the test.
    static func inputHasEnded() -> Bool {
        var entry = pollfd(fd: 0, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, 0) > 0 && entry.revents & Int16(POLLHUP) != 0
    }

    static func say(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        _ = write(1, bytes, bytes.count)
    }
}
