import DistributedLocks
import Foundation
import LockTransport
import LockURLs
import Logging
import Synchronization
import TestKit
import Testing

@testable import RedisLocks

/// R11: the server's wall clock steps.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(2)))
struct ClockStepTests {
    private static func withSteppedServer(
        _ body: (RedisServer, ClockShim, LockClient, Warnings) async throws -> Void
    ) async throws {
        let folder = temporaryFolder("clock")
        defer { try? FileManager.default.removeItem(at: folder) }
        let clock = try await onThread { try ClockShim(folder: folder) }
        try await RedisServer.withServer(RedisServer.Options(environment: clock.environment)) { server async throws in
            let warnings = Warnings()
            let backend = try RedisLockBackend(
                configuration: RedisLockConfiguration(address: .tcp(host: "127.0.0.1", port: server.port)),
                logger: warnings.logger
            )
            try await withLockClient(backend) { locks async throws in try await body(server, clock, locks, warnings) }
        }
    }

    /// Waits until the holder's lease has been renewed twice: the client knows the server's clock by then.
    private static func renewed(_ server: RedisServer) async throws {
        let before = try server.commandCalls()["pexpire"] ?? 0
        try await eventually("the lease was renewed") { try server.commandCalls()["pexpire"] ?? 0 >= before + 2 }
    }

    @Test func `a step forward ends the lease, the holder is told, and tokens rise`() async throws {
        try await Self.withSteppedServer { server, clock, locks, warnings async throws in
            let holder = Holder(locks, "a", lease: .seconds(3))
            await holder.isHeld()
            try await Self.renewed(server)
            try clock.set(.seconds(3_600))
            let loss = try await holder.loss()
            #expect(loss.lossReason == .notOwner)
            #expect(try await token(locks) > #require(loss.token))
            let warning = try #require(
                warnings.texts.first { $0.contains("clock was stepped") }, "no warning")
            // An hour, less the time that the two answers took, which is more on a busy machine.
            let seconds = try #require(warning.firstMatch(of: /lock\.clock\.step\D*([0-9.]+)/)).output.1
            #expect(try (3_590.0...3_600).contains(#require(Double(seconds))), "\(warning)")
        }
    }

    @Test func `a step back costs no holder its lock, is told in the log, and tokens rise`() async throws {
        try await Self.withSteppedServer { server, clock, locks, warnings async throws in
            let before = try await token(locks)
            let holder = Holder(locks, "a", lease: .seconds(3))
            await holder.isHeld()
            try await Self.renewed(server)
            try clock.set(.seconds(-3_600))
            try await eventually("the step was told") { !warnings.texts.isEmpty }
            holder.letGo()
            let held = try await holder.end()
            #expect(held > before)
            #expect(try await token(locks) > held)
        }
    }

    // R8: what a client has seen it remembers, whatever the server says.
    @Test
    func `a server that forgot everything and whose clock is behind what was seen is refused, and leaves nothing`()
        async throws
    {
        try await Self.withSteppedServer { server, clock, locks, _ async throws in
            try clock.set(.seconds(3_600))
            let before = try await token(locks)
            try clock.set(.zero)
            try await server.restart()
            let error = await #expect(throws: LockError.self) { try await token(locks) }
            #expect(error?.code == .serverRefused, "\(error as Any)")
            #expect(error?.message.contains("\(before)") == true, "\(error as Any)")
            try await eventually("the refused grant was given back") {
                try server.command("EXISTS", "dlock:a") == .integer(0)
            }
            try clock.set(.seconds(7_200))
            // A server may look at its clock only now and then.
            try await eventually("the server's clock was stepped") {
                let seconds = try server.command("TIME").list?.first.flatMap { Double($0.string) } ?? 0
                return seconds > Date().timeIntervalSince1970 + 7_000
            }
            #expect(try await token(locks) > before)
        }
    }
}
