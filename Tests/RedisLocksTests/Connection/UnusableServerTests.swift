import LockKernel
import LockTransport
import NIOCore
import NIOPosix
import TestKit
import Testing

@testable import RedisLocks

/// Servers that are not what they should be, and how a client says so.
@Suite struct UnusableServerTests {
    private static func refusal(
        _ endpoint: RedisEndpoint,
        _ configure: (inout RedisClientConfiguration) -> Void = { _ in }
    ) async throws -> RedisError? {
        try await withClient(endpoint, configure) { client, recorder in
            let first = await client.failure("PING")
            // It stands: the next one fails at once, too.
            let second = await client.failure("PING")
            #expect(second?.code == first?.code)
            #expect(recorder.events.isEmpty)
            return first
        }
    }

    @Test(
        .enabled(if: RedisServer.isRequired),
        arguments: [
            (
                "wrong", nil, "WRONGPASS",
                "the server does not know this user with this password (WRONGPASS): give user and password in the URL"
            ),
            (nil, nil, "NOAUTH", "the server asks for a password (NOAUTH): give user and password in the URL"),
            (
                nil, "nobody", "WRONGPASS",
                "the server does not know this user with this password (WRONGPASS), and none was given"
            ),
            (
                "hunter2", "nobody", "WRONGPASS",
                "the server does not know this user with this password (WRONGPASS): give"
            ),
        ] as [(String?, String?, String, String)]
    )
    func `a password that is wrong or missing`(password: String?, user: String?, code: String, reason: String)
        async throws
    {
        try await RedisServer.withServer(RedisServer.Options(arguments: ["--requirepass", "hunter2"])) { server in
            let error = try await Self.refusal(server.endpoint) {
                $0.password = password
                $0.username = user
            }
            #expect(error?.code == .unusableServer)
            #expect(error?.serverCode == code)
            #expect(error?.reason.hasPrefix(reason) == true, "\(error?.reason ?? "")")
            #expect(error?.message.contains("hunter2") == false)
        }
    }

    @Test(.enabled(if: RedisServer.isRequired)) func `a password that is put right is used with no restart`()
        async throws
    {
        try await RedisServer.withServer { server in
            try server.command("ACL", "SETUSER", "me", "on", ">other", "~*", "&*", "+@all")
            try await withClient(
                server.endpoint,
                {
                    $0.username = "me"
                    $0.password = "right"
                }
            ) { client, _ in
                #expect(await client.failure("PING")?.code == .unusableServer)
                try server.command("ACL", "SETUSER", "me", ">right")
                try await client.eventuallyAnswers()
            }
        }
    }

    @Test(.enabled(if: RedisServer.isRequired), arguments: ["select", "subscribe"])
    func `a user who may not do what set-up needs`(command: String) async throws {
        try await RedisServer.withServer { server in
            try server.command("ACL", "SETUSER", "narrow", "on", "nopass", "~*", "&*", "+@all", "-\(command)")
            let error = try await Self.refusal(server.endpoint) {
                $0.username = "narrow"
                $0.database = 1
                $0.setup = [RedisCommand("SUBSCRIBE", "ch")]
            }
            #expect(error?.code == .unusableServer)
            #expect(error?.serverCode == "NOPERM")
            #expect(error?.reason.hasPrefix("\(command.uppercased()) was refused: NOPERM") == true)
            #expect(error?.reason.contains("'\(command)' command") == true, "what is missing: \(error?.reason ?? "")")
            #expect(error?.reason.contains("docs/redis.md") == true)
        }
    }

    @Test(.enabled(if: RedisServer.isRequired)) func `a server that the configuration refuses`() async throws {
        try await RedisServer.withServer { server in
            let error = try await Self.refusal(server.endpoint) {
                $0.checkGreeting = { "version \($0.version.prefix(1)) is \($0.role)" }
            }
            #expect(error?.code == .unusableServer)
            #expect(error?.reason.hasSuffix("is master") == true)
        }
    }

    @Test(
        arguments: [
            ("HTTP/1.1 400 Bad Request\r\n\r\n", "this is an HTTP server, not Redis"),
            ("\u{15}\u{3}\u{3}\u{0}\u{2}\u{2}\u{28}", "this port speaks TLS"),
            ("-ERR unknown command 'HELLO'\r\n", "the server does not know HELLO: Redis 6 or later is needed"),
            ("+OK\r\n", "not a Redis server: its reply to HELLO is something else"),
            ("220 smtp.example ESMTP\r\n", "not a Redis server: a value of no known type: \"2\""),
            ("$-5\r\n", "not a Redis server: a length that is no decimal number: \"$-5\""),
        ]
    )
    func `a server that answers the greeting with something else`(answer: String, reason: String) async throws {
        try await FakeServer.withServer({ _ in [.say(answer)] }) { port in
            let error = try await Self.refusal(.tcp(host: "127.0.0.1", port: port.number))
            #expect(error?.code == .unusableServer)
            #expect(error?.message == "127.0.0.1:\(port.number): \(reason)")
        }
    }

    @Test func `a server that speaks first is judged by what it says`() async throws {
        try await FakeServer.withServer(greeting: [.say("SSH-2.0-x\r\n")], { _ in [] }) { port in
            let error = try await Self.refusal(.tcp(host: "127.0.0.1", port: port.number))
            #expect(error?.reason.hasPrefix("not a Redis server") == true)
        }
    }

    @Test func `an HTTP server spoken to over TLS`() async throws {
        try await FakeServer.withServer({ _ in [.say("HTTP/1.1 400 Bad Request\r\n\r\n"), .close] }) { port in
            let error = try await Self.refusal(.tcp(host: "127.0.0.1", port: port.number)) { $0.tls = RedisTLS() }
            #expect(error?.code == .unusableServer)
            #expect(error?.reason == "the server does not speak TLS on this port")
        }
    }

