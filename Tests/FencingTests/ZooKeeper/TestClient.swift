import Fencing
import LockKernel
import LockTransport
import Logging
import NIOCore
import NIOPosix
import TestKit

@testable import ZooKeeperLocks

/// The package's own client, as a service's would be used.
final class TestClient: ZooKeeperTransactions {
    private final class Core: ZooKeeperClientDelegate {
        let client: ZooKeeperClient
        var waiting: [CheckedContinuation<Void, Never>] = []

        init(_ client: ZooKeeperClient) {
            self.client = client
            client.delegate = self
        }

        func attached(_ session: ZooKeeperSession, isNew: Bool, sentAt: BootInstant) {
            self.client.setUpFinished()
            for continuation in self.waiting { continuation.resume() }
            self.waiting = []
        }

        func suspended(_ error: ZooKeeperError) {}
        func expired(_ session: ZooKeeperSession) {}
        func watchFired(_ event: WatchEvent) {}
    }

    private let core: NIOLoopBoundBox<Core>
    private let eventLoop: any EventLoop

    private init(_ server: ZooKeeperServer) {
        let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
        self.eventLoop = eventLoop
        let configuration = ZooKeeperClientConfiguration(endpoints: [.tcp(host: "127.0.0.1", port: server.port)])
        self.core = NIOLoopBoundBox.makeBoxSendingValue(
            Core(
                ZooKeeperClient(
                    configuration: configuration,
                    eventLoop: eventLoop,
                    logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
                )
            ),
            eventLoop: eventLoop
        )
    }

    static func with(_ server: ZooKeeperServer, _ body: (TestClient) async throws -> Void) async throws {
        let client = TestClient(server)
        let core = client.core
        async let gone: Void = withCheckedContinuation { gone in
            client.eventLoop.execute { core.value.client.start { gone.resume() } }
        }
        await withCheckedContinuation { attached in
            client.eventLoop.execute { core.value.waiting.append(attached) }
        }
        let result: Result<Void, any Error>
        do {
            result = .success(try await body(client))
        } catch {
            result = .failure(error)
        }
        client.eventLoop.execute { core.value.client.stop() }
        await gone
        try result.get()
    }

    private func ask(_ request: ZooKeeperRequest) async throws -> ZooKeeperAnswer {
        let core = self.core
        let result = await withCheckedContinuation { continuation in
            self.eventLoop.execute {
                core.value.client.submit(request) { continuation.resume(returning: $0) }
            }
        }
        return try result.get().answer
    }

    func read(_ path: String) async throws -> (data: [UInt8], version: Int32)? {
        do {
            guard case .data(let data, let stat) = try await self.ask(.getData(path: path)) else { return nil }
            return (data, stat.version)
        } catch let error as ZooKeeperError where error.serverCode == .noNode {
            return nil
        }
    }

    func transact(_ writes: [ZooKeeperWrite]) async throws {
        let requests = writes.map { write -> ZooKeeperRequest in
            switch write {
            case .create(let path, let data): .create(path: path, data: data, access: .open, mode: .persistent)
            case .setData(let path, let data, let version): .setData(path: path, data: data, version: version)
            case .delete(let path, let version): .delete(path: path, version: version)
            case .check(let path, let version): .check(path: path, version: version)
            }
        }
        guard case .multi(let results) = try await self.ask(.multi(requests)) else { return }
        for (index, result) in results.enumerated() {
            if case .failed(let code) = result, code != .ok, code != .runtimeInconsistency {
                throw ZooKeeperConflict(index: index, reason: "\(code)")
            }
        }
    }
}
