import DistributedLocks
import Foundation
import GRDBSQLite
import LockKernel
import Synchronization
import TestKit
import Testing

@testable import EmbeddedLocks

/// The shipped code in several processes, and on several hosts, that are all within this one: whatever it needs from outside comes
/// through its environment.
@Suite(.timeLimit(.minutes(1)))
struct SimulatedHostTests {
    /// Runs a client in a process; what that process left undone is done when the body is over.
    private func withClient(
        _ path: String, in process: SimulatedProcess, vfs: String? = nil, _ body: (LockClient) async throws -> Void
    ) async throws {
        let environment = process.environment(vfs: vfs)
        let client = LockClient(
            backend: EmbeddedLockBackend(
                location: try EmbeddedLocation(path: path, files: environment.files), options: .init(),
                environment: environment),
            configuration: LockClient.Configuration(environment.machine),
            environment: environment.machine)
        let running = Task { try await client.run() }
        let outcome: Result<Void, any Error>
        do { outcome = .success(try await body(client)) } catch { outcome = .failure(error) }
        running.cancel()
        process.clearAway()
        try await running.value
        try outcome.get()
    }

    @Test func `a process that dies without closing anything loses its lock at once to another one`() async throws {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            let host = SimulatedHost("tulip")
            let (first, second) = (SimulatedProcess(11, on: host), SimulatedProcess(12, on: host))
            try await self.withClient(path, in: first) { dying in
                try await self.withClient(path, in: second) { waiter in
                    let handle = try await dying.acquire("a", lease: .seconds(3_600))
                    let waiting = Task { try await waiter.acquire("a", waitingAtMost: .seconds(30)) }
                    try await eventually("one waits") { waiter.queuedCount == 1 }
                    let holder = try await waiter.status(of: "a").holder
                    #expect(holder?.metadata == OwnerMetadata(host: "tulip", pid: 11))
                    try first.die()
                    let next = try await waiting.value
                    #expect(next.token > handle.token)
                    #expect(try await waiter.status(of: "a").holder?.metadata?.pid == 12)
                    try await next.release()
                }
            }
            // None of the sockets was a real one.
            #expect(try FileManager.default.contentsOfDirectory(atPath: path + "-live").isEmpty)
        }
    }

    @Test func `processes of one host hand a lock over and wake each other`() async throws {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            let host = SimulatedHost("tulip")
            try await self.withClient(path, in: SimulatedProcess(11, on: host)) { first in
                try await self.withClient(path, in: SimulatedProcess(12, on: host)) { second in
                    var last: FencingToken?
                    for _ in 0..<20 {
                        let handle = try await first.acquire("a", lease: .seconds(3_600))
                        let waiting = Task {
                            try await second.acquire("a", lease: .seconds(3_600), waitingAtMost: .seconds(30))
                        }
                        try await eventually("one waits") { second.queuedCount == 1 }
                        try await handle.release()
                        let next = try await waiting.value
                        #expect(next.token > handle.token)
                        #expect(last.map { $0 < handle.token } ?? true)
                        last = next.token
                        try await next.release()
                    }
                }
            }
            #expect(host.names(in: path + "-live").isEmpty)
        }
    }

    @Test func `a lock that another process breaks is told to its holder`() async throws {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            let host = SimulatedHost("tulip")
            try await self.withClient(path, in: SimulatedProcess(11, on: host)) { holder in
                try await self.withClient(path, in: SimulatedProcess(12, on: host)) { breaker in
                    let handle = try await holder.acquire("a", lease: .seconds(3_600))
                    _ = try await breaker.breakLock("a")
                    #expect(try await handle.lost() == .broken)
                    try? await handle.release()
                }
            }
        }
    }

    @Test func `a process of another host has no use of the file of one that holds`() async throws {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            let here = SimulatedProcess(11, on: SimulatedHost("tulip"))
            let there = SimulatedProcess(11, on: SimulatedHost("rose"))
            try await self.withClient(path, in: here) { holder in
                let handle = try await holder.acquire("a", lease: .seconds(3_600))
                try await self.withClient(path, in: there) { stranger in
                    let error = await acquireError(stranger)
                    #expect(error?.code == .unreachable)
                    #expect(error?.message.contains("pid 11 on tulip, which holds 'a'") == true, "\(error as Any)")
                }
                try handle.checkValid()
                try await handle.release()
            }
        }
    }

    @Test(arguments: [
        "/proc/sys/kernel/random/boot_id", "/proc/self/mountinfo", "/proc/self/timens_offsets", "/proc/self/ns/time",
    ])
    func `what cannot be read in proc is told, and never guessed`(hidden: String) async throws {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            let process = SimulatedProcess(11, on: SimulatedHost("tulip"), hidden: [hidden])
            try await self.withClient(path, in: process) { client in
                let error = await acquireError(client)
                #expect(error?.code == .invalidConfiguration)
                #expect(error?.message.contains("\(hidden) cannot be read") == true, "\(error as Any)")
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
        }
    }

    @Test func `a file that is mounted by itself in one process is refused there, and used in another`() async throws {
        try await withFolder { folder in
            let path = folder.resolvingSymlinksInPath().path + "/locks.db"
            let host = SimulatedHost("tulip")
            try await self.withClient(path, in: SimulatedProcess(11, on: host)) { first in
                _ = try await token(first)
                try await self.withClient(path, in: SimulatedProcess(12, on: host, mounts: [path: 7])) { second in
                    let error = await acquireError(second)
                    #expect(error?.code == .invalidConfiguration)
                    #expect(error?.message.contains("is mounted by itself") == true, "\(error as Any)")
                }
                _ = try await token(first)
            }
        }
    }

    @Test func `a file is opened by the VFS of its host, also where its path has signs of a URL in it`() async throws {
        let opened = try CountingVFS.register("dlock-counting")
        try await withFolder { folder in
            let path = folder.path + "/what? 100%#.db"
            try await self.withClient(
                path, in: SimulatedProcess(11, on: SimulatedHost("tulip")), vfs: "dlock-counting"
            ) { client in
                _ = try await token(client)
                #expect(opened.withLock { $0 }.contains { $0.hasSuffix("/what? 100%#.db") })
            }
            #expect(FileManager.default.fileExists(atPath: path))
        }
    }
}

