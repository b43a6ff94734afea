import LockTransport
import TestKit
import Testing

@testable import RedisLocks

/// Connections to a server that turns out not to be the one that is looked for.
@Suite(.timeLimit(.minutes(1))) struct GivenUpTests {
    @Test func `a server that goes on refusing is not connected to more than a few times a second`() async throws {
        let refusing = FakeServer.greeting(then: .say("-READONLY You can't write against a read only replica.\r\n"))
        try await FakeServer.withServer(refusing) { port in
            try await withClient(.tcp(host: "127.0.0.1", port: port.number)) {
                // Not these keep it from connecting.
                $0.backoffBase = .milliseconds(1)
                $0.backoffCap = .milliseconds(1)
            } _: { client, recorder async throws in
                let start = ContinuousClock.now
                while ContinuousClock.now - start < .seconds(2) {
                    let error = await client.failure("SET", "a", "b")
                    #expect(error?.code == .refused && error?.serverCode == "READONLY", "\(error as Any)")
                    client.reconnect(try #require(error?.connection), "it says so")
                }
                let seconds = (ContinuousClock.now - start) / .seconds(1)
                #expect(recorder.greetings.count > 4)
                #expect(Double(recorder.greetings.count) <= 4 * seconds + 2)
            }
        }
    }
}
