import DistributedLocks
import Foundation
import LockURLs
import Logging
import Synchronization

/// Asks a backend's servers, before the measurement, what their settings mean for locks.
///
/// A backend does so by itself where somebody reads its log, and warns of settings with which servers forget.
enum ServerLook {
    /// - Returns: the warnings, as sentences without their stops. None if there is nothing to warn of, or if the servers do
    ///   not let this user ask.
    @concurrent
    static func warnings(_ settings: BenchSettings) async throws -> [String] {
        let collected = CollectedWarnings()
        let backend: any LockBackend
        do {
            backend = try LockBackends.backend(url: settings.backendOptions().url, logger: collected.logger)
        } catch let error as LockError {
            throw Failure(error)
        }
        var configuration = LockClient.Configuration()
        configuration.lease = settings.lease
        configuration.metadata.label = "dlock bench"
        try await withLockClient(backend, configuration: configuration) { client in
            // Its own questions were sent before the second of these, and are answered before the third.
            for _ in 0..<3 { try await settings.warmUp(client) }
        }
        return collected.all
    }
}

/// A log of which only the warnings about settings are read.
private final class CollectedWarnings: Sendable {
    private let messages = Mutex<[String]>([])

    var all: [String] { self.messages.withLock { $0 } }

    var logger: Logger {
        Logger(label: "dlock") { _ in Handler(log: self) }
    }

    private func add(_ message: String) {
        self.messages.withLock { messages in
            if !messages.contains(message) { messages.append(message) }
        }
    }

    private struct Handler: LogHandler {
        let log: CollectedWarnings
        var metadata: Logger.Metadata = [:]
        var logLevel: Logger.Level = .warning

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { self.metadata[key] }
            set { self.metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            guard let setting = event.metadata?["redis.setting"] else { return }
            self.log.add("\(event.message) (\(setting))")
        }
    }
}
