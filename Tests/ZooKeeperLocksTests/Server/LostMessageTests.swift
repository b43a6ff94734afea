import DistributedLocks
import Foundation
import LockTransport
import LockURLs
import NIOCore
import TestKit
import Testing

@testable import ZooKeeperLocks

/// What happens when connections are lost, at any byte.
@Suite(.enabled(if: ZooKeeperServer.isRequired), .timeLimit(.minutes(3)))
struct LostMessageTests {
    // Z1, S3, S4
    @Test(arguments: TCPProxy.Direction.allCases)
    func `a connection that is cut at any byte of a cycle leaves no contender behind`(
        direction: TCPProxy.Direction
    ) async throws {
        let server = try await ZooKeeperServer.shared()
        try await TCPProxy.withProxy(toPort: server.port) { proxy in
            let url = server.chroot(timeout: 20)
            try await withLockClient(url) { watcher in
                try await withLockClient(through(proxy, url)) { locks in
                    let first = try await token(locks)
                    let before = proxy.passedBytes(direction)
                    _ = try await token(locks)
                    let bytesOfCycle = proxy.passedBytes(direction) - before
                    #expect(bytesOfCycle >= 60)
                    var last = first
                    // Each cut costs a reconnect, so not every byte is tried in the long middle of strings.
                    for bytes in stride(from: 0, to: bytesOfCycle, by: 3) {
                        proxy.set(.cut(afterBytes: bytes), direction)
                        let next = try await token(locks)
                        #expect(next > last)
                        last = next
                        proxy.passAll()
                        // Nobody else waits for a ghost.
                        try await eventually("it is free") {
                            try await watcher.status(of: "a").holder == nil
                        }
                    }
                }
            }
        }
    }

    // S13
    @Test func `a client that ends while its connection is lost takes its nodes with it`() async throws {
        let server = try await ZooKeeperServer.shared()
        try await TCPProxy.withProxy(toPort: server.port) { proxy in
            let url = server.chroot(timeout: 20)
            try await withLockClient(url) { watcher in
                var handle: LockHandle?
                let healing = try await withLockClient(through(proxy, url)) { locks in
                    handle = try await locks.acquire("a")
                    proxy.setRefusing(true)
                    proxy.cutAll()
                    let before = proxy.acceptedCount
                    try await eventually("it has tried to connect again") { proxy.acceptedCount > before }
                    let ended = proxy.acceptedCount
                    return Task {
                        // More often than a client that has time.
                        try await eventually("it tries, also when it ends") { proxy.acceptedCount > ended + 12 }
                        proxy.setRefusing(false)
                    }
                }
                try await healing.value
                #expect(handle?.isValid == false)
                // Long before the session ends by itself.
                try await eventually(within: .seconds(5), "it is free") {
                    try await watcher.status(of: "a").holder == nil
                }
            }
        }
    }

    // Z1
    @Test func `a lost answer to a create is found, and not made a second time`() async throws {
        let server = try await ZooKeeperServer.shared()
        try await TCPProxy.withProxy(toPort: server.port) { proxy in
            let url = server.chroot(timeout: 20)
            try await withLockClient(url) { watcher in
                try await withLockClient(through(proxy, url)) { locks in
                    let before = try await token(locks)
                    proxy.set(.swallow(afterBytes: 0), .toClient)
                    let holder = Holder(locks, "a")
                    try await eventually("the node is there, and not that of the grant before") {
                        try await watcher.status(of: "a").holder?.token.map { $0 > before } ?? false
                    }
                    let made = try await watcher.status(of: "a").holder?.token
                    proxy.cutAll()
                    proxy.passAll()
                    await holder.isHeld()
                    let status = try await watcher.status(of: "a")
                    #expect(status.holder?.token == made && status.waiters.isEmpty)
                    holder.letGo()
                    #expect(try await holder.end() == made)
                }
            }
        }
    }

