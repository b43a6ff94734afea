import LockKernel
import LockTransport
import Logging
import NIOCore
import NIOPosix

@testable import ZooKeeperLocks

/// A session of its own, in which an operator carries out one request after another. Knows nothing of locks.
final class Operator: Sendable {
    private let store: EventLoopStore<Session>

    init(_ configuration: ZooKeeperLockConfiguration) {
        let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
        self.store = EventLoopStore(Session(configuration.client, eventLoop), on: eventLoop)
    }

    /// Until it is cancelled.
    func run() async {
        await self.store.ask { session, gone in
            session.client.start { gone.resume() }
        } cancelled: {
            $0.client.stop()
        }
    }

    /// What a server answers, once there is a session.
    func answer(_ request: ZooKeeperRequest) async throws -> ZooKeeperAnswer {
        try await self.store.ask { $0.ask(request, $1) }.get().answer
    }

    private final class Session: ZooKeeperClientDelegate {
        typealias Caller = WaitContinuation<Result<ZooKeeperReply, ZooKeeperError>>

        let client: ZooKeeperClient
        private var waiting: [(request: ZooKeeperRequest, caller: Caller)] = []

        init(_ configuration: ZooKeeperClientConfiguration, _ eventLoop: any EventLoop) {
            self.client = ZooKeeperClient(
                configuration: configuration, eventLoop: eventLoop,
                logger: Logger(label: "operator") { _ in SwiftLogNoOpLogHandler() })
            self.client.delegate = self
        }

        func ask(_ request: ZooKeeperRequest, _ caller: Caller) {
            guard self.client.isOpen else { return self.waiting.append((request, caller)) }
            self.client.submit(request) { caller.resume(returning: $0) }
        }

        func attached(_ session: ZooKeeperSession, isNew: Bool, sentAt: BootInstant) {
            self.client.setUpFinished()
            for (request, caller) in exchange(&self.waiting, with: []) { self.ask(request, caller) }
        }

        func suspended(_ error: ZooKeeperError) {}
        func expired(_ session: ZooKeeperSession) {}
        func watchFired(_ event: WatchEvent) {}
    }
}

/// Runs an operator's session while a body runs.
func withOperator<Result>(
    _ configuration: ZooKeeperLockConfiguration, _ body: (Operator) async throws -> Result
) async throws -> Result {
    let session = Operator(configuration)
    let running = Task { await session.run() }
    do {
        let result = try await body(session)
        running.cancel()
        await running.value
        return result
    } catch {
        running.cancel()
        await running.value
        throw error
    }
}
