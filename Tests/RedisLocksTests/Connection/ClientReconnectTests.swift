import LockKernel
import TestKit
import Testing

@testable import RedisLocks

@Suite(.enabled(if: RedisServer.isRequired)) struct ClientReconnectTests {
    @Test func `a server that is killed and started again is used again, by a client that was told`() async throws {
        try await RedisServer.withServer { server in
            try await withClient(server.endpoint, { $0.setup = [RedisCommand("SUBSCRIBE", "ch")] }) {
                client, recorder in
                let first = try await client.send(RedisCommand("PING"), deadline: .ample).connection
                async let out = client.failure("BLPOP", "list", "0")
                try await eventually("the server has it") {
                    try server.command("INFO", "clients").string.contains("blocked_clients:1")
                }
                server.kill()
                #expect(await out?.code == .outcomeUnknown)
                let hopeless = await client.failure("PING", deadline: .now + .milliseconds(50))
                #expect(hopeless?.code == .notSent)
                try await eventually("an attempt has failed") { client.lastError?.code == .notSent }
                let refused = await client.failure("PING", deadline: .now + .milliseconds(50))
                #expect(refused?.message.contains("not connected by the deadline: connection refused") == true)
                async let waiting = client.send(RedisCommand("PING"), deadline: .ample)
                try await server.start()
                let second = try await waiting.connection
                #expect(second > first)
                try server.command("PUBLISH", "ch", "x")
                try await eventually("the message has come") { !recorder.pushes.isEmpty }
                #expect(
                    recorder.events == [
                        .connected(first), .disconnected(first, .outcomeUnknown), .connected(second),
                        .pushed(second, ["message", "ch", "x"]),
                    ]
                )
            }
        }
    }

    @Test func `a client that starts before its server waits for it`() async throws {
        try await RedisServer.withServer { server in
            server.kill()
            try await withClient(server.endpoint) { client, _ in
                async let early = client.text("ECHO", "early")
                try await eventually("an attempt has failed") { client.lastError != nil }
                #expect(client.lastError?.code == .notSent)
                try await server.start()
                #expect(try await early == "early")
            }
        }
    }

    @Test func `two hundred lost connections leave no descriptor behind`() async throws {
        try await RedisServer.withServer { server in
            try await withClient(server.endpoint, { $0.backoffCap = .milliseconds(5) }) { client, recorder in
                for _ in 0..<200 {
                    _ = try await client.text("PING")
                    let count = recorder.events.count
                    try server.command("CLIENT", "KILL", "TYPE", "normal")
                    try await eventually("it was told") { recorder.events.count > count }
                }
                _ = try await client.text("PING")
                try await eventually("one connection is left") { Self.connections(toPort: server.port) == 1 }
            }
            #expect(Self.connections(toPort: server.port) == 0)
        }
    }

    @Test func `a program that is started does not have the connection, too`() async throws {
        try await RedisServer.withServer { server in
            try await withClient(server.endpoint) { client, _ in
                _ = try await client.text("PING")
                let descriptors = Self.descriptors(toPort: server.port)
                #expect(descriptors.count == 1)
                for descriptor in descriptors { #expect(fcntl(descriptor, F_GETFD) & FD_CLOEXEC != 0) }
            }
        }
    }

    @Test func `a written request is never sent again`() async throws {
        try await RedisServer.withServer { server in
            try await withClient(server.endpoint) { client, _ in
                for _ in 0..<50 {
                    async let answers = client.send(
                        (0..<20).map { _ in RedisCommand("INCR", "counter") },
                        deadline: .ample
                    )
                    try server.command("CLIENT", "KILL", "TYPE", "normal")
                    _ = await answers
                }
                let counted = try await client.text("GET", "counter")
                #expect(Int(counted) ?? 0 <= 1_000)
            }
        }
    }

    /// How many descriptors of this process are connected to a port.
    static func connections(toPort port: Int) -> Int { self.descriptors(toPort: port).count }

    private static func descriptors(toPort port: Int) -> [Int32] {
        (0..<Int32(4_096)).filter { descriptor in
            var address = sockaddr_in()
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let result = withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(descriptor, $0, &length) }
            }
            return result == 0 && address.sin_family == sa_family_t(AF_INET)
                && Int(UInt16(bigEndian: address.sin_port)) == port
        }
    }
}