    // Z1. A server that reads the last bytes of a connection late carries a create out after it has been sought in vain. That
    // instant cannot be met from outside, so the same node is made by another session.
    @Test(arguments: ["0000000000", "2000000000"])
    func `a create that is carried out after all keeps nobody waiting`(sequence: String) async throws {
        let server = try await ZooKeeperServer.shared()
        try await TCPProxy.withProxy(toPort: server.port) { proxy in
            let url = server.chroot(timeout: 20)
            let operatorsBackend = try #require(try LockBackends.backend(url: url) as? ZooKeeperLockBackend)
            try await withLockClient(url) { others in
                try await withLockClient(through(proxy, url)) { locks in
                    _ = try await token(locks)
                    proxy.set(.swallow(afterBytes: 0), .toServer)
                    let holder = Holder(locks, "a")
                    try await eventually("it was asked for") { self.uuid(in: proxy.vanishedBytes(.toServer)) != nil }
                    let uuid = try #require(self.uuid(in: proxy.vanishedBytes(.toServer)))
                    let lock = operatorsBackend.configuration.chroot + "/dlock/a"
                    // The operator's session is there before: the ghost has to come within seconds of the search.
                    try await operatorsBackend.carryOut(
                        [.create(path: "\(lock)/c-\(uuid)-\(sequence)", data: [], access: .open, mode: .persistent)]
                    ) {
                        proxy.cutAll()
                        proxy.passAll()
                        await holder.isHeld()
                    }
                    let next = Holder(others, "a")
                    holder.letGo()
                    let held = try await holder.end()
                    await next.isHeld()
                    next.letGo()
                    #expect(try await next.end() > held)
                    try await eventually("it is free") { try await others.status(of: "a").holder == nil }
                }
            }
        }
    }

    // Z1: one that comes when nobody looks for it any more. The same node is made by another session.
    @Test(arguments: [true, false])
    func `a node of this client's that no claim has made is deleted by whoever finds it ahead`(waits: Bool)
        async throws
    {
        let server = try await ZooKeeperServer.shared()
        let url = server.chroot(timeout: 20)
        let backend = try #require(try LockBackends.backend(url: url) as? ZooKeeperLockBackend)
        try await withLockClient(backend) { locks in
            try await withLockClient(url) { others in
                let own = Holder(locks, "b")
                await own.isHeld()
                let nodes = try await backend.children(backend.configuration.chroot + "/dlock/b")
                own.letGo()
                _ = try await own.end()
                // What all nodes of this client have in common, then an attempt that it has not made yet.
                let digits = try #require(nodes.first).dropFirst(ContenderNode.prefix.count).prefix(16)
                let ghost = "c-\(digits)0100000000000001-0000000000"
                let holder = Holder(others, "a")
                await holder.isHeld()
                try await backend.withNode("/dlock/a/" + ghost) {
                    holder.letGo()
                    let held = try await holder.end()
                    // In its own time, so that a test that fails ends.
                    let next = Task { try await token(others) }
                    try await eventually("another client waits for it") {
                        try await others.status(of: "a").waiters.count == 1
                    }
                    if waits {
                        #expect(try await token(locks) > held)
                    } else {
                        #expect(try await locks.withLockIfAvailable("a") { _ in true } == nil)
                    }
                    #expect(try await next.value > held)
                }
            }
        }
    }

    /// Of the contender whose node was to be made: its name has no number yet.
    private func uuid(in bytes: [UInt8]) -> String? {
        String(decoding: bytes, as: UTF8.self).firstMatch(of: /\/c-([0-9a-f]{32})-(?!\d)/).map { String($0.output.1) }
    }

