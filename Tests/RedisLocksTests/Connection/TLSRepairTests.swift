import Foundation
import LockKernel
import LockTransport
import TestKit
import Testing

@testable import RedisLocks

@Suite(.enabled(if: RedisServer.isRequired)) struct TLSRepairTests {
    @Test func `an authority that is put right on disk is used with no restart`() async throws {
        let (good, other) = (try TestCertificates.good.get(), try TestCertificates.wrongName.get())
        try await RedisServer.withServer(RedisServer.Options(certificates: good)) { server in
            let file = server.folder.appending(path: "trusted.pem")
            try Data(contentsOf: other.authority).write(to: file)
            try await withClient(
                .tcp(host: "localhost", port: server.tlsPort),
                { $0.tls = RedisTLS(certificateAuthorityFile: file.path) }
            ) { client, _ in
                #expect(await client.failure("PING")?.code == .unusableServer)
                try Data(contentsOf: good.authority).write(to: file)
                try await eventually("it is used") { await client.failure("PING") == nil }
            }
        }
    }

    @Test func `a server that asks for a certificate is shown one, and told apart if there is none`() async throws {
        let certificates = try TestCertificates.good.get()
        let options = RedisServer.Options(arguments: ["--tls-auth-clients", "yes"], certificates: certificates)
        try await RedisServer.withServer(options) { server in
            var tls = RedisTLS(certificateAuthorityFile: certificates.authority.path)
            let endpoint = RedisEndpoint.tcp(host: "localhost", port: server.tlsPort)
            try await withClient(endpoint, { $0.tls = tls }) { client, _ in
                let error = await client.failure("PING")
                #expect(error?.code == .unusableServer)
                #expect(
                    error?.reason
                        == "the server refused the TLS handshake: it asks for a client's certificate (cert-file and key-file)"
                )
            }
            // Signed by an authority that the server does not know.
            let other = try TestCertificates.wrongName.get()
            tls.certificateChainFile = other.certificate.path
            tls.privateKeyFile = other.key.path
            try await withClient(endpoint, { $0.tls = tls }) { client, _ in
                let error = await client.failure("PING")
                #expect(error?.code == .unusableServer)
                #expect(error?.reason.hasPrefix("the server refused this client's certificate: ") == true)
            }
            tls.certificateChainFile = certificates.certificate.path
            tls.privateKeyFile = certificates.key.path
            try await withClient(endpoint, { $0.tls = tls }) { client, _ in
                #expect(await client.failure("PING") == nil)
            }
        }
    }

    /// Whatever part of the TLS handshake arrives: a connection that ends is no refusal.
    @Test(arguments: TCPProxy.Direction.allCases)
    func `wherever a TLS connection is cut, requests wait for the next one`(direction: TCPProxy.Direction) async throws
    {
        let certificates = try TestCertificates.good.get()
        try await RedisServer.withServer(RedisServer.Options(certificates: certificates)) { server in
            try await TCPProxy.withProxy(toPort: server.tlsPort) { proxy in
                func converse() async throws {
                    try await withClient(
                        .tcp(host: "localhost", port: proxy.port),
                        { $0.tls = RedisTLS(certificateAuthorityFile: certificates.authority.path) }
                    ) { client, _ in
                        var lost = 0
                        for number in 0..<2 {
                            let error = await client.failure("ECHO", "\(number)")
                            #expect(error == nil || error?.code == .outcomeUnknown, "\(error.map { "\($0)" } ?? "")")
                            if error != nil { lost += 1 }
                        }
                        #expect(lost <= 1)
                    }
                }
                try await converse()
                let whole = proxy.passedBytes(direction)
                for bytes in stride(from: 0, to: whole, by: max(whole / 16, 1)) {
                    proxy.set(.cut(afterBytes: bytes), direction)
                    try await converse()
                }
            }
        }
    }
}
