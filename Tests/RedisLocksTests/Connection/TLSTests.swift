import Foundation
import LockKernel
import LockTransport
import TestKit
import Testing

@testable import RedisLocks

@Suite(.enabled(if: RedisServer.isRequired)) struct TLSTests {
    private static func withTLSServer(
        _ made: Result<TestCertificates, any Error>,
        _ body: (RedisServer, TestCertificates) async throws -> Void
    ) async throws {
        let certificates = try made.get()
        try await RedisServer.withServer(RedisServer.Options(certificates: certificates)) { server in
            try await body(server, certificates)
        }
    }

    @Test(arguments: ["localhost", "127.0.0.1", "::1"])
    func `a certificate for the name or the address of the host is accepted`(host: String) async throws {
        try await Self.withTLSServer(TestCertificates.good) { server, certificates in
            try await withClient(
                .tcp(host: host, port: server.tlsPort),
                { $0.tls = RedisTLS(certificateAuthorityFile: certificates.authority.path) }
            ) { client, _ in
                let text = try await client.text("ECHO", "over TLS")
                #expect(text == "over TLS")
                let outcomes = await client.send((0..<1_000).map { RedisCommand("ECHO", "\($0)") }, deadline: .ample)
                #expect(outcomes.compactMap { try? $0.get().value.string } == (0..<1_000).map { "\($0)" })
            }
        }
    }

    @Test(arguments: ["localhost", "127.0.0.1", "::1"])
    func `a certificate for another host is refused, and nothing is told to that server`(host: String) async throws {
        try await Self.withTLSServer(TestCertificates.wrongName) { server, certificates in
            try await withClient(
                .tcp(host: host, port: server.tlsPort),
                {
                    $0.tls = RedisTLS(certificateAuthorityFile: certificates.authority.path)
                    $0.password = "secret"
                }
            ) { client, _ in
                let error = await client.failure("PING")
                #expect(error?.code == .unusableServer)
                #expect(
                    error?.message.hasSuffix("the server's certificate is not for \(host)") == true,
                    "\(String(describing: error))")
                let calls = try server.commandCalls()
                #expect(calls["hello"] == nil)
            }
        }
    }

    @Test func `a certificate for another host is accepted under that host's name`() async throws {
        try await Self.withTLSServer(TestCertificates.wrongName) { server, certificates in
            try await withClient(
                .tcp(host: "127.0.0.1", port: server.tlsPort),
                {
                    $0.tls = RedisTLS(
                        serverName: "elsewhere.example",
                        certificateAuthorityFile: certificates.authority.path
                    )
                }
            ) { client, _ in
                let text = try await client.text("PING")
                #expect(text == "PONG")
            }
        }
    }

    @Test func `an authority that is not trusted is refused`() async throws {
        let other = try TestCertificates.wrongName.get()
        try await Self.withTLSServer(TestCertificates.good) { server, _ in
            for file in [other.authority.path, nil] {
                try await withClient(
                    .tcp(host: "localhost", port: server.tlsPort),
                    { $0.tls = RedisTLS(certificateAuthorityFile: file) }
                ) { client, _ in
                    let error = await client.failure("PING")
                    #expect(error?.code == .unusableServer)
                    #expect(error?.message.contains("not from a trusted authority") == true)
                }
            }
        }
    }

    @Test func `files that cannot be read, and names that cannot be checked, are named`() async throws {
        try await Self.withTLSServer(TestCertificates.good) { server, certificates in
            let cases: [(RedisTLS, RedisEndpoint, String)] = [
                (
                    RedisTLS(certificateAuthorityFile: "/nowhere/ca.pem"),
                    .tcp(host: "localhost", port: server.tlsPort),
                    "the authorities cannot be read from /nowhere/ca.pem"
                ),
                (
                    RedisTLS(certificateAuthorityFile: certificates.key.path),
                    .tcp(host: "localhost", port: server.tlsPort),
                    "the authorities cannot be read from \(certificates.key.path)"
                ),
                (
                    RedisTLS(serverName: "10.1.2.3"), .tcp(host: "localhost", port: server.tlsPort),
                    "10.1.2.3 cannot be the TLS server name: an IP address can be checked as the host only"
                ),
                (
                    RedisTLS(), .unixSocket(path: server.socketPath), "TLS over a unix socket needs a server name"
                ),
            ]
            for (tls, endpoint, reason) in cases {
                try await withClient(endpoint, { $0.tls = tls }) { client, _ in
                    let error = await client.failure("PING")
                    #expect(error?.code == .unusableServer)
                    #expect(error?.reason == reason)
                }
            }
        }
    }

    @Test func `TLS spoken to a port in clear, and the other way round, are told apart from a server that is down`()
        async throws
    {
        try await Self.withTLSServer(TestCertificates.good) { server, certificates in
            try await withClient(
                .tcp(host: "localhost", port: server.port),
                {
                    $0.tls = RedisTLS(certificateAuthorityFile: certificates.authority.path)
                    $0.connectTimeout = .seconds(1)
                }
            ) { client, _ in
                try await eventually("an attempt has failed") { client.lastError != nil }
                let message = client.lastError?.message ?? ""
                #expect(message.contains("does not speak TLS"), "\(message)")
            }
            try await withClient(.tcp(host: "localhost", port: server.tlsPort)) { client, _ in
                try await eventually("an attempt has failed") { client.lastError != nil }
                let message = client.lastError?.message ?? ""
                #expect(message.contains("speaks TLS"), "\(message)")
            }
        }
    }
}
