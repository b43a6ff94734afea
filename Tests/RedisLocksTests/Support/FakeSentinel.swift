import LockTransport

@testable import RedisLocks

/// A Sentinel that says what a test tells it to say of one master.
struct FakeSentinel: Sendable {
    /// Where it sends clients, and what its record says.
    var port: Int
    var epoch: Int64
    var flags = "master"

    /// Runs one for each of these, and tells their addresses.
    static func withSentinels<Success>(
        _ sentinels: [FakeSentinel],
        _ body: ([RedisEndpoint]) async throws -> Success
    ) async throws -> Success {
        func add(_ endpoints: [RedisEndpoint]) async throws -> Success {
            guard endpoints.count < sentinels.count else { return try await body(endpoints) }
            let sentinel = sentinels[endpoints.count]
            return try await FakeServer.withServer({ sentinel.answers(to: $0) }) {
                try await add(endpoints + [.tcp(host: "127.0.0.1", port: $0.number)])
            }
        }
        return try await add([])
    }

    private func answers(to received: String) -> [FakeServer.Step] {
        var steps: [FakeServer.Step] = []
        if received.contains("HELLO") {
            steps.append(.say(FakeServer.hello.replacing("$10\r\nstandalone", with: "$8\r\nsentinel")))
        }
        if received.contains("SUBSCRIBE") {
            steps.append(.say(">3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n"))
        }
        // Both are asked together, and arrive together, or one after the other.
        if received.contains("GET-MASTER-ADDR-BY-NAME") {
            steps.append(.say("*2\r\n\(Self.bulk("127.0.0.1"))\(Self.bulk("\(self.port)"))"))
        }
        if received.contains("$6\r\nMASTER\r\n") {
            let fields = [
                "ip", "127.0.0.1", "port", "\(self.port)", "flags", self.flags, "config-epoch", "\(self.epoch)",
            ]
            steps.append(.say("%\(fields.count / 2)\r\n" + fields.map(Self.bulk).joined()))
        }
        return steps
    }

    private static func bulk(_ text: String) -> String { "$\(text.utf8.count)\r\n\(text)\r\n" }
}
