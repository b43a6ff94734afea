import LockKernel
import LockTransport
import Logging
import NIOCore
import NIOPosix
import TestKit
import Testing

@testable import RedisLocks

@Suite(.enabled(if: RedisServer.isRequired)) struct StopTests {
    private static func makeClient(_ endpoint: RedisEndpoint) -> RedisClient {
        RedisClient(
            configuration: RedisClientConfiguration(endpoint: endpoint),
            eventLoop: MultiThreadedEventLoopGroup.singleton.next(),
            delegate: Recorder(),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
    }

    @Test func `when run has returned the connection is gone, and requests are refused at once`() async throws {
        try await RedisServer.withServer { server in
            let client = Self.makeClient(server.endpoint)
            let run = Task { await client.run() }
            _ = try await client.text("PING")
            async let out = client.failure("BLPOP", "list", "0")
            try await eventually("the server has it") {
                try server.command("INFO", "clients").string.contains("blocked_clients:1")
            }
            run.cancel()
            await run.value
            #expect(ClientReconnectTests.connections(toPort: server.port) == 0)
            #expect(await out?.code == .outcomeUnknown)
            #expect(client.state == .stopped)
            #expect(await client.failure("PING")?.code == .stopped)
            #expect(await client.send([RedisCommand("PING"), RedisCommand("PING")], deadline: .ample).count == 2)
            await withCheckedContinuation { continuation in
                client.submit(RedisCommand("PING"), deadline: .ample) { outcome in
                    client.eventLoop.preconditionInEventLoop()
                    #expect(throws: RedisError.self) { try outcome.get() }
                    continuation.resume()
                }
            }
            let outcomes = OutcomeRecorder(expected: 1)
            try await client.eventLoop.submit {
                client.submit(RedisCommand("PING"), deadline: .ample, handler: outcomes, number: 7)
            }.get()
            let outcome = try #require(await outcomes.all()[7])
            #expect(throws: RedisError.self) { try outcome.get() }
        }
    }

    @Test func `a client that cannot connect stops at once, and tells those who wait`() async throws {
        let client = Self.makeClient(.tcp(host: "127.0.0.1", port: try FreePort.next()))
        async let waiting = client.failure("PING")
        let run = Task { await client.run() }
        try await eventually("an attempt has failed") { client.lastError != nil }
        run.cancel()
        await run.value
        #expect(await waiting?.code == .notSent)
    }

    @Test func `a client that is stopped before it starts, or while it connects, leaves nothing`() async throws {
        try await RedisServer.withServer { server in
            for yields in 0..<50 {
                let client = Self.makeClient(server.endpoint)
                let run = Task { await client.run() }
                for _ in 0..<yields { await Task.yield() }
                run.cancel()
                await run.value
                #expect(client.state == .stopped)
            }
            #expect(ClientReconnectTests.connections(toPort: server.port) == 0)
        }
    }
}
