import LockKernel
import NIOCore
import NIOPosix
import TestKit
import Testing

@testable import RedisLocks

@Suite(.enabled(if: RedisServer.isRequired)) struct TimeoutTests {
    @Test func `a request that times out while the server pauses shifts no reply`() async throws {
        try await RedisServer.withServer { server in
            try await withClient(server.endpoint, { $0.silenceTimeout = .seconds(60) }) { client, recorder in
                _ = try await client.text("PING")
                try server.command("CLIENT", "PAUSE", "60000", "WRITE")
                async let late = client.failure("SET", "k", "late", deadline: .now + .seconds(1))
                try await eventually("the server has it") {
                    try server.command("CLIENT", "LIST").string.contains(" cmd=set ")
                }
                async let patient = client.text("ECHO", "patient")
                #expect(await late?.code == .outcomeUnknown)
                try server.command("CLIENT", "UNPAUSE")
                #expect(try await patient == "patient")
                #expect(try await client.text("GET", "k") == "late")
                #expect(recorder.events.count == 1)
            }
        }
    }

    @Test func `requests to a stopped server end at their deadlines, which need not be in order`() async throws {
        try await RedisServer.withServer { server in
            let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
            try await withClient(server.endpoint, eventLoop: eventLoop, { $0.silenceTimeout = .seconds(60) }) {
                client, recorder in
                _ = try await client.text("PING")
                try server.stop()
                let limits = [400, 100, 300, 200, 100].map { Duration.milliseconds($0) }
                // On the event loop, so that nothing delays the requests until their deadlines.
                let ends = try await eventLoop.flatSubmit {
                    let now = BootInstant.now
                    let ends = limits.map { limit in
                        let promise = eventLoop.makePromise(of: (RedisError.Code?, Duration).self)
                        client.submit(RedisCommand("ECHO", "\(limit)"), deadline: now + limit) { outcome in
                            let code: RedisError.Code? =
                                if case .failure(let error) = outcome { error.code } else { nil }
                            promise.succeed((code, now.duration(to: .now)))
                        }
                        return promise.futureResult
                    }
                    return EventLoopFuture.whenAllSucceed(ends, on: eventLoop)
                }.get()
                for (limit, end) in zip(limits, ends) {
                    #expect(end.0 == .outcomeUnknown)
                    #expect(end.1 >= limit)
                }
                server.resume()
                #expect(try await client.text("ECHO", "next") == "next")
                #expect(recorder.events.count == 1)
            }
        }
    }

    @Test func `a connection that falls silent is closed, and made anew when the server is back`() async throws {
        try await RedisServer.withServer { server in
            try await withClient(server.endpoint, { $0.silenceTimeout = .milliseconds(500) }) { client, recorder in
                try await client.eventuallyAnswers()
                try server.stop()
                let error = await client.failure("PING")
                #expect(error?.code == .outcomeUnknown)
                #expect(error?.message.contains("nothing arrived for 500 ms") == true)
                let lost = recorder.events.last
                server.resume()
                try await client.eventuallyAnswers()
                #expect(recorder.events.dropLast().contains { $0 == lost })
                if case .disconnected(let first, .outcomeUnknown) = lost, case .connected(let second) = client.state {
                    #expect(first < second)
                } else {
                    Issue.record("\(recorder.events)")
                }
            }
        }
    }

    @Test func `an idle connection is never closed for its silence`() async throws {
        try await RedisServer.withServer { server in
            try await withClient(server.endpoint, { $0.silenceTimeout = .milliseconds(20) }) { client, recorder in
                try await client.eventuallyAnswers()
                let events = recorder.events
                let start = ContinuousClock.now
                try await eventually("some time has passed") { start.duration(to: .now) > .milliseconds(150) }
                #expect(recorder.events == events)
            }
        }
    }
}
