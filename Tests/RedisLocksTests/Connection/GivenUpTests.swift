import DistributedLocks
import LockTransport
import LockURLs
import Synchronization
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
                    client.reconnect(try #require(error?.connection), try #require(error))
                }
                let seconds = (ContinuousClock.now - start) / .seconds(1)
                #expect(recorder.greetings.count > 4)
                #expect(Double(recorder.greetings.count) <= 4 * seconds + 2)
            }
        }
    }

    /// While the master is looked up anew, there is no connection. That must not make a refusal look like a server that is away.
    @Test(arguments: [
        ("-DLOCKEPOCH the epoch 0 is below 3\r\n", LockError.Code.serverRefused, "dlock init --raise-epoch"),
        ("-READONLY You can't write against a read only replica.\r\n", .unreachable, "READONLY"),
    ])
    func `a refusal is told by its name although the next connection does not come in time`(
        refusal: String, code: LockError.Code, text: String
    ) async throws {
        let connections = Mutex(0)
        try await FakeServer.withServer { received in
            if let channel = received.split(separator: "\r\n").drop(while: { $0 != "SUBSCRIBE" }).dropFirst(2).first {
                return [.say(">3\r\n$9\r\nsubscribe\r\n$\(channel.utf8.count)\r\n\(channel)\r\n:1\r\n")]
            }
            if !received.contains("HELLO") { return [.say(refusal)] }
            // The second and every later one is accepted and hears nothing.
            let isFirst = connections.withLock { connections in
                connections += 1
                return connections == 1
            }
            return isFirst ? [.say(FakeServer.hello)] : []
        } _: { port in
            let backend = try RedisLockBackend(configuration: .init(host: "127.0.0.1", port: port.number))
            try await withLockClient(backend) { locks in
                for _ in 0..<2 {
                    let error = await #expect(throws: LockError.self) {
                        try await locks.withLock("a", waitingAtMost: .seconds(1)) { _ in }
                    }
                    #expect(error?.code == code, "\(error as Any)")
                    #expect(error?.message.contains(text) == true, "\(error as Any)")
                    // What a call is told that ends by itself before its request does.
                    let trouble = await backend.trouble()
                    #expect(trouble?.code == code, "\(trouble as Any)")
                    #expect(trouble?.message.contains(text) == true, "\(trouble as Any)")
                }
            }
        }
        #expect(connections.withLock { $0 } > 1)
    }
}
