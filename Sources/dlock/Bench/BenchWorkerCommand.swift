import ArgumentParser
import DistributedLocks
import Foundation

/// The other end of ``BenchChild``.
struct BenchWorkerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench-worker",
        abstract: "Works for 'dlock bench', which starts it.",
        shouldDisplay: false
    )

    @concurrent
    func run() async throws {
        guard let line = await StandardInput.line(),
            let order = try? JSONDecoder().decode(WorkerOrder.self, from: Data(line.utf8))
        else {
            throw Failure(status: ExitStatus.usage, message: "bench-worker is started by dlock bench")
        }
        var report = WorkerReport()
        var bytes: [UInt8] = []
        do {
            switch order.task {
            case .contend:
                guard let cycles = try await Self.contend(order) else { return }
                report.cycles = cycles.map(\.count)
                bytes = LoggedCycle.encode(cycles.flatMap { $0 })
                report.byteCount = bytes.count
            case .hold:
                try await Self.hold(order)
                return
            case .wait:
                report.idle = try await IdleWaiters.measure(order)
            }
        } catch {
            let failure = BenchFailure.failure(of: error)
            report.failed = WorkerReport.Failed(status: failure.status, message: failure.message)
        }
        Console.print(String(decoding: try JSONEncoder().encode(report), as: UTF8.self))
        try FileHandle.standardOutput.write(contentsOf: bytes)
    }

    /// `nil` if dlock is gone.
    @concurrent
    private static func contend(_ order: WorkerOrder) async throws -> [[LoggedCycle]]? {
        let name = try LockName(order.name)
        return try await withBenchClients(order.settings, count: order.workers) { clients in
            Console.print("ready")
            guard let go = await StandardInput.line()?.split(separator: " "), go.count == 2, let start = UInt64(go[1])
            else { return nil }
            let now = BenchClock.now()
            if now < start { try await Task.sleep(for: .nanoseconds(start - now)) }
            return try await CycleWorkers.contending(clients, name: name, from: start, settings: order.settings)
        }
    }

    @concurrent
    private static func hold(_ order: WorkerOrder) async throws {
        let name = try LockName(order.name)
        try await withBenchClients(order.settings, count: 1) { clients in
            try await clients[0].withLock(name, waitingAtMost: order.settings.patience) { held in
                Console.print("held \(held.token)")
                _ = await StandardInput.line()
            }
        }
    }
}

enum StandardInput {
    /// The next line; `nil` at the end. On a thread of its own: the threads that tasks share must not wait for it.
    static func line() async -> String? {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: readLine()) }
        }
    }
}
