import DistributedLocks
import Foundation
import LockURLs
import TestKit
import Testing

@testable import ZooKeeperLocks

/// Ensembles that cannot be used: a clear error within the caller's time.
@Suite(.enabled(if: ZooKeeperServer.isRequired), .timeLimit(.minutes(3)))
struct BadInputTests {
    private func error(
        _ url: String,
        _ name: String = "a",
        waitingAtMost patience: Duration = .seconds(3),
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> LockError {
        let start = ContinuousClock.now
        let error = await #expect(throws: LockError.self, sourceLocation: sourceLocation) {
            try await withLockClient(url) { locks in
                try await locks.withLock(name, waitingAtMost: patience) { _ in }
            }
        }
        #expect(ContinuousClock.now - start < patience + .seconds(5), sourceLocation: sourceLocation)
        return try #require(error, sourceLocation: sourceLocation)
    }

    @Test func `nobody who listens is unreachable`() async throws {
        let url = "zookeeper://127.0.0.1:\(try FreePort.next())"
        #expect(try await self.error(url).code == .unreachable)
        let error = await #expect(throws: LockError.self) {
            try await withLockClient(url) { locks in try await locks.status(of: "a") }
        }
        #expect(error?.code == .unreachable && error?.message.contains("refused") == true, "\(error as Any)")
    }

    @Test func `a server that is no ZooKeeper is told apart`() async throws {
        guard RedisServer.isRequired else { return }
        try await RedisServer.withServer { server async throws in
            let error = try await self.error("zookeeper://127.0.0.1:\(server.port)")
            #expect([.unreachable, .serverRefused].contains(error.code), "\(error)")
        }
    }

    @Test func `an ensemble without a quorum is unreachable, and used as soon as it has one`() async throws {
        try await ZooKeeperEnsemble.withEnsemble(3) { ensemble async throws in
            try await withLockClient(ensemble.url + "/a?session-timeout=10s") { locks in
                let first = try await token(locks)
                ensemble.servers[1].kill()
                ensemble.servers[2].kill()
                let error = await #expect(throws: LockError.self) {
                    try await locks.withLock("a", waitingAtMost: .seconds(3)) { _ in }
                }
                #expect(
                    error.map { [.unreachable, .outcomeUnknown, .timedOut].contains($0.code) } == true,
                    "\(error as Any)")
                try ensemble.servers[1].launch()
                try await eventually(within: .seconds(60), "locks go on") {
                    guard let next = try? await token(locks) else { return false }
                    return next > first
                }
            }
        }
    }

    @Test func `a wrong password, or none, is told, and the right one works`() async throws {
        let server = try await ZooKeeperServer.shared()
        let place = "/\(UUID().uuidString)"
        let host = "127.0.0.1:\(server.port)"
        let timeout = "?session-timeout=4s"
        try await withLockClient("zookeeper://me:right@\(host)\(place)\(timeout)") { locks in
            _ = try await token(locks)
            for user in ["me:wrong@", ""] {
                let error = try await self.error("zookeeper://\(user)\(host)\(place)\(timeout)")
                #expect(error.code == .serverRefused && error.message.contains("permission"), "\(error)")
                #expect(!"\(error)".contains("wrong@") && !"\(error)".contains(":wrong"))
            }
            _ = try await token(locks)
        }
    }

    @Test func `a folder of one lock that belongs to somebody else is told, and other locks are not concerned`()
        async throws
    {
        let server = try await ZooKeeperServer.shared()
        let url = server.chroot()
        try await withLockClient(url) { locks in
            _ = try await token(locks, "ours")
            let chroot = try #require(try LockBackends.backend(url: url) as? ZooKeeperLockBackend).configuration.chroot
            // In a place of its own: what it makes to be there itself is for this user alone.
            let place = "127.0.0.1:\(server.port)/\(UUID().uuidString)"
            let other = try LockBackends.backend(url: "zookeeper://other:secret@\(place)")
            try await #require(other as? ZooKeeperLockBackend).carryOut([
                .create(path: chroot + "/dlock/theirs", data: [], access: .creator, mode: .persistent)
            ])
            let error = await #expect(throws: LockError.self) {
                try await locks.withLock("theirs", waitingAtMost: .seconds(3)) { _ in }
            }
            #expect(
                error?.code == .serverRefused && error?.message.contains("belong to another user") == true,
                "\(error as Any)")
            _ = try await token(locks, "ours")
        }
    }

    @Test func `a name that is too long for the server's buffer fails in time, and others are locked as before`()
        async throws
    {
        let options = ZooKeeperServer.Options(properties: ["jute.maxbuffer": "500"])
        try await ZooKeeperServer.withServer(options) { server async throws in
            try await withLockClient(server.chroot()) { locks in
                let first = try await token(locks, "a")
                let start = ContinuousClock.now
                let error = await #expect(throws: LockError.self) {
                    try await locks.withLock(String(repeating: "x", count: 512), waitingAtMost: .seconds(3)) { _ in }
                }
                #expect(ContinuousClock.now - start < .seconds(5))
                #expect(
                    error.map { [.outcomeUnknown, .unreachable, .serverRefused].contains($0.code) } == true,
                    "\(error as Any)")
                try await eventually(within: .seconds(30), "locks go on") {
                    (try? await token(locks, "a")).map { $0 > first } ?? false
                }
            }
        }
    }

    @Test(arguments: ["/team", "/a/b/c", "/ä"])
    func `a chroot that does not exist is made`(chroot: String) async throws {
        let server = try await ZooKeeperServer.shared()
        let escaped = chroot.addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) ?? chroot
        let url = "zookeeper://127.0.0.1:\(server.port)/\(UUID().uuidString)\(escaped)?session-timeout=4s"
        try await withLockClient(url) { locks in _ = try await token(locks) }
    }

    @Test func `a name of any kind is a lock`() async throws {
        let server = try await ZooKeeperServer.shared()
        try await withLockClient(server.chroot()) { locks in
            for name in ["/", "..", ".", "zookeeper", "🔒", String(repeating: "x", count: 512), "a/b/../c"] {
                let handle = try await locks.acquire(name)
                #expect(try await locks.statusOfAll().map(\.name.rawValue) == [name])
                try await handle.release()
            }
        }
    }

    @Test func `TLS checks the certificate and the name`() async throws {
        let good = try TestCertificates.good.get()
        let options = ZooKeeperServer.Options(certificates: good)
        try await ZooKeeperServer.withServer(options) { server async throws in
            let place = "/a?session-timeout=4s&ca-file=\(good.authority.path)"
            try await withLockClient("zookeepers://localhost:\(server.tlsPort)\(place)") { locks in
                _ = try await token(locks)
            }
            // A server that has just started takes its time for the first handshakes.
            let unknown = try await self.error(
                "zookeepers://localhost:\(server.tlsPort)/a", waitingAtMost: .seconds(20))
            #expect(unknown.code == .serverRefused && unknown.message.contains("certificate"), "\(unknown)")
            let clear = try await self.error("zookeepers://localhost:\(server.port)\(place)")
            #expect([.serverRefused, .unreachable].contains(clear.code), "\(clear)")
        }
        let wrong = try TestCertificates.wrongName.get()
        try await ZooKeeperServer.withServer(ZooKeeperServer.Options(certificates: wrong)) { server async throws in
            let place = "zookeepers://localhost:\(server.tlsPort)/a?session-timeout=4s&ca-file=\(wrong.authority.path)"
            // Its first handshake may take longer than a connection has.
            try await withLockClient("\(place)&server-name=elsewhere.example") { locks in _ = try await token(locks) }
            let error = try await self.error(place, waitingAtMost: .seconds(20))
            #expect(error.code == .serverRefused && error.message.contains("not for localhost"), "\(error)")
        }
    }

    @Test func `who has no certificate where clients need one is told so, and who has one is granted locks`()
        async throws
    {
        let good = try TestCertificates.good.get()
        let stranger = try TestCertificates.wrongName.get()
        let options = ZooKeeperServer.Options(lines: ["ssl.clientAuth=need"], certificates: good)
        try await ZooKeeperServer.withServer(options) { server async throws in
            let place = "zookeepers://localhost:\(server.tlsPort)/a?session-timeout=4s&ca-file=\(good.authority.path)"
            for certificate in [
                "cert-file=\(good.certificate.path)&key-file=\(good.key.path)", "cert-file=\(good.keyStore.path)",
            ] {
                try await withLockClient("\(place)&\(certificate)") { locks in _ = try await token(locks) }
            }
            let missing = try await self.error(place, waitingAtMost: .seconds(20))
            #expect(missing.message.contains("asks for a client's certificate"), "\(missing)")
            let wrong = try await self.error(
                "\(place)&cert-file=\(stranger.keyStore.path)", waitingAtMost: .seconds(20))
            #expect(wrong.message.contains("the server refused this client's certificate"), "\(wrong)")
        }
    }

    @Test func `the name in the servers' certificates may be another one than the hosts', with an underscore, too`()
        async throws
    {
        let certificates = try TestCertificates.underscores.get()
        let options = ZooKeeperServer.Options(certificates: certificates)
        try await ZooKeeperServer.withServer(options) { server async throws in
            let place =
                "zookeepers://127.0.0.1:\(server.tlsPort)/a?session-timeout=4s&ca-file=\(certificates.authority.path)"
            for name in ["plain.example", "redis_1"] {
                try await withLockClient("\(place)&server-name=\(name)") { locks in _ = try await token(locks) }
            }
            let wrong = try await self.error("\(place)&server-name=redis_2", waitingAtMost: .seconds(20))
            #expect(wrong.code == .serverRefused && wrong.message.contains("not for redis_2"), "\(wrong)")
        }
    }

    @Test(arguments: [
        "zookeeper:", "zookeeper://", "zookeeper://z:0", "zookeeper://z:99999", "zookeeper://z/zookeeper",
        "zookeeper://z//a", "zookeeper://z/a//", "zookeeper://z,z", "zookeeper://z?session-timeout=0s",
        "zookeeper://z?session-timeout=x", "zookeeper://z?ca-file=x", "zookeeper://z?nonsense=1", "zookeeper://me@z",
    ])
    func `a URL that makes no sense is refused`(url: String) async throws {
        let error = #expect(throws: LockError.self) { try LockBackends.backend(url: url) }
        #expect(error?.code == .invalidConfiguration)
    }
}
