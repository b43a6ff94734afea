import LockKernel
import LockTransport
import TestKit
import Testing

@testable import RedisLocks

/// Connections that are cut at any byte.
@Suite(.enabled(if: RedisServer.isRequired)) struct CutTests {
    /// Greeting, set-up, and three requests.
    private static func converse(
        _ server: RedisServer,
        _ direction: TCPProxy.Direction,
        cutAfter bytes: Int
    ) async throws -> Int {
        try await TCPProxy.withProxy(toPort: server.port) { proxy in
            proxy.set(.cut(afterBytes: bytes), direction)
            return try await withClient(
                .tcp(host: "127.0.0.1", port: proxy.port),
                {
                    $0.database = 1
                    $0.setup = [RedisCommand("SUBSCRIBE", "ch")]
                }
            ) { client, recorder in
                var lost = 0
                for number in 0..<3 {
                    do throws(RedisError) {
                        let reply = try await client.send(RedisCommand("ECHO", "word \(number)"), deadline: .ample)
                        #expect(reply.value.string == "word \(number)")
                    } catch {
                        // Nothing else: whatever was not written yet waits for the next connection.
                        #expect(error.code == .outcomeUnknown, "cut after \(bytes) bytes: \(error)")
                        lost += 1
                    }
                }
                #expect(lost <= 1)
                // The events alternate, and connections are told apart.
                var last: RedisConnectionID?
                var isConnected = false
                for event in recorder.events {
                    switch event {
                    case .connected(let id):
                        #expect(!isConnected)
                        #expect(last.map { $0 < id } ?? true)
                        (last, isConnected) = (id, true)
                    case .disconnected(let id, let code):
                        #expect(isConnected && id == last)
                        #expect(code == .outcomeUnknown)
                        isConnected = false
                    case .pushed(let id, _):
                        #expect(isConnected && id == last)
                    }
                }
                return proxy.passedBytes(direction)
            }
        }
    }

    @Test(arguments: TCPProxy.Direction.allCases)
    func `wherever a connection is cut, no reply is shifted and the client goes on`(
        direction: TCPProxy.Direction
    ) async throws {
        try await RedisServer.withServer { server in
            let whole = try await Self.converse(server, direction, cutAfter: 1 << 20)
            #expect(whole > 100)
            for bytes in 0..<whole {
                #expect(try await Self.converse(server, direction, cutAfter: bytes) >= bytes)
            }
        }
    }

    @Test func `a connection on which everything vanishes is given up, and another one is made`() async throws {
        try await RedisServer.withServer { server in
            try await TCPProxy.withProxy(toPort: server.port) { proxy in
                try await withClient(
                    .tcp(host: "127.0.0.1", port: proxy.port),
                    {
                        $0.silenceTimeout = .milliseconds(500)
                        $0.connectTimeout = .seconds(1)
                    }
                ) { client, _ in
                    for direction in TCPProxy.Direction.allCases {
                        try await client.eventuallyAnswers()
                        proxy.set(.swallow(afterBytes: 0), direction)
                        let error = await client.failure("PING")
                        #expect(error?.code == .outcomeUnknown)
                        #expect(error?.reason.hasPrefix("nothing arrived for 500 ms") == true)
                        proxy.passAll()
                    }
                    try await client.eventuallyAnswers()
                }
            }
        }
    }

    @Test func `a server that sends byte by byte is understood`() async throws {
        try await FakeServer.withServer({ received in
            let text =
                received.contains("HELLO")
                ? FakeServer.hello : ">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$1\r\nx\r\n*2\r\n:1\r\n$2\r\nab\r\n"
            return text.utf8.map { .say(String(UnicodeScalar($0))) }
        }) { port in
            try await withClient(.tcp(host: "127.0.0.1", port: port.number)) { client, recorder in
                let reply = try await client.send(RedisCommand("X"), deadline: .ample)
                #expect(reply.value.elements?.map { $0.int.map(String.init) ?? $0.string ?? "" } == ["1", "ab"])
                #expect(recorder.pushes == [["message", "ch", "x"]])
            }
        }
    }
}