    @Test(
        arguments: [
            (["-LOADING Redis is loading the dataset in memory\r\n"], "not ready: LOADING"),
            (["-ERR max number of clients reached\r\n"], "ERR max number of clients reached"),
            ([], "the server closed the connection before HELLO was answered"),
        ]
    )
    func `a server that is not ready is waited for until the deadline`(said: [String], reason: String) async throws {
        try await FakeServer.withServer({ _ in said.map { .say($0) } + [.close] }) { port in
            try await withClient(.tcp(host: "127.0.0.1", port: port.number)) { client, _ in
                try await eventually("an attempt has failed") { client.lastError != nil }
                let start = BootInstant.now
                let error = await client.failure("PING", deadline: start + .milliseconds(80))
                #expect(start.duration(to: .now) >= .milliseconds(80))
                #expect(error?.code == .notSent)
                #expect(
                    error?.reason.hasPrefix("not connected by the deadline: \(reason)") == true,
                    "\(error?.reason ?? "")")
            }
        }
    }

    @Test func `a port that says nothing is given up at the connect timeout`() async throws {
        try await FakeServer.withServer({ _ in [] }) { port in
            try await withClient(
                .tcp(host: "127.0.0.1", port: port.number),
                { $0.connectTimeout = .seconds(1) }
            ) { client, _ in
                try await eventually("an attempt has failed") { client.lastError != nil }
                #expect(client.lastError?.code == .notSent)
                #expect(
                    client.lastError?.reason.contains("accepted the connection but did not answer HELLO within 1 s")
                        == true)
            }
        }
    }

    @Test func `a socket's path that is too long is told as that, at once`() async throws {
        let path = "/" + String(repeating: "d", count: 119)
        let error = try await Self.refusal(.unixSocket(path: path))
        #expect(error?.code == .unusableServer)
        #expect(error?.reason == "the path of a unix socket has at most 103 bytes, and this one has 120")
        let longest = try await withClient(.unixSocket(path: String(path.prefix(103)))) { client, _ in
            try await eventually("an attempt has failed") { client.lastError != nil }
            return client.lastError?.reason
        }
        #expect(longest == "there is no such socket")
    }

    @Test func `a host without an address, and a socket that is not there`() async throws {
        let cases: [(RedisEndpoint, String)] = [
            (.tcp(host: "no-such-host.invalid", port: 1), "the host name could not be resolved"),
            (.unixSocket(path: "/nowhere/redis.sock"), "there is no such socket"),
        ]
        for (endpoint, reason) in cases {
            try await withClient(endpoint) { client, _ in
                try await eventually("an attempt has failed") { client.lastError != nil }
                #expect(client.lastError?.code == .notSent)
                #expect(client.lastError?.reason == reason)
            }
        }
    }
}

/// Servers that misbehave once they are in use.
@Suite struct HostileServerTests {
    @Test(
        arguments: [
            ("$99999999999\r\n", "a payload longer than allowed"),
            ("*-7\r\n", "a length that is no decimal number"),
            (String(repeating: "*1\r\n", count: 1_000), "aggregates nested deeper than allowed"),
            ("*99999999\r\n", "more elements than allowed"),
            ("+" + String(repeating: "x", count: 100_000), "a line longer than allowed"),
            ("hello\r\n", "a value of no known type"),
            (":1\r\n:2\r\n", "the server sent a reply to no request"),
            (">3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n", "the server confirmed a subscription"),
        ]
    )
    func `a server that breaks the protocol loses the connection, and requests end with an unknown outcome`(
        said: String,
        reason: String
    ) async throws {
        try await FakeServer.withServer(FakeServer.greeting(then: .say(said))) { port in
            try await withClient(.tcp(host: "127.0.0.1", port: port.number)) { client, recorder in
                _ = await client.failure("PING")
                try await eventually("it was noticed") { !recorder.errors.isEmpty }
                #expect(recorder.errors.first?.code == .unusableServer)
                #expect(recorder.errors.first?.reason.contains(reason) == true, "\(recorder.errors)")
                // It is tried again all the same.
                try await eventually("there is another connection") { recorder.greetings.count > 1 }
            }
        }
    }

    @Test func `a storm of pushes grows nothing and keeps nobody from its reply`() async throws {
        let storm = String(repeating: ">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$1\r\nx\r\n", count: 20_000)
        try await FakeServer.withServer(FakeServer.greeting(then: .say(storm), .say("+here\r\n"))) { port in
            try await withClient(.tcp(host: "127.0.0.1", port: port.number)) { client, recorder in
                for round in 1...5 {
                    let text = try await client.text("X")
                    #expect(text == "here")
                    #expect(recorder.pushes.count == 20_000 * round)
                }
            }
        }
    }

    @Test func `an endless reply is cut off at the limit`() async throws {
        let chunk = String(repeating: "x", count: 100_000)
        try await FakeServer.withServer(
            FakeServer.greeting(
                then: .say("*1000\r\n"), .say("$1000000\r\n" + String(repeating: chunk, count: 10) + "\r\n"))
        ) { port in
            try await withClient(
                .tcp(host: "127.0.0.1", port: port.number),
                { $0.limits = RESPLimits(maximumPendingBytes: 500_000) }
            ) { client, _ in
                let error = await client.failure("X")
                #expect(error?.code == .outcomeUnknown)
                #expect(error?.reason.contains("more bytes than allowed") == true, "\(error?.reason ?? "")")
            }
        }
    }
}
