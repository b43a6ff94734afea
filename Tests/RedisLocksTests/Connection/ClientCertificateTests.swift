import Foundation
import TestKit
import Testing

@testable import LockTransport
@testable import RedisLocks

/// Servers that ask clients for a certificate, as Redis does unless it is told not to.
@Suite(.enabled(if: RedisServer.isRequired)) struct ClientCertificateTests {
    private static func withServer(
        _ body: (RedisServer, TestCertificates) async throws -> Void
    ) async throws {
        let certificates = try TestCertificates.good.get()
        let options = RedisServer.Options(arguments: ["--tls-auth-clients", "yes"], certificates: certificates)
        try await RedisServer.withServer(options) { server in try await body(server, certificates) }
    }

    private static func tls(_ certificates: TestCertificates, chain: URL? = nil, key: URL? = nil) -> RedisTLS {
        RedisTLS(
            certificateAuthorityFile: certificates.authority.path, certificateChainFile: chain?.path,
            privateKeyFile: key?.path)
    }

    @Test func `a client's certificate and its key, in two files or in one, are accepted`() async throws {
        try await Self.withServer { server, good in
            for tls in [Self.tls(good, chain: good.certificate, key: good.key), Self.tls(good, chain: good.keyStore)] {
                try await withClient(.tcp(host: "localhost", port: server.tlsPort), { $0.tls = tls }) { client, _ in
                    let text = try await client.text("PING")
                    #expect(text == "PONG")
                }
            }
        }
    }

    @Test func `a client without a certificate is told what the server asks for`() async throws {
        try await Self.withServer { server, good in
            try await withClient(.tcp(host: "localhost", port: server.tlsPort), { $0.tls = Self.tls(good) }) {
                client, _ in
                try await eventually("an attempt has failed") { client.lastError != nil }
                let message = client.lastError?.message ?? ""
                #expect(message.contains("asks for a client's certificate"), "\(message)")
            }
        }
    }

    @Test func `a certificate of another authority is refused by the server`() async throws {
        let stranger = try TestCertificates.wrongName.get()
        try await Self.withServer { server, good in
            let tls = Self.tls(good, chain: stranger.certificate, key: stranger.key)
            try await withClient(.tcp(host: "localhost", port: server.tlsPort), { $0.tls = tls }) { client, _ in
                try await eventually("it was refused") {
                    client.lastError?.message.contains("the server refused this client's certificate") == true
                }
                #expect(client.lastError?.code == .unusableServer)
            }
        }
    }

    @Test func `files that do not belong together, or have no key, are named`() async throws {
        let stranger = try TestCertificates.wrongName.get()
        try await Self.withServer { server, good in
            let cases: [(RedisTLS, String)] = [
                (
                    Self.tls(good, chain: good.certificate, key: stranger.key),
                    "the private key in \(stranger.key.path) does not belong to the certificate in \(good.certificate.path)"
                ),
                (
                    Self.tls(good, chain: good.certificate),
                    "the private key cannot be read from \(good.certificate.path): key-file names the file that has it"
                ),
                (
                    Self.tls(good, chain: good.key, key: good.key),
                    "the client's certificate cannot be read from \(good.key.path)"
                ),
                (
                    Self.tls(good, chain: good.certificate, key: URL(filePath: "/nowhere/key.pem")),
                    "the private key cannot be read from /nowhere/key.pem"
                ),
            ]
            for (tls, reason) in cases {
                try await withClient(.tcp(host: "localhost", port: server.tlsPort), { $0.tls = tls }) { client, _ in
                    let error = await client.failure("PING")
                    #expect(error?.code == .unusableServer)
                    #expect(error?.reason == reason)
                }
            }
        }
    }
}

/// Names with an underscore, which the TLS library does not check.
@Suite struct PeerNameTests {
    @Test(
        .enabled(if: RedisServer.isRequired),
        arguments: [
            ("redis_1", true), ("REDIS_1", true), ("a.my_net.example", true), ("a_b.my_net.example", true),
            ("redis_2", false), ("redis_1.example", false), ("my_net.example", false), ("a.b.my_net.example", false),
        ])
    func `a name with an underscore is checked against the certificate like any other`(name: String, isGood: Bool)
        async throws
    {
        let certificates = try TestCertificates.underscores.get()
        try await RedisServer.withServer(RedisServer.Options(certificates: certificates)) { server in
            try await withClient(
                .tcp(host: "127.0.0.1", port: server.tlsPort),
                {
                    $0.tls = RedisTLS(serverName: name, certificateAuthorityFile: certificates.authority.path)
                    $0.password = "secret"
                }
            ) { client, _ in
                if isGood {
                    let text = try await client.text("PING")
                    #expect(text == "PONG")
                    return
                }
                let error = await client.failure("PING")
                #expect(error?.code == .unusableServer)
                #expect(error?.reason == "the server's certificate is not for \(name)")
                // The password least of all.
                let calls = try server.commandCalls()
                #expect(calls["hello"] == nil)
            }
        }
    }

    @Test(.enabled(if: RedisServer.isRequired))
    func `a certificate for such a name has to come from an authority that is trusted`()
        async throws
    {
        let certificates = try TestCertificates.underscores.get()
        let other = try TestCertificates.good.get()
        try await RedisServer.withServer(RedisServer.Options(certificates: certificates)) { server in
            try await withClient(
                .tcp(host: "127.0.0.1", port: server.tlsPort),
                { $0.tls = RedisTLS(serverName: "redis_1", certificateAuthorityFile: other.authority.path) }
            ) { client, _ in
                let error = await client.failure("PING")
                #expect(error?.code == .unusableServer)
                #expect(error?.message.contains("not from a trusted authority") == true)
            }
        }
    }

    @Test(arguments: [
        ("redis_1", "redis_1", true), ("redis_1.", "redis_1", true), ("redis_1", "Redis_1.", true),
        ("*.a_b.example", "x_y.a_b.example", true), ("*.a_b.example", "a_b.example", false),
        ("*.a_b.example", ".a_b.example", false), ("*.a_b.example", "x.y.a_b.example", false),
        ("*", "redis_1", false), ("*.", "redis_1.", false), ("*.example", "redis_1.example", false),
        ("redis_*", "redis_1", false), ("x*.a_b.example", "xy.a_b.example", false),
        ("redis_1\u{0}.evil.example", "redis_1", false), ("redis_1 ", "redis_1", false), ("", "redis_1", false),
        ("redis_1", "", false), ("redis_\u{212A}", "redis_k", false),
    ])
    func `what a certificate may say for a name`(pattern: String, name: String, isMatch: Bool) {
        #expect(PeerName.isMatch(Array(pattern.utf8), name: Array(name.utf8)) == isMatch)
    }

    @Test func `only names with an underscore, and nothing else that is unusual, are checked here`() {
        for name in ["redis_1", "_a.b", "A_b.example"] { #expect(PeerName.isNeeded(for: name)) }
        for name in ["redis-1", "a.b", "", "ä_b", "a_b c", "a_b*", "a_b\u{0}"] {
            #expect(!PeerName.isNeeded(for: name))
        }
    }
}
