import DistributedLocks
import Foundation
import LockKernel
import Synchronization
import TestKit
import Testing

@testable import EmbeddedLocks

/// E8: being seen alive, and being seen dead at once.
@Suite(.timeLimit(.minutes(3)))
struct LivenessTests {
    @Test(.enabled(if: NetworkNamespaces.isPossible, "only root makes namespaces"))
    func `a holder whose queue of connections is short is found dead at once after hundreds of waits and tries`()
        async throws
    {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            let script = #"echo 8 > /proc/sys/net/core/somaxconn && exec "$@""#
            let holder = try AgentProcess(
                url: "embedded://\(path)", name: "a", lease: .seconds(60),
                prefix: ["unshare", "-n", "sh", "-c", script, "sh"])
            defer { holder.end() }
            try await eventually("it holds") { holder.said("held") }
            try await withClient(path) { client in
                for _ in 0..<200 {
                    #expect(try await client.acquireIfAvailable("a") == nil)
                    await #expect(throws: LockError.self) {
                        _ = try await client.acquire("a", waitingAtMost: .milliseconds(2))
                    }
                }
                let waiting = Task { try await client.acquire("a") }
                try await eventually("one waits") { client.queuedCount == 1 }
                let killed = ContinuousClock.now
                holder.signal(SIGKILL)
                let next = try await waiting.value
                // The lease would have it wait for a minute.
                #expect(ContinuousClock.now - killed < .seconds(10))
                try await next.release()
            }
        }
    }

    @Test func `connections whose other side is gone are let go of`() async throws {
        try await withFolder { folder in
            let sockets = try SocketFolder(path: folder.path + "/live", on: .system)
            let own = ParticipantID(rawValue: 7)
            let socket = try LivenessSocket(
                own, in: sockets, poller: SystemPoller(.system), timers: SystemThreads().makeQueue("test"))
            defer { socket.shutDown(leavingName: false) }
            for _ in 0..<100 {
                let connections = try (0..<20).map { _ in try self.connect(own, sockets) }
                for connection in connections { close(connection) }
            }
            let staying = try self.connect(own, sockets)
            try await eventually("one is left") { socket.connectionCount == 1 }
            close(staying)
            try await eventually("none is left") { socket.connectionCount == 0 }
        }
    }

    @Test func `more connections than allowed are left in the queue, and taken when there is room`() async throws {
        try await withFolder { folder in
            let sockets = try SocketFolder(path: folder.path + "/live", on: .system)
            let own = ParticipantID(rawValue: 7)
            let socket = try LivenessSocket(
                own, in: sockets, poller: SystemPoller(.system), timers: SystemThreads().makeQueue("test"),
                maximumConnections: 3)
            let connections = try (0..<6).map { _ in try self.connect(own, sockets) }
            try await eventually("three are taken") { socket.connectionCount == 3 }
            for connection in connections[0..<5] { close(connection) }
            try await eventually("the last one is taken, and kept") { socket.connectionCount == 1 }
            #expect(!self.hasEnded(connections[5]))
            socket.shutDown(leavingName: true)
            // All see the end, accepted or not.
            try await eventually("it ends") { self.hasEnded(connections[5]) }
            try await eventually("it is dead") { LivenessTest.isDead(own, in: sockets) }
        }
    }

    @Test func `a connection that ends while somebody else listens is no death`() async throws {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            let (backend, running) = try await self.backendWithLock(path)
            // As the watchdog of `dlock run` does: it has the listener, and nothing else.
            let listener = dup(try #require(backend.livenessDescriptors.first))
            try await withClient(path) { waiter in
                let waiting = Task { try await waiter.acquire("a") }
                try await eventually("one waits") { waiter.queuedCount == 1 }
                // The client ends without having released its lock. Its connections end, and are made anew.
                running.cancel()
                try await running.value
                for _ in 0..<20 {
                    #expect(try await waiter.acquireIfAvailable("a") == nil)
                    try await Task.sleep(for: .milliseconds(10))
                }
                #expect(waiter.queuedCount == 1)
                close(listener)
                let before = ContinuousClock.now
                let next = try await waiting.value
                #expect(ContinuousClock.now - before < .seconds(20))
                try await next.release()
            }
        }
    }

    @Test func `who ends with a lock that it could not release looks dead, and is no hindrance`() async throws {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            let (_, running) = try await self.backendWithLock(path)
            running.cancel()
            try await running.value
            try await withClient(path) { client in
                let handle = try #require(try await client.acquireIfAvailable("a"))
                try await handle.release()
            }
            // And what it left behind is cleared away by and by.
            try await eventually("nothing is left") {
                try await withClient(path) { _ = try await token($0) }
                return try FileManager.default.contentsOfDirectory(atPath: path + "-live").isEmpty
            }
        }
    }

    /// A backend that holds "a" and is asked for nothing more.
    private func backendWithLock(_ path: String) async throws -> (EmbeddedLockBackend, Task<Void, any Error>) {
        struct Sink: LockEventSink { func receive(_ event: LockEvent) {} }
        let backend = EmbeddedLockBackend(location: try EmbeddedLocation(path: path))
        backend.start(delivering: Sink())
        let running = Task { try await backend.run() }
        var generator = SystemRandomNumberGenerator()
        let claim = LockClaim(
            attempt: AttemptID(rawValue: 1),
            name: try LockName("a"),
            owner: LockOwner(secret: LockOwner.Secret(using: &generator), metadata: .current()),
            lease: .seconds(60)
        )
        let reply = try await backend.request(AcquireRequest(claim: claim, joinsQueue: false, deadline: nil))
        guard case .granted = reply else { throw TestKitError("not granted") }
        return (backend, running)
    }

    @Test func `a datagram that says a lock was broken is not believed`() async throws {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            try await withClient(path) { client in
                let handle = try await client.acquire("a", lease: .seconds(60))
                let name = try #require(
                    FileManager.default.contentsOfDirectory(atPath: path + "-live").first { $0.hasSuffix(".wake") })
                let number = try #require(UInt64(name.prefix { $0 != "." }, radix: 16))
                let sockets = try SocketFolder(path: path + "-live", on: .system)
                let sender = try WakeSocket(ParticipantID(rawValue: 1), in: sockets, poller: SystemPoller(.system)) {
                    _, _ in
                }
                defer { sender.shutDown(leavingName: false) }
                let lock = try LockName("a")
                func say(_ attempt: UInt64) async throws {
                    let address = ClaimAddress(
                        participant: ParticipantID(rawValue: Int64(bitPattern: number)),
                        attempt: AttemptID(rawValue: attempt))
                    try await eventually("it is sent") {
                        if case .sent = sender.send(Notice(kind: .broken, name: lock, address: address)) {
                            true
                        } else {
                            false
                        }
                    }
                }
                for attempt in 0..<300 { try await say(UInt64(attempt)) }
                // A lock that is broken in truth is told, and what was sent before it has been read by then.
                try await withClient(path) { other in
                    let second = try await client.acquire("b", lease: .seconds(60))
                    _ = try await other.breakLock("b")
                    #expect(try await second.lost() == .broken)
                    try? await second.release()
                }
                try handle.checkValid()
                try await handle.release()
            }
        }
    }

    private func connect(_ participant: ParticipantID, _ folder: SocketFolder) throws -> Int32 {
        guard case .alive(let descriptor) = LivenessTest.test(participant, in: folder) else {
            throw TestKitError("it does not live")
        }
        return descriptor
    }

    private func hasEnded(_ descriptor: Int32) -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, 0) > 0
    }
}
