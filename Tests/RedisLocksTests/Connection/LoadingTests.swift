import TestKit
import Testing

@testable import RedisLocks

@Suite(.enabled(if: RedisServer.isRequired)) struct LoadingTests {
    @Test func `a server that loads its data is waited for, although it greets and lets subscribe`() async throws {
        let slowly = ["--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024"]
        try await RedisServer.withServer(RedisServer.Options(arguments: slowly)) { server in
            try server.withConnection { connection in
                let value = String(repeating: "v", count: 100)
                for number in 0..<100 { _ = try connection.command("SET", "k\(number)", value) }
                _ = try connection.command("SAVE")
            }
            server.kill()
            try await withClient(server.endpoint, { $0.setup = [RedisCommand("SUBSCRIBE", "ch")] }) { client, _ in
                async let early = client.text("EXISTS", "k0", "k99")
                // Returns when it has loaded.
                async let started: Void = server.start()
                try await eventually("it was found loading") { client.lastError?.serverCode == "LOADING" }
                try await started
                let counted = try await early
                #expect(counted == "2")
            }
        }
    }

    @Test func `a user who may not ping is served`() async throws {
        try await RedisServer.withServer { server in
            try server.command("ACL", "SETUSER", "narrow", "on", "nopass", "~*", "&*", "+@all", "-ping")
            try await withClient(server.endpoint, { $0.username = "narrow" }) { client, _ in
                let text = try await client.text("ECHO", "served")
                #expect(text == "served")
            }
        }
    }
}