/// What stands for the sockets of a host behaves as the kernel's do.
@Suite(.timeLimit(.minutes(1)))
struct SocketTableTests {
    /// What each of a sequence of calls gave: 0, a length, or minus the error.
    private func conversation(_ sockets: any HostSockets, _ folder: String) throws -> [Int] {
        let place = try sockets.openFolder(folder)
        defer { sockets.closeFolder(place) }
        var answers: [Int] = []
        var open: [Int32] = []
        func note(_ call: () throws(HostFailure) -> Int) {
            do { answers.append(try call()) } catch { answers.append(-Int(error.code)) }
        }
        func make(_ kind: SocketKind) throws -> Int32 {
            open.append(try sockets.make(kind))
            return open[open.count - 1]
        }
        func connect(_ kind: SocketKind, _ name: String) throws -> Int32 {
            let socket = try make(kind)
            note { () throws(HostFailure) in
                try sockets.connect(socket, to: name, in: place)
                return 0
            }
            return socket
        }
        // A name that is not there, one that does not listen yet, one that does.
        _ = try connect(.stream, "a")
        let listener = try make(.stream)
        try sockets.bind(listener, to: "hidden", in: place)
        _ = try connect(.stream, "hidden")
        try sockets.listen(listener, limit: 1)
        try sockets.rename("hidden", to: "a", in: place)
        note { () throws(HostFailure) in Int(try sockets.accept(listener)) }
        _ = try connect(.stream, "hidden")
        let first = try connect(.stream, "a")
        _ = try connect(.stream, "a")
        _ = try connect(.stream, "a")
        let accepted = try sockets.accept(listener)
        open.append(accepted)
        _ = try connect(.stream, "a")
        let other = try make(.stream)
        note { () throws(HostFailure) in
            try sockets.bind(other, to: "a", in: place)
            return 0
        }
        // Datagrams.
        let sender = try make(.datagram)
        func send(_ bytes: [UInt8]) {
            note { () throws(HostFailure) in
                try sockets.send(bytes, from: sender, to: "d", in: place)
                return 0
            }
        }
        send([1])
        let receiver = try make(.datagram)
        try sockets.bind(receiver, to: "d", in: place)
        _ = try connect(.datagram, "d")
        var buffer: [UInt8] = [0, 0]
        func receive() {
            note { () throws(HostFailure) in
                try sockets.receive(receiver, into: &buffer) * 1_000 + Int(buffer[0])
            }
        }
        receive()
        send([7])
        send([8, 9, 10])
        receive()
        receive()
        receive()
        answers.append(sockets.names(in: place, atMost: 10).count)
        // The ends.
        sockets.close(receiver)
        send([1])
        _ = try connect(.datagram, "d")
        sockets.close(listener)
        _ = try connect(.stream, "a")
        answers.append(sockets.contains("a", in: place) ? 1 : 0)
        sockets.remove("a", in: place)
        _ = try connect(.stream, "a")
        for socket in open where socket != receiver && socket != listener { sockets.close(socket) }
        _ = first
        return answers
    }

