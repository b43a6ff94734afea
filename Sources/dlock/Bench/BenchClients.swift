import DistributedLocks
import Foundation
import LockKernel

/// What all measurements of one run have in common.
struct BenchSettings: Codable, Sendable {
    /// The backend as it stands on the command line, with its password; `nil` for what the environment says.
    var backend: String?
    /// How long one measurement lasts.
    var seconds: Double
    var leaseMilliseconds: Int64
    /// Whether workers run on the backend's executor.
    var runsOnBackendThreads = false
    /// How many cycles a worker of seq or wide makes at most.
    var cyclesPerWorker = Int.max

    /// Where the workers of a client run; `nil`: where tasks run by default.
    func executor(of client: LockClient) -> (any TaskExecutor)? {
        self.runsOnBackendThreads ? client.taskExecutor : nil
    }

    var lease: Duration { .milliseconds(self.leaseMilliseconds) }

    /// When a worker gives up: a measurement ends by itself, also on a backend that hangs.
    var patience: Duration { .seconds(self.seconds) + self.lease + .seconds(30) }

    var nanoseconds: UInt64 { UInt64(self.seconds * 1e9) }

    /// Throws if the backend has no such leases, with what would be right. What a session's timeout is, is known when it has
    /// been made; until then a lease that it will refuse passes.
    func checkLease(on backend: any LockBackend) throws {
        let capabilities = backend.capabilities
        guard !capabilities.leaseRange.contains(self.lease) else { return }
        let range = "from \(capabilities.leaseRange.lowerBound.brief) to \(capabilities.leaseRange.upperBound.brief)"
        let remedy =
            switch capabilities.leaseScope {
            case .session: "choose a longer --lease, or a shorter session-timeout in the URL"
            default: "choose --lease between them"
            }
        throw Failure(
            status: ExitStatus.usage, message: "a lease on \(capabilities.kind) lasts \(range): \(remedy)")
    }

    /// Makes an exchange with the backend, and sees that it has such leases.
    @concurrent
    func warmUp(_ client: LockClient) async throws {
        try await client.withLock(BenchNames.warmUp(), waitingAtMost: self.patience) { _ in }
        // Now it is known how long a session lasts.
        try self.checkLease(on: client.backend)
    }

    func backendOptions() -> BackendOptions {
        var options = BackendOptions()
        options.backend = self.backend
        return options
    }
}

/// Runs some clients that share nothing for as long as the body takes. Each has made an exchange with its backend before.
@concurrent
func withBenchClients<Success: Sendable>(
    _ settings: BenchSettings,
    count: Int,
    body: @concurrent @Sendable ([LockClient]) async throws -> Success
) async throws -> Success {
    var configuration = LockClient.Configuration()
    configuration.lease = settings.lease
    configuration.metadata.label = "dlock bench"
    let clients = try (0..<count).map { _ in
        LockClient(backend: try settings.backendOptions().makeBackend(), configuration: configuration)
    }
    return try await withTaskGroup(of: Void.self) { group -> Result<Success, any Error> in
        for client in clients {
            group.addTask { @concurrent in
                // What ends a client early is seen by its next call.
                try? await client.run()
            }
        }
        let result: Result<Success, any Error>
        do {
            for client in clients { try await settings.warmUp(client) }
            result = .success(try await body(clients))
        } catch {
            result = .failure(error)
        }
        group.cancelAll()
        await group.waitForAll()
        return result
    }.get()
}

/// Names of locks that no user has.
enum BenchNames {
    /// One for each run, so that two runs at the same time do not meet.
    static func random() -> String {
        "dlock-bench/" + String(UInt64.random(in: .min ... .max), radix: 36)
    }

    static func warmUp() -> String { "dlock-bench/warm-up" }
}
