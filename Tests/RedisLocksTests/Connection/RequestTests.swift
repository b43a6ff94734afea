import LockKernel
import LockTransport
import NIOCore
import NIOPosix
import Synchronization
import TestKit
import Testing

@testable import RedisLocks

@Suite(.enabled(if: RedisServer.isRequired)) struct RequestTests {
    @Test func `ten thousand requests of as many tasks each get their own reply`() async throws {
        try await RedisServer.withServer { server in
            try await withClient(server.endpoint) { client, _ in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 0..<10_000 {
                        group.addTask {
                            let text = try await client.text("ECHO", "\(number)")
                            #expect(text == "\(number)")
                        }
                    }
                    try await group.waitForAll()
                }
            }
        }
    }

    @Test func `requests that are sent together leave together, and each has its own outcome`() async throws {
        try await RedisServer.withServer { server in
            try await withClient(server.endpoint) { client, _ in
                var commands = (0..<10_000).map { RedisCommand("ECHO", "\($0)") }
                commands[5_000] = RedisCommand("EVALSHA", String(repeating: "0", count: 40), "0")
                let outcomes = await client.send(commands, deadline: .ample)
                #expect(outcomes.count == 10_000)
                for (number, outcome) in outcomes.enumerated() {
                    switch outcome {
                    case .success(let reply): #expect(reply.value.string == "\(number)")
                    case .failure(let error):
                        #expect(number == 5_000)
                        #expect(error.code == .refused)
                        #expect(error.serverCode == "NOSCRIPT")
                    }
                }
                #expect(await client.send([], deadline: .ample).isEmpty)
            }
        }
    }

    @Test func `callers on the event loop and off it, and callbacks, share a connection`() async throws {
        try await RedisServer.withServer { server in
            let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
            try await withClient(server.endpoint, eventLoop: eventLoop) { client, recorder in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 0..<500 {
                        group.addTask {
                            let text = try await client.text("ECHO", "off \(number)")
                            #expect(text == "off \(number)")
                        }
                        group.addTask {
                            let reply = try await eventLoop.flatSubmit {
                                let promise = eventLoop.makePromise(of: RESPValue.self)
                                client.submit(RedisCommand("ECHO", "on \(number)"), deadline: .ample) { outcome in
                                    eventLoop.preconditionInEventLoop()
                                    promise.completeWith(outcome.map(\.value).mapError { $0 as any Error })
                                }
                                return promise.futureResult
                            }.get()
                            #expect(reply.string == "on \(number)")
                        }
                    }
                    try await group.waitForAll()
                }
                #expect(recorder.events.count == 1)
            }
        }
    }

    @Test func `one object takes the outcomes of many requests, and a command may come in two parts`() async throws {
        try await RedisServer.withServer { server in
            let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
            try await withClient(server.endpoint, eventLoop: eventLoop) { client, _ in
                let outcomes = OutcomeRecorder(expected: 1_001)
                try await eventLoop.submit {
                    for number in 0..<1_000 {
                        client.submit(
                            RedisCommand(bytes: ByteBuffer(string: "*2\r\n$4\r\nECHO\r\n")),
                            tail: ByteBuffer(string: "$3\r\n\(100 + number % 900)\r\n"), deadline: .ample,
                            handler: outcomes, number: number)
                    }
                    client.submit(RedisCommand("NONSENSE"), deadline: .ample, handler: outcomes, number: 1_000)
                }.get()
                for (number, outcome) in await outcomes.all() {
                    if number == 1_000 {
                        #expect(throws: RedisError.self) { try outcome.get() }
                    } else {
                        #expect(try outcome.get().value.string == "\(100 + number % 900)")
                    }
                }
            }
        }
    }

    @Test func `what a caller submits first leaves first, also when it comes from the event loop next`() async throws {
        try await RedisServer.withServer { server in
            let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
            try await withClient(server.endpoint, eventLoop: eventLoop) { client, _ in
                for round in 0..<200 {
                    client.submit(RedisCommand("SET", "k", "first \(round)"), deadline: .ample) { _ in }
                    try await eventLoop.submit {
                        client.submit(RedisCommand("SET", "k", "second \(round)"), deadline: .ample) { _ in }
                    }.get()
                    #expect(try await client.text("GET", "k") == "second \(round)")
                }
            }
        }
    }

    @Test func `a reply tells its connection and an instant before the request left`() async throws {
        try await RedisServer.withServer { server in
            try await withClient(server.endpoint) { client, recorder in
                let before = BootInstant.now
                let reply = try await client.send(RedisCommand("PING"), deadline: .ample)
                #expect(before <= reply.sentAt)
                #expect(reply.sentAt <= .now)
                #expect(recorder.events == [.connected(reply.connection)])
                #expect(client.state == .connected(reply.connection))
                let later = try await client.send(RedisCommand("PING"), deadline: .ample)
                #expect(later.sentAt > reply.sentAt)
            }
        }
    }

    @Test func `user, password, database and client name are what the server sees`() async throws {
        try await RedisServer.withServer { server in
            try server.command("ACL", "SETUSER", "me", "on", ">secret", "~*", "&*", "+@all")
            try await withClient(
                server.endpoint,
                {
                    $0.username = "me"
                    $0.password = "secret"
                    $0.database = 3
                    $0.clientName = "a-tester"
                }
            ) { client, recorder in
                #expect(try await client.text("ACL", "WHOAMI") == "me")
                let id = recorder.greetings.first?.id ?? -1
                let list = try server.command("CLIENT", "LIST", "ID", "\(id)").string
                #expect(list.contains(" name=a-tester "))
                #expect(list.contains(" db=3 "))
                #expect(list.contains(" user=me "))
                #expect(list.contains(" resp=3"))
                #expect(recorder.greetings.first?.role == "master")
                #expect(["redis", "valkey"].contains(recorder.greetings.first?.server))
            }
        }
    }

    @Test func `what is published arrives in order, on the connection that subscribed`() async throws {
        try await RedisServer.withServer { server in
            try await withClient(server.endpoint, { $0.setup = [RedisCommand("SUBSCRIBE", "one", "two")] }) {
                client, recorder in
                let id = try await client.send(RedisCommand("PING"), deadline: .ample).connection
                for number in 0..<300 {
                    #expect(try server.command("PUBLISH", number % 2 == 0 ? "one" : "two", "\(number)").integer == 1)
                }
                try await eventually("all messages have come") { recorder.pushes.count == 300 }
                #expect(recorder.pushes == (0..<300).map { ["message", $0 % 2 == 0 ? "one" : "two", "\($0)"] })
                #expect(recorder.events.first == .connected(id))
                #expect(try await client.text("ECHO", "still in step") == "still in step")
            }
        }
    }

    @Test func `a unix socket, an IPv6 address and a host name lead to the same server`() async throws {
        try await RedisServer.withServer { server in
            try server.command("SET", "k", "v")
            let endpoints: [RedisEndpoint] = [
                .unixSocket(path: server.socketPath), .tcp(host: "::1", port: server.port),
                .tcp(host: "[::1]", port: server.port), .tcp(host: "localhost", port: server.port),
            ]
            for endpoint in endpoints {
                try await withClient(endpoint) { client, _ in
                    let text = try await client.text("GET", "k")
                    #expect(text == "v")
                }
            }
        }
    }

    @Test func `what the server refuses comes with its code, and harms no other request`() async throws {
        try await RedisServer.withServer { server in
            try server.command("ACL", "SETUSER", "narrow", "on", "nopass", "~mine:*", "+@all", "-config")
            try server.command("RPUSH", "mine:list", "1")
            try await withClient(server.endpoint, { $0.username = "narrow" }) { client, _ in
                async let wrongType = client.failure("GET", "mine:list")
                async let forbidden = client.failure("GET", "theirs")
                async let unknown = client.failure("NONSENSE", "hunter2")
                async let script = client.failure("EVALSHA", String(repeating: "0", count: 40), "0")
                async let fine = client.text("ECHO", "fine")
                #expect(await wrongType?.serverCode == "WRONGTYPE")
                #expect(await forbidden?.serverCode == "NOPERM")
                #expect(await script?.serverCode == "NOSCRIPT")
                let message = await unknown?.message ?? ""
                #expect(message.contains("unknown command"))
                #expect(message.contains("127.0.0.1:\(server.port)"))
                #expect(!message.contains("hunter2"))
                #expect(try await fine == "fine")
                try server.command("CONFIG", "SET", "maxmemory", "1")
                #expect(await client.failure("SET", "mine:k", "v")?.serverCode == "OOM")
                try server.command("CONFIG", "SET", "maxmemory", "0")
                try server.command("REPLICAOF", "127.0.0.1", "1")
                #expect(await client.failure("SET", "mine:k", "v")?.serverCode == "READONLY")
            }
        }
    }

    @Test func `more requests than may be out fail at once`() async throws {
        try await RedisServer.withServer { server in
            try await withClient(server.endpoint, { $0.maximumInFlight = 10 }) { client, _ in
                _ = try await client.text("PING")
                let outcomes = await client.send((0..<15).map { RedisCommand("ECHO", "\($0)") }, deadline: .ample)
                let sent = outcomes.compactMap { try? $0.get().value.string }
                #expect(sent == (0..<10).map { "\($0)" })
                for outcome in outcomes.dropFirst(10) {
                    #expect(throws: RedisError.self) { try outcome.get() }
                }
                #expect(try await client.text("PING") == "PONG")
            }
        }
    }
}

/// Records the outcomes of requests by their numbers.
final class OutcomeRecorder: RedisOutcomeHandler {
    func isWanted(_ number: Int) -> Bool { true }
    func tail(_ number: Int) -> ByteBuffer? { nil }

    typealias Outcome = Result<RedisReply, RedisError>

    private let expected: Int
    private let state = Mutex<[Int: Outcome]>([:])
    private let isComplete = AsyncStream.makeStream(of: Void.self)

    init(expected: Int) {
        self.expected = expected
    }

    func completed(_ number: Int, _ outcome: Outcome) {
        let count = self.state.withLock { state in
            #expect(state.updateValue(outcome, forKey: number) == nil, "\(number) has ended twice")
            return state.count
        }
        if count == self.expected { self.isComplete.continuation.finish() }
    }

    /// When there are as many as were expected.
    func all() async -> [Int: Outcome] {
        for await _ in self.isComplete.stream {}
        return self.state.withLock { $0 }
    }
}
