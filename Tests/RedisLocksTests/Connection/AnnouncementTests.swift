import Dispatch
import LockKernel
import Logging
import NIOCore
import NIOPosix
import Synchronization
import TestKit
import Testing

@testable import RedisLocks

@Suite(.enabled(if: RedisServer.isRequired)) struct AnnouncementTests {
    /// Submits from within `connected`, after another thread has submitted something, too.
    private final class Delegate: RedisClientDelegate {
        private let client = Mutex<RedisClient?>(nil)

        func set(_ client: RedisClient) { self.client.withLock { $0 = client } }

        func connected(_ id: RedisConnectionID, greeting: RedisGreeting) {
            guard let client = self.client.withLock({ $0 }) else { return }
            let isSubmitted = DispatchSemaphore(value: 0)
            DispatchQueue.global().async {
                client.submit(RedisCommand("RPUSH", "order", "later"), deadline: .ample) { _ in }
                isSubmitted.signal()
            }
            isSubmitted.wait()
            client.submit(RedisCommand("RPUSH", "order", "delegate"), deadline: .ample) { _ in }
        }

        func disconnected(_ id: RedisConnectionID, _ error: RedisError) {}
        func pushed(_ elements: [RESPValue], on id: RedisConnectionID) {}
    }

    @Test func `first goes what the delegate submits, then what waited, then what came meanwhile`() async throws {
        // The delegate stops its loop for a moment: nobody else's.
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        try await RedisServer.withServer { server in
            let delegate = Delegate()
            let client = RedisClient(
                configuration: RedisClientConfiguration(endpoint: server.endpoint),
                eventLoop: group.next(),
                delegate: delegate,
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            )
            delegate.set(client)
            for number in 1...3 {
                client.submit(RedisCommand("RPUSH", "order", "waited \(number)"), deadline: .ample) { _ in }
            }
            let run = Task { await client.run() }
            var order: [String] = []
            try await eventually("all have come") {
                order = try server.command("LRANGE", "order", "0", "-1").list?.map(\.string) ?? []
                return order.count == 5
            }
            #expect(order == ["delegate", "waited 1", "waited 2", "waited 3", "later"])
            run.cancel()
            await run.value
        }
        try await group.shutdownGracefully()
    }

    @Test func `an event loop that stood still reads what has arrived before it judges deadlines and silence`()
        async throws
    {
        try await RedisServer.withServer { server in
            let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
            let eventLoop = group.next()
            try await withClient(server.endpoint, eventLoop: eventLoop, { $0.silenceTimeout = .milliseconds(500) }) {
                client, recorder in
                try await eventually("it is connected") { await client.failure("PING") == nil }
                let events = recorder.events
                let text = try await eventLoop.flatSubmit {
                    let promise = eventLoop.makePromise(of: String.self)
                    let command = RedisCommand("ECHO", "arrived")
                    client.submit(command, deadline: .now + .milliseconds(500)) { outcome in
                        promise.completeWith(outcome.map { $0.value.string ?? "" }.mapError { $0 as any Error })
                    }
                    // It has left. As a process that is stopped: the time passes, the reply comes, nothing is read.
                    let start = ContinuousClock.now
                    while start.duration(to: .now) < .milliseconds(700) {}
                    return promise.futureResult
                }.get()
                #expect(text == "arrived")
                #expect(recorder.events == events)
            }
            try await group.shutdownGracefully()
        }
    }
}
