import DistributedLocks
import Synchronization
import TestKit
import Testing

@testable import RedisLocks

/// A fixed address behind which another server is the master by now: that of a managed service, a name, a virtual address.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(2)))
struct MovedMasterTests {
    /// Two servers, and an address that names the first one.
    private static func withAddress(
        _ body: (_ old: RedisServer, _ new: RedisServer, _ address: TCPProxy) async throws -> Void
    ) async throws {
        let options = RedisServer.Options(arguments: ["--repl-diskless-sync-delay", "0"])
        try await RedisServer.withServer(options) { old in
            try await RedisServer.withServer(options) { new in
                try await TCPProxy.withProxy(toPort: old.port) { try await body(old, new, $0) }
            }
        }
    }

    /// Makes a server the replica of another, and waits until it has its data.
    private static func replicate(_ master: RedisServer, by replica: RedisServer) async throws {
        try replica.command("REPLICAOF", "127.0.0.1", "\(master.port)")
        try await eventually("it replicates") {
            try replica.command("INFO", "replication").string.contains("master_link_status:up")
        }
    }

    // S11
    @Test func `a call that waits, its holder and the next call go on at the new master within three seconds`()
        async throws
    {
        try await Self.withAddress { old, new, address in
            try await Self.replicate(old, by: new)
            try await withLocks(address.url) { locks async throws in
                let holder = Holder(locks, "a")
                await holder.isHeld()
                let waiter = Holder(locks, "a")
                try await eventually("somebody waits, and the replica knows it") {
                    try new.command("EXISTS", "dlock.queue:{dlock:a}").integer == 1
                }
                // The connection stays, to what is a replica from now on.
                try new.command("REPLICAOF", "NO", "ONE")
                try old.command("REPLICAOF", "127.0.0.1", "\(new.port)")
                address.point(toPort: new.port)
                let start = ContinuousClock.now
                holder.letGo()
                let first = try await holder.end()
                await waiter.isHeld()
                waiter.letGo()
                let second = try await waiter.end()
                let third = try await token(locks)
                #expect(ContinuousClock.now - start < .seconds(3))
                #expect(first < second && second < third)
                #expect(try new.command("GET", "dlock.fence:{dlock:a}").string.hasPrefix("\(third)"))
            }
        }
    }

    // S11
    @Test func `an address that is moved some time after its master was replaced is followed within three seconds`()
        async throws
    {
        try await Self.withAddress { old, new, address in
            try await withLocks(address.url) { locks async throws in
                let first = try await token(locks)
                try old.command("REPLICAOF", "127.0.0.1", "\(new.port)")
                let waiting = Task { try await token(locks) }
                try await eventually("it has found nothing but a replica, more than once") { address.acceptedCount > 3 }
                address.point(toPort: new.port)
                let start = ContinuousClock.now
                #expect(try await waiting.value > first)
                #expect(ContinuousClock.now - start < .seconds(3))
            }
        }
    }

    // S14
    @Test func `a server that stays a replica is told as what it is, and may be tried again`() async throws {
        try await Self.withAddress { old, _, address in
            try await withLocks(address.url) { locks async throws in
                _ = try await token(locks)
                try old.command("REPLICAOF", "127.0.0.1", "1")
                let error = await #expect(throws: LockError.self) {
                    try await locks.withLock("a", waitingAtMost: .seconds(1)) { _ in }
                }
                #expect(error?.code == .unreachable && error?.isRetriable == true, "\(error as Any)")
                #expect(error?.message.contains("this is a replica") == true, "\(error as Any)")
                try old.command("REPLICAOF", "NO", "ONE")
                _ = try await token(locks)
            }
        }
    }

    enum Request: CaseIterable { case acquire, touch, renew, release, releaseInOrder, withdraw, status, breakLock }

    /// Looking is not refused by a replica, unless it serves nothing at all.
    private static let refusals =
        Request.allCases.filter { $0 != .status }.map { ("READONLY", $0) }
        + Request.allCases.map { ("MASTERDOWN", $0) }

    @Test(arguments: Self.refusals)
    func `whatever hears that the server is the master no more gives the connection up`(
        code: String,
        request: Request
    ) async throws {
        try await Self.withAddress { old, new, address in
            try await withBackend(RedisLockBackend(port: address.port)) { backend, log in
                let held = try LockClaim(1)
                let waiter = try LockClaim(2)
                _ = try await backend.request(AcquireRequest(claim: held, joinsQueue: true, deadline: nil))
                if request == .touch {
                    _ = try await backend.request(AcquireRequest(claim: waiter, joinsQueue: true, deadline: nil))
                }
                // Makes the script known, without which there is no release in order.
                _ = try await backend.release(try LockClaim(3, "other"))
                if code == "MASTERDOWN" { try old.command("CONFIG", "SET", "replica-serve-stale-data", "no") }
                try old.command("REPLICAOF", "127.0.0.1", "1")
                address.point(toPort: new.port)
                let start = ContinuousClock.now
                try await Self.send(request, held, waiter, backend, log)
                #expect(ContinuousClock.now - start < .seconds(3))
                #expect(address.acceptedCount == 2)
            }
        }
    }

    /// Sends one request, which the old server refuses, and expects the new one's answer. That one knows of no lock.
    private static func send(
        _ request: Request,
        _ held: LockClaim,
        _ waiter: LockClaim,
        _ backend: RedisLockBackend,
        _ log: EventLog
    ) async throws {
        switch request {
        case .acquire:
            let claim = try LockClaim(4)
            let reply = try await backend.request(AcquireRequest(claim: claim, joinsQueue: false, deadline: nil))
            guard case .granted = reply else { throw TestKitError("\(reply)") }
        case .touch:
            try await eventually("it has lost its place") {
                log.events.contains { if case .gone(waiter.attempt) = $0 { true } else { false } }
            }
        case .renew:
            let renewal = LockRenewal(claim: held, deadline: .now + .seconds(20))
            guard case .failed(let error) = await backend.renew([renewal])[0] else { throw TestKitError("renewed") }
            #expect(error.code == .unreachable)
            guard case .lost(.notOwner) = await backend.renew([renewal])[0] else { throw TestKitError("not lost") }
        case .release:
            #expect(try await backend.release(held) == .notHeld)
        case .releaseInOrder:
            let error = await withCheckedContinuation { (ended: CheckedContinuation<LockError?, Never>) in
                let isUnderWay = backend.releaseInOrder(held, heldFor: .zero) { result in
                    if case .failure(let error) = result {
                        ended.resume(returning: error)
                    } else {
                        ended.resume(returning: nil)
                    }
                }
                #expect(isUnderWay)
            }
            #expect(error?.code == .unreachable)
            try await backend.withdraw(held)
        case .withdraw:
            try await backend.withdraw(held)
        case .status:
            #expect(try await backend.status(of: held.name).first?.holder == nil)
        case .breakLock:
            guard case .notHeld = try await backend.breakLock(held.name, immediately: true) else {
                throw TestKitError("held")
            }
        }
    }
}