    @Test func `a simulated host's sockets answer as the machine's do`() async throws {
        try await withFolder { folder in
            let process = SimulatedProcess(11, on: SimulatedHost("tulip"))
            let real = try self.conversation(SystemSockets(), folder.path)
            let simulated = try self.conversation(process.environment().sockets, folder.path)
            #expect(simulated == real)
            #expect(real.contains(-Int(ECONNREFUSED)) && real.contains(-Int(EAGAIN)) && real.contains(-Int(ENOENT)))
        }
    }

    @Test func `who watches a connection is told of its end when the other process dies`() async throws {
        try await withFolder { folder in
            let host = SimulatedHost("tulip")
            let (first, second) = (SimulatedProcess(11, on: host), SimulatedProcess(12, on: host))
            let (theirs, mine) = (first.environment().sockets, second.environment().sockets)
            let place = try theirs.openFolder(folder.path)
            let listener = try theirs.make(.stream)
            try theirs.bind(listener, to: "a", in: place)
            try theirs.listen(listener, limit: 8)
            let connections = try (0..<2).map { _ in try mine.make(.stream) }
            for connection in connections { try mine.connect(connection, to: "a", in: place) }
            _ = try theirs.accept(listener)
            let poller = try mine.makePoller(.system)
            let ended = Mutexed(0)
            for connection in connections {
                _ = poller.watch(connection, isOnce: true) { ended.withLock { $0 += 1 } }
            }
            #expect(!connections.contains { host.isReadable($0) })
            try first.die()
            // One that was accepted, and one that never was.
            try await eventually("both ends are told") { ended.withLock { $0 } == 2 }
            #expect(throws: HostFailure(ECONNREFUSED)) {
                try mine.connect(try mine.make(.stream), to: "a", in: place)
            }
        }
    }
}

/// SQLite's own VFS under another name, which notes what is opened by it.
private enum CountingVFS {
    private static let opened = Mutexed<[String]>([])

    static func register(_ name: String) throws -> Mutexed<[String]> {
        let system = try #require(sqlite3_vfs_find(nil))
        let vfs = UnsafeMutablePointer<sqlite3_vfs>.allocate(capacity: 1)
        vfs.initialize(to: system.pointee)
        vfs.pointee.zName = UnsafePointer(strdup(name))
        vfs.pointee.pAppData = UnsafeMutableRawPointer(system)
        vfs.pointee.xOpen = { vfs, name, file, flags, outFlags in
            if let name { CountingVFS.opened.withLock { $0.append(String(cString: name)) } }
            let system = vfs!.pointee.pAppData.assumingMemoryBound(to: sqlite3_vfs.self)
            return system.pointee.xOpen(system, name, file, flags, outFlags)
        }
        try #require(sqlite3_vfs_register(vfs, 0) == SQLITE_OK)
        return Self.opened
    }
}
