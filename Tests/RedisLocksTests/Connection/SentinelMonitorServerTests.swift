import LockTransport
import Logging
import NIOPosix
import Testing

@testable import RedisLocks

/// What is made of Sentinels that do not say the same.
@Suite(.timeLimit(.minutes(1))) struct SentinelMonitorServerTests {
    /// Where these Sentinels' clients go.
    private static func located(_ sentinels: FakeSentinel...) async throws -> Result<RedisLocation, RedisError> {
        try await FakeSentinel.withSentinels(sentinels) { endpoints in
            let monitor = SentinelMonitor(
                configuration: SentinelConfiguration(master: "m", sentinels: endpoints),
                eventLoop: MultiThreadedEventLoopGroup.singleton.next(),
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            )
            return await withTaskGroup(of: Void.self) { group in
                group.addTask { await monitor.run() }
                let result = await withCheckedContinuation { (found: CheckedContinuation<_, Never>) in
                    monitor.locate { found.resume(returning: $0) }
                }
                group.cancelAll()
                return result
            }
        }
    }

    @Test func `one that still names the old master keeps nobody from the new one`() async throws {
        let location = try await Self.located(
            FakeSentinel(port: 2, epoch: 2), FakeSentinel(port: 2, epoch: 2), FakeSentinel(port: 1, epoch: 1)
        ).get()
        #expect(location == RedisLocation(endpoint: .tcp(host: "127.0.0.1", port: 2), tag: 2))
    }

    @Test func `one that names another master with the same epoch does`() async throws {
        let result = try await Self.located(
            FakeSentinel(port: 2, epoch: 2), FakeSentinel(port: 2, epoch: 2), FakeSentinel(port: 1, epoch: 2)
        )
        guard case .failure(let error) = result else {
            Issue.record("\(result)")
            return
        }
        #expect(error.code == .notSent)
        #expect(error.message.contains("the Sentinels do not tell where the master 'm' is"), "\(error.message)")
    }
}
