import DistributedLocks
import LockTransport
import Logging
import NIOCore
import TestKit
import Testing

@testable import RedisLocks

/// S13: nothing is left of a backend that has run.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(1)))
struct LeakTests {
    /// What a test lets go of, and looks for.
    private struct Weak<Object: AnyObject> {
        weak var object: Object?
        init(_ object: Object?) { self.object = object }
    }

    @Test func `a backend that has ended lets go of whoever hears of its events, and of itself`() async throws {
        try await RedisServer.withServer { server in
            var log = Weak<EventLog>(nil)
            var gone: Weak<RedisLockBackend>
            do {
                let backend = try RedisLockBackend(port: server.port)
                gone = Weak(backend)
                try await withBackend(backend) { backend, events in
                    log = Weak(events)
                    let claim = try LockClaim(1)
                    _ = try await backend.request(AcquireRequest(claim: claim, joinsQueue: true, deadline: nil))
                    // A second one waits, and has a touch to come.
                    let waiter = try LockClaim(2)
                    _ = try await backend.request(AcquireRequest(claim: waiter, joinsQueue: true, deadline: nil))
                    #expect(log.object != nil)
                }
                try await eventually("it has let go of the log") { log.object == nil }
                #expect(gone.object === backend)
            }
            try await eventually("nobody has the backend") { gone.object == nil }
        }
    }

    @Test func `a Redlock's backend that has ended does, too, with all that it had on its event loop`() async throws {
        try await withRedlock(3) { servers, _ in
            var log = Weak<EventLog>(nil)
            var gone = Weak<RedlockBackend>(nil)
            var core = Weak<RedlockShell>(nil)
            do {
                let backend = try RedlockBackend(
                    servers, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
                gone = Weak(backend)
                let box = backend.store.core
                core = Weak(try await backend.store.eventLoop.submit { UncheckedCore(box.value) }.get().core)
                try await withBackend(backend) { backend, events in
                    log = Weak(events)
                    let claim = try LockClaim(1)
                    _ = try await backend.request(AcquireRequest(claim: claim, joinsQueue: true, deadline: nil))
                    let waiter = try LockClaim(2)
                    _ = try await backend.request(AcquireRequest(claim: waiter, joinsQueue: true, deadline: nil))
                    #expect(log.object != nil && core.object != nil)
                }
                try await eventually("it has let go of the log") { log.object == nil }
                #expect(gone.object === backend)
            }
            try await eventually("nobody has the backend") { gone.object == nil && core.object == nil }
        }
    }

    /// Only to look whether it is still there.
    private struct UncheckedCore: @unchecked Sendable {
        let core: RedlockShell
        init(_ core: RedlockShell) { self.core = core }
    }
}
