import LockKernel
import LockTransport
import NIOCore
import Synchronization
import TestKit
import Testing

@testable import RedisLocks

/// Tells a place, which a test may change.
private final class Signpost: RedisLocator {
    let name = "x"
    let origin = "the address that the signpost gives"
    private let state: Mutex<(answer: Result<RedisLocation, RedisError>, asked: Int)>

    init(_ server: RedisServer, tag: Int64) {
        self.state = Mutex((.success(RedisLocation(endpoint: server.endpoint, tag: tag)), 0))
    }

    var asked: Int { self.state.withLock { $0.asked } }

    func point(to server: RedisServer, tag: Int64) {
        self.state.withLock { $0.answer = .success(RedisLocation(endpoint: server.endpoint, tag: tag)) }
    }

    func fail(_ error: RedisError) { self.state.withLock { $0.answer = .failure(error) } }

    func locate(_ completion: @escaping @Sendable (Result<RedisLocation, RedisError>) -> Void) {
        completion(
            self.state.withLock { state in
                state.asked += 1
                return state.answer
            })
    }
}

/// A client whose server is not always in the same place.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(2)))
struct LocatorTests {
    /// Nobody listens there.
    private static let nowhere = RedisEndpoint.tcp(host: "127.0.0.1", port: 1)

    /// `ECHO` with the tag as what is echoed.
    private static let echo: RedisCommand = {
        var bytes = ByteBuffer()
        bytes.writeRESPArrayHeader(count: 2)
        bytes.writeRESPBulk("ECHO")
        return RedisCommand(bytes: bytes, endsWithTag: true)
    }()

    @Test func `a command ends with the tag of the connection that carries it, and the reply tells it`() async throws {
        try await RedisServer.withServer { first in
            try await RedisServer.withServer { second in
                let signpost = Signpost(first, tag: 7)
                try await withClient(Self.nowhere) {
                    $0.locator = signpost
                } _: { client, _ async throws in
                    let one = try await client.send(Self.echo, deadline: .ample)
                    #expect(one.value.string == "7" && one.tag == 7)
                    signpost.point(to: second, tag: 8)
                    first.kill()
                    // Else it would leave on the connection that is dead already.
                    try await eventually("its end was noticed") { client.state != .connected(one.connection) }
                    // Submitted before there is a connection, rendered for the one that it leaves on.
                    let two = try await client.send(Self.echo, deadline: .ample)
                    #expect(two.value.string == "8" && two.tag == 8 && two.connection > one.connection)
                    let many = await client.send([Self.echo, RedisCommand("PING"), Self.echo], deadline: .ample)
                    #expect(try many.map { try $0.get().value.string } == ["8", "PONG", "8"])
                }
            }
        }
    }

    @Test func `a server that has moved is left at once, and what was out has an unknown outcome`() async throws {
        try await RedisServer.withServer { first in
            try await RedisServer.withServer { second in
                let signpost = Signpost(first, tag: 1)
                try await withClient(Self.nowhere) {
                    $0.locator = signpost
                } _: { client, _ async throws in
                    #expect(try await client.send(Self.echo, deadline: .ample).tag == 1)
                    let slow = Task { await client.failure("BLPOP", "nothing", "0") }
                    try await eventually("it is out") {
                        try first.command("INFO", "clients").string.contains("blocked_clients:1")
                    }
                    // To the same place: nothing happens.
                    client.moved(to: RedisLocation(endpoint: first.endpoint, tag: 1))
                    #expect(try first.command("INFO", "clients").string.contains("blocked_clients:1"))
                    signpost.point(to: second, tag: 2)
                    client.moved(to: RedisLocation(endpoint: second.endpoint, tag: 2))
                    #expect(await slow.value?.code == .outcomeUnknown)
                    #expect(try await client.send(Self.echo, deadline: .ample).tag == 2)
                }
            }
        }
    }

