import DistributedLocks
import Foundation
import LockKernel
import Synchronization
import TestKit
import Testing

@testable import EmbeddedLocks

extension ParticipantID {
    static func random() -> ParticipantID {
        var generator = SystemRandomNumberGenerator()
        return .random(using: &generator)
    }
}

/// A boot and a wall clock that a test sets.
final class FakeEnvironment: Sendable {
    private struct State {
        var bootID = "boot-1"
        var offsetInMicroseconds: Int64 = 0
    }

    private let state = Mutex(State())

    var environment: EmbeddedEnvironment {
        EmbeddedEnvironment(
            Environment(time: ChangedTime { SystemTime().wallClock() + self.offset }),
            files: FilesOfBoot { self.state.withLock { $0.bootID } })
    }

    private var offset: Int64 { self.state.withLock { $0.offsetInMicroseconds } }

    func reboot() { self.state.withLock { $0.bootID += "+" } }

    func stepClock(by duration: Duration) {
        self.state.withLock { $0.offsetInMicroseconds += Int64(duration / .microseconds(1)) }
    }
}

/// Runs a client on a file.
func withClient(
    _ path: String,
    environment: EmbeddedEnvironment = .system,
    options: EmbeddedLockBackend.Options = .init(),
    _ body: (LockClient) async throws -> Void
) async throws {
    let location = try EmbeddedLocation(path: path)
    let client = LockClient(
        backend: EmbeddedLockBackend(location: location, options: options, environment: environment))
    try await withRunning([client]) { try await body($0[0]) }
}

/// The code of the error that acquiring throws.
func acquireError(_ client: LockClient, _ name: String = "a") async -> LockError? {
    do {
        _ = try await client.withLock(name, waitingAtMost: .seconds(30)) { _ in }
        return nil
    } catch {
        return error as? LockError
    }
}
