import DistributedLocks
import LockURLs
import Logging
import Synchronization
import TestKit

@testable import RedisLocks

/// Runs a client on a server, or on a proxy before it.
func withLocks<Success>(
    _ url: String,
    isolation: isolated (any Actor)? = #isolation,
    _ body: (LockClient) async throws -> Success
) async throws -> Success {
    try await withLockClient(url, body)
}

/// What a backend warned of.
final class Warnings: LogHandler, Sendable {
    private let state = Mutex<[String]>([])

    var texts: [String] { self.state.withLock { $0 } }
    var logger: Logger { Logger(label: "test") { _ in self } }

    var metadata: Logger.Metadata {
        get { [:] }
        set {}
    }
    var logLevel: Logger.Level {
        get { .trace }
        set {}
    }
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { nil }
        set {}
    }
    func log(event: LogEvent) {
        guard event.level == .warning else { return }
        self.state.withLock { $0.append("\(event.message) \(event.metadata ?? [:])") }
    }
}

/// What a backend told without being asked.
final class EventLog: LockEventSink, Sendable {
    private let state = Mutex<[LockEvent]>([])

    var events: [LockEvent] { self.state.withLock { $0 } }

    func receive(_ event: LockEvent) { self.state.withLock { $0.append(event) } }
}

/// Runs a backend by itself.
func withBackend<Backend: LockBackend, Success>(
    _ backend: Backend,
    isolation: isolated (any Actor)? = #isolation,
    _ body: (Backend, EventLog) async throws -> Success
) async throws -> Success {
    let log = EventLog()
    backend.start(delivering: log)
    let running = Task { try await backend.run() }
    let result: Result<Success, any Error>
    do {
        result = .success(try await body(backend, log))
    } catch {
        result = .failure(error)
    }
    running.cancel()
    try await running.value
    return try result.get()
}

extension RedisLockBackend {
    /// On a server, or on a proxy before it.
    convenience init(port: Int, logger: Logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }) throws {
        try self.init(
            configuration: RedisLockConfiguration(address: .tcp(host: "127.0.0.1", port: port)), logger: logger)
    }
}

extension LockClaim {
    /// One of its own, on the lock "a" unless said otherwise.
    init(_ attempt: UInt64, _ name: String = "a", lease: Duration = .seconds(30)) throws {
        var generator = SystemRandomNumberGenerator()
        self.init(
            attempt: AttemptID(rawValue: attempt),
            name: try LockName(name),
            owner: LockOwner(secret: LockOwner.Secret(using: &generator), metadata: .current()),
            lease: lease
        )
    }
}
