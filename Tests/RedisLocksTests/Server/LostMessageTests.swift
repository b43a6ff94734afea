import DistributedLocks
import Foundation
import TestKit
import Testing

@testable import RedisLocks

/// What happens when bytes are lost between the client and the server.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(3)))
struct LostMessageTests {
    // S3, S4
    @Test(arguments: TCPProxy.Direction.allCases)
    func `a connection that is cut at any byte of a cycle costs no grant and leaves no key`(
        direction: TCPProxy.Direction
    ) async throws {
        try await RedisServer.withServer { server async throws in
            try await TCPProxy.withProxy(toPort: server.port) { proxy in
                /// Takes the lock, and waits until the release has been carried out.
                func cycle(_ locks: LockClient) async throws -> FencingToken {
                    let token = try await token(locks)
                    try await eventually("it is released") { try server.command("EXISTS", "dlock:a").integer == 0 }
                    return token
                }
                let (first, bytesOfCycle) = try await withLocks(proxy.url) { locks async throws in
                    _ = try await cycle(locks)
                    let before = proxy.passedBytes(direction)
                    let token = try await cycle(locks)
                    // A token of 13 digits, and a 1.
                    try await eventually("the answers have come") { proxy.passedBytes(direction) - before >= 20 }
                    return (token, proxy.passedBytes(direction) - before)
                }
                var last = first
                for bytes in 0..<bytesOfCycle {
                    // A client for each, because one whose connections do not last waits longer and longer.
                    try await withLocks(proxy.url) { locks async throws in
                        _ = try await cycle(locks)
                        proxy.set(.cut(afterBytes: bytes), direction)
                        let next = try await token(locks)
                        #expect(next > last)
                        last = next
                        proxy.passAll()
                    }
                }
                try await eventually("nothing is left") { try server.command("KEYS", "dlock:*") == .list([]) }
                #expect(try server.command("KEYS", "dlock.*") == .list([.text("dlock.fence:{dlock:a}")]))
            }
        }
    }

    // R5
    @Test func `a pushed grant that is lost with its connection is found again at once`() async throws {
        try await RedisServer.withServer { server async throws in
            try await TCPProxy.withProxy(toPort: server.port) { proxy in
                try await withLocks(server.url) { first in
                    for _ in 0..<5 {
                        // A client for each, because one whose connections do not last waits longer and longer.
                        try await withLocks(proxy.url) { second in
                            _ = try await token(second, "warm-up")
                            let holder = Holder(first, "a")
                            await holder.isHeld()
                            let asked = ContinuousClock.now
                            let before = proxy.passedBytes(.toClient)
                            let waiter = Holder(second, "a")
                            // The answer to the release before takes four bytes.
                            try await eventually("somebody waits, and knows it") {
                                try server.command("EXISTS", "dlock.queue:{dlock:a}").integer == 1
                                    && proxy.passedBytes(.toClient) > before + 10
                            }
                            proxy.set(.cut(afterBytes: 0), .toClient)
                            holder.letGo()
                            let token = try await holder.end()
                            await waiter.isHeld()
                            // Sooner than it would have shown that it lives, which finds a grant, too.
                            #expect(
                                ContinuousClock.now - asked < WaitingStateMachine.touchInterval(lease: .seconds(30)))
                            waiter.letGo()
                            #expect(try await waiter.end() > token)
                        }
                    }
                }
            }
        }
    }

    // R5: nothing arrives any more, but the connection stays.
    @Test func `a pushed grant that vanishes is found within a third of the lease`() async throws {
        try await RedisServer.withServer { server async throws in
            try await TCPProxy.withProxy(toPort: server.port) { proxy in
                try await withLocks(server.url) { first in
                    try await withLocks(proxy.url) { second in
                        let holder = Holder(first, "a")
                        await holder.isHeld()
                        let waiter = Holder(second, "a", lease: .seconds(60))
                        try await eventually("it waits, and knows it") {
                            try server.command("SCRIPT", "EXISTS", RedisScript.touch.hash) == .list([.integer(1)])
                        }
                        proxy.set(.swallow(afterBytes: 0), .toClient)
                        holder.letGo()
                        let start = ContinuousClock.now
                        let token = try await holder.end()
                        try await eventually("the grant is on its way") {
                            try server.command("EXISTS", "dlock.queue:{dlock:a}").integer == 0
                        }
                        // The next connection is whole.
                        while proxy.acceptedCount < 2 {
                            if ContinuousClock.now - start > .seconds(20) { break }
                            try await Task.sleep(for: .milliseconds(10))
                        }
                        proxy.passAll()
                        await waiter.isHeld()
                        #expect(ContinuousClock.now - start < .seconds(20))
                        waiter.letGo()
                        #expect(try await waiter.end() > token)
                    }
                }
            }
        }
    }

    @Test func `a slow network makes locks slow, not wrong`() async throws {
        try await RedisServer.withServer { server async throws in
            try await TCPProxy.withProxy(toPort: server.port) { proxy in
                proxy.set(.delay(.milliseconds(100)), .toClient)
                proxy.set(.delay(.milliseconds(100)), .toServer)
                try await withLocks(proxy.url) { locks async throws in
                    var last = try await token(locks)
                    for _ in 0..<2 {
                        let next = try await locks.withLock("a", lease: .seconds(3)) { held in
                            // Several renewals, each with its answer 200 ms late.
                            try await Task.sleep(for: .seconds(4))
                            return held.token
                        }
                        #expect(next > last)
                        last = next
                    }
                }
            }
        }
    }

    // R8
    @Test func `replies that come twice close the connection, and locks go on afterwards`() async throws {
        try await RedisServer.withServer { server async throws in
            try await TCPProxy.withProxy(toPort: server.port) { proxy in
                try await withLocks(proxy.url) { locks async throws in
                    let before = try await token(locks)
                    proxy.set(.duplicate, .toClient)
                    let attempt = Task { try await token(locks, "b") }
                    try await eventually("the connection was given up") { proxy.acceptedCount > 1 }
                    proxy.passAll()
                    _ = await attempt.result
                    // A server that answers nonsense is refused until it answers well again.
                    try await eventually("locks go on") {
                        guard let next = try? await token(locks) else { return false }
                        return next > before
                    }
                    try await eventually("nothing is left") { try server.command("KEYS", "dlock:*") == .list([]) }
                }
            }
        }
    }
}
