import DistributedLocks
import Foundation
import LockURLs
import TestKit
import Testing

/// Locks on servers that ask for a client's certificate, as Redis does unless it is told not to.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(3)))
struct ClientCertificateLockTests {
    private static func options(_ certificates: TestCertificates) -> RedisServer.Options {
        RedisServer.Options(arguments: ["--tls-auth-clients", "yes"], certificates: certificates)
    }

    private static func query(_ good: TestCertificates) -> String {
        "?ca-file=\(good.authority.path)&cert-file=\(good.certificate.path)&key-file=\(good.key.path)"
    }

    @Test func `a master and a Redlock with client certificates grant locks, and refuse clients without`() async throws
    {
        let good = try TestCertificates.good.get()
        try await RedlockServers.withServers(3, options: Self.options(good)) { servers in
            let hosts = servers.servers.map { "localhost:\($0.tlsPort)" }
            try await withLocks("rediss://\(hosts[0])" + Self.query(good)) { locks in _ = try await token(locks) }
            let redlock = "redlocks://\(hosts.joined(separator: ","))"
            try await LockBackends.initialize(url: LockURL(redlock + Self.query(good)))
            try await withLockClient(redlock + Self.query(good)) { locks in _ = try await token(locks) }

            for url in ["rediss://\(hosts[0])", redlock] {
                let error = await #expect(throws: LockError.self) {
                    try await withLockClient(url + "?ca-file=\(good.authority.path)") { locks in
                        try await locks.withLock("a", waitingAtMost: .seconds(5)) { _ in }
                    }
                }
                let said = error.map { "\($0)" } ?? ""
                #expect(said.contains("asks for a client's certificate"), "\(said)")
            }
        }
    }

    @Test func `a master and its Sentinels with client certificates grant locks`() async throws {
        let good = try TestCertificates.good.get()
        let options = SentinelSetup.Options(downAfter: .seconds(60), certificates: good, asksForCertificates: true)
        try await SentinelSetup.withSetup(options) { setup in
            try await withLocks(setup.url(Self.query(good))) { locks async throws in
                let first = try await token(locks)
                try await setup.failOver()
                #expect(try await token(locks) > first)
            }
        }
    }
}