    @Test func `a waiter that reconnects keeps its place, and hears of what it missed`() async throws {
        let server = try await ZooKeeperServer.shared()
        try await TCPProxy.withProxy(toPort: server.port) { proxy in
            let url = server.chroot(timeout: 20)
            try await withLockClient(url) { first in
                try await withLockClient(through(proxy, url)) { second in
                    for _ in 0..<5 {
                        let holder = Holder(first, "a")
                        await holder.isHeld()
                        let waiter = Holder(second, "a")
                        try await eventually("one waits") { try await first.status(of: "a").waiters.count == 1 }
                        proxy.setRefusing(true)
                        proxy.cutAll()
                        holder.letGo()
                        let token = try await holder.end()
                        proxy.setRefusing(false)
                        await waiter.isHeld()
                        waiter.letGo()
                        #expect(try await waiter.end() > token)
                    }
                }
            }
        }
    }

    // Z2
    @Test func `when the session expires its holder is told, and its waiter waits on in the next one`() async throws {
        let server = try await ZooKeeperServer.shared()
        try await TCPProxy.withProxy(toPort: server.port) { proxy in
            let url = server.chroot(timeout: 2)
            try await withLockClient(url) { watcher in
                try await withLockClient(through(proxy, url)) { locks in
                    let other = Holder(watcher, "b")
                    await other.isHeld()
                    let holder = Holder(locks, "a")
                    await holder.isHeld()
                    let waiter = Holder(locks, "b")
                    try await eventually("one waits") { try await watcher.status(of: "b").waiters.count == 1 }
                    let cut = ContinuousClock.now
                    proxy.setRefusing(true)
                    proxy.cutAll()
                    let loss = try await holder.loss()
                    #expect(loss.code == .lost)
                    // The client knows before the ensemble does.
                    #expect(ContinuousClock.now - cut < .seconds(2))
                    #expect(try await watcher.status(of: "a").holder != nil)
                    try await eventually("the session is over") {
                        let a = try await watcher.status(of: "a")
                        let b = try await watcher.status(of: "b")
                        return a.holder == nil && b.waiters.isEmpty
                    }
                    proxy.setRefusing(false)
                    try await eventually("it waits again") { try await watcher.status(of: "b").waiters.count == 1 }
                    other.letGo()
                    let token = try await other.end()
                    await waiter.isHeld()
                    waiter.letGo()
                    #expect(try await waiter.end() > token)
                    let next = Holder(locks, "a")
                    await next.isHeld()
                    next.letGo()
                    #expect(try await next.end() > (loss.token ?? token))
                }
            }
        }
    }

    // S7, Z6: a body that does not care that the lock was lost keeps nobody waiting for longer than a lease.
    @Test func `a hung body that may hold no longer does not keep the lock`() async throws {
        let server = try await ZooKeeperServer.shared()
        let url = server.chroot(timeout: 2)
        try await withLockClient(url) { first in
            try await withLockClient(url) { second in
                let hung = Holder(first, "a", holdingAtMost: .milliseconds(200), ignoringCancellation: true)
                await hung.isHeld()
                let start = ContinuousClock.now
                let next = Holder(second, "a")
                await next.isHeld()
                #expect(ContinuousClock.now - start < .seconds(6))
                next.letGo()
                let token = try await next.end()
                hung.letGo()
                let loss = try await hung.loss()
                #expect(loss.code == .lost && loss.token.map { $0 < token } == true)
            }
        }
    }

    // Z7
    @Test func `answers that come twice close the connection, and locks go on afterwards`() async throws {
        let server = try await ZooKeeperServer.shared()
        try await TCPProxy.withProxy(toPort: server.port) { proxy in
            let url = server.chroot(timeout: 20)
            try await withLockClient(through(proxy, url)) { locks in
                let before = try await token(locks)
                let connections = proxy.acceptedCount
                proxy.set(.duplicate, .toClient)
                let attempt = Task { try await token(locks, "b") }
                try await eventually("the connection was given up") { proxy.acceptedCount > connections }
                proxy.passAll()
                _ = await attempt.result
                try await eventually("locks go on") {
                    guard let next = try? await token(locks) else { return false }
                    return next > before
                }
            }
        }
    }
}
