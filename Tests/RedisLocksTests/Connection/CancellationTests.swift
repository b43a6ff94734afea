import LockKernel
import LockTransport
import TestKit
import Testing

@testable import RedisLocks

@Suite(.enabled(if: RedisServer.isRequired)) struct CancellationTests {
    /// What may come of a request that may be cancelled.
    private static func check(_ error: RedisError) {
        #expect(error.code == .cancelled || error.code == .outcomeUnknown, "\(error)")
    }

    @Test func `thousands of cancellations at random points shift no reply`() async throws {
        try await RedisServer.withServer { server in
            try await withClient(server.endpoint) { client, recorder in
                var random = SeededGenerator(seed: 7)
                for round in 0..<60 {
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for number in 0..<100 {
                            let yields = Int.random(in: 0...12, using: &random)
                            let isBatch = Int.random(in: 0..<4, using: &random) == 0
                            group.addTask {
                                let word = "\(round)/\(number)"
                                let request = Task {
                                    if isBatch {
                                        let commands = (0..<5).map { RedisCommand("ECHO", "\(word)/\($0)") }
                                        for (index, outcome) in await client.send(commands, deadline: .ample)
                                            .enumerated()
                                        {
                                            switch outcome {
                                            case .success(let reply): #expect(reply.value.string == "\(word)/\(index)")
                                            case .failure(let error): Self.check(error)
                                            }
                                        }
                                    } else {
                                        do throws(RedisError) {
                                            let reply = try await client.send(
                                                RedisCommand("ECHO", word), deadline: .ample)
                                            #expect(reply.value.string == word)
                                        } catch {
                                            Self.check(error)
                                        }
                                    }
                                }
                                for _ in 0..<yields { await Task.yield() }
                                request.cancel()
                                await request.value
                            }
                        }
                        try await group.waitForAll()
                    }
                    #expect(try await client.text("ECHO", "round \(round)") == "round \(round)")
                }
                #expect(recorder.events.count == 1)
            }
        }
    }

    @Test func `a request that is cancelled before it is sent is never sent`() async throws {
        try await RedisServer.withServer { server in
            try await withClient(server.endpoint) { client, _ in
                _ = try await client.text("PING")
                let task = Task {
                    while !Task.isCancelled { await Task.yield() }
                    return await client.failure("INCR", "counter")
                }
                task.cancel()
                #expect(await task.value?.code == .cancelled)
                #expect(try server.command("EXISTS", "counter").integer == 0)
            }
        }
    }

    @Test func `a request that is cancelled while it waits for a connection ends at once`() async throws {
        let port = try FreePort.next()
        try await withClient(.tcp(host: "127.0.0.1", port: port)) { client, _ in
            try await eventually("an attempt has failed") { client.lastError != nil }
            let task = Task { await client.failure("PING") }
            for _ in 0..<20 { await Task.yield() }
            task.cancel()
            #expect(await task.value?.code == .cancelled)
        }
    }

    @Test func `a request that is cancelled while it is out ends at once, with an unknown outcome`() async throws {
        try await RedisServer.withServer { server in
            try await withClient(server.endpoint) { client, _ in
                _ = try await client.text("PING")
                let task = Task { await client.failure("BLPOP", "list", "0") }
                try await eventually("the server has it") {
                    try server.command("INFO", "clients").string.contains("blocked_clients:1")
                }
                let start = ContinuousClock.now
                task.cancel()
                #expect(await task.value?.code == .outcomeUnknown)
                #expect(start.duration(to: .now) < .seconds(2))
                async let next = client.text("ECHO", "next")
                try server.command("RPUSH", "list", "late")
                #expect(try await next == "next")
            }
        }
    }
}
