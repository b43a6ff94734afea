import LockKernel
import LockTransport
import Logging
import NIOCore
import NIOPosix
import Synchronization
import TestKit

@testable import RedisLocks

/// Keeps what a delegate is told, in order.
final class Recorder: RedisClientDelegate {
    enum Event: Equatable, Sendable {
        case connected(RedisConnectionID)
        case disconnected(RedisConnectionID, RedisError.Code)
        case pushed(RedisConnectionID, [String])
    }

    private struct State {
        var events: [Event] = []
        var greetings: [RedisGreeting] = []
        var errors: [RedisError] = []
    }

    private let state = Mutex(State())

    var events: [Event] { self.state.withLock { $0.events } }
    var greetings: [RedisGreeting] { self.state.withLock { $0.greetings } }
    var errors: [RedisError] { self.state.withLock { $0.errors } }
    var pushes: [[String]] {
        self.events.compactMap { event in
            if case .pushed(_, let words) = event { words } else { nil }
        }
    }

    func connected(_ id: RedisConnectionID, greeting: RedisGreeting) {
        self.state.withLock { state in
            state.events.append(.connected(id))
            state.greetings.append(greeting)
        }
    }

    func disconnected(_ id: RedisConnectionID, _ error: RedisError) {
        self.state.withLock { state in
            state.events.append(.disconnected(id, error.code))
            state.errors.append(error)
        }
    }

    func pushed(_ elements: [RESPValue], on id: RedisConnectionID) {
        let words = elements.map { $0.string ?? $0.int.map(String.init) ?? "\($0)" }
        self.state.withLock { $0.events.append(.pushed(id, words)) }
    }
}

/// Runs a client as long as `body` runs.
func withClient<Success: Sendable>(
    _ endpoint: RedisEndpoint,
    eventLoop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next(),
    _ configure: (inout RedisClientConfiguration) -> Void = { _ in },
    _ body: (RedisClient, Recorder) async throws -> Success
) async throws -> Success {
    var configuration = RedisClientConfiguration(endpoint: endpoint)
    configuration.backoffBase = .milliseconds(5)
    configuration.backoffCap = .milliseconds(50)
    configure(&configuration)
    let recorder = Recorder()
    let client = RedisClient(
        configuration: configuration,
        eventLoop: eventLoop,
        delegate: recorder,
        logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    )
    return try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { await client.run() }
        let result = try await body(client, recorder)
        group.cancelAll()
        try await group.waitForAll()
        return result
    }
}

extension RedisServer {
    var endpoint: RedisEndpoint { .tcp(host: "127.0.0.1", port: self.port) }
}

extension BootInstant {
    /// Far enough for a test that does not time anything.
    static var ample: Self { .now + .seconds(30) }
}

extension RedisClient {
    /// The text of a reply.
    func text(_ words: String..., deadline: BootInstant = .ample) async throws -> String {
        let value = try await self.send(RedisCommand(words), deadline: deadline).value
        return value.string ?? value.int.map(String.init) ?? "\(value)"
    }

    /// Waits until the server answers, however often a connection is lost until then.
    func eventuallyAnswers() async throws {
        do {
            try await eventually("the server answers") {
                await self.failure("PING", deadline: .now + .seconds(2)) == nil
            }
        } catch {
            throw TestKitError("\(error); \(self.state), \(self.lastError?.description ?? "no error")")
        }
    }

    /// How a command fails; nil if it does not.
    func failure(_ words: String..., deadline: BootInstant = .ample) async -> RedisError? {
        do throws(RedisError) {
            _ = try await self.send(RedisCommand(words), deadline: deadline)
            return nil
        } catch {
            return error
        }
    }
}