    @Test func `a move cuts the pause between two attempts short`() async throws {
        try await RedisServer.withServer { first in
            try await RedisServer.withServer { second in
                let signpost = Signpost(first, tag: 1)
                first.kill()
                try await withClient(Self.nowhere) {
                    $0.locator = signpost
                    $0.backoffBase = .seconds(1_000)
                    $0.backoffCap = .seconds(1_000)
                } _: { client, _ async throws in
                    try await eventually("it pauses") { client.state == .backingOff }
                    signpost.point(to: second, tag: 2)
                    client.moved(to: RedisLocation(endpoint: second.endpoint, tag: 2))
                    #expect(try await client.send(Self.echo, deadline: .ample).tag == 2)
                }
            }
        }
    }

    @Test func `what belongs to one connection leaves on no other`() async throws {
        try await RedisServer.withServer { server in
            let signpost = Signpost(server, tag: 1)
            try await withClient(Self.nowhere) {
                $0.locator = signpost
            } _: { client, _ async throws in
                let first = try await client.send(RedisCommand("PING"), deadline: .ample)
                _ = try await client.send(RedisCommand("PING"), deadline: .ample, onlyOn: first.connection)
                client.reconnect(first.connection, RedisError(.refused, "the test says so"))
                try await client.eventuallyAnswers()
                let error = await #expect(throws: RedisError.self) {
                    try await client.send(RedisCommand("PING"), deadline: .ample, onlyOn: first.connection)
                }
                #expect(error?.code == .notSent)
                // Of a connection that is gone already there is nothing to give up.
                let second = try await client.send(RedisCommand("PING"), deadline: .ample).connection
                client.reconnect(first.connection, RedisError(.refused, "late"))
                #expect(try await client.send(RedisCommand("PING"), deadline: .ample).connection == second)
            }
        }
    }

    @Test func `a server in the wrong role is asked again until its role is right`() async throws {
        try await RedisServer.withServer { server in
            try server.command("REPLICAOF", "127.0.0.1", "1")
            let signpost = Signpost(server, tag: 1)
            try await withClient(Self.nowhere) {
                $0.locator = signpost
                $0.checkRole = { $0.role == "master" ? nil : "this is a replica" }
            } _: { client, _ async throws in
                let error = await client.failure("PING", deadline: .now + .milliseconds(300))
                #expect(
                    error?.code == .notSent && error?.message.contains("this is a replica") == true, "\(error as Any)")
                #expect(signpost.asked > 1)
                let later = Task { try await client.text("PING") }
                try server.command("REPLICAOF", "NO", "ONE")
                #expect(try await later.value == "PONG")
            }
        }
    }

    @Test func `errors of the locator are told, and refusals at once`() async throws {
        try await RedisServer.withServer { server in
            let signpost = Signpost(server, tag: 1)
            signpost.fail(RedisError(.notSent, "nobody knows"))
            try await withClient(Self.nowhere) {
                $0.locator = signpost
            } _: { client, _ async throws in
                let error = await client.failure("PING", deadline: .now + .milliseconds(200))
                #expect(error?.description == "notSent: not connected by the deadline: nobody knows")
                signpost.fail(RedisError(.unusableServer, "no such thing"))
                try await eventually("it is refused") { client.lastError?.code == .unusableServer }
                #expect(await client.failure("PING")?.description == "unusableServer: no such thing")
                signpost.point(to: server, tag: 1)
                try await client.eventuallyAnswers()
            }
        }
    }

    @Test func `an address that nobody listens at is told with where it comes from`() async throws {
        try await RedisServer.withServer { server in
            let signpost = Signpost(server, tag: 1)
            server.kill()
            try await withClient(Self.nowhere) {
                $0.locator = signpost
            } _: { client, _ async throws in
                let error = await client.failure("PING", deadline: .now + .milliseconds(300))
                #expect(error?.message.contains("(the address that the signpost gives)") == true, "\(error as Any)")
                #expect(error?.message.contains("127.0.0.1:\(server.port)") == true)
            }
        }
    }
}
