import LockKernel
import LockTransport
import Logging
import NIOCore
import NIOPosix
import Synchronization
import TestKit
import Testing

@testable import RedisLocks

/// What a client reaches the outside by can be replaced as a whole.
@Suite(.timeLimit(.minutes(1))) struct ConnectorTests {
    /// Notes where somebody wants to go, and says that nobody is there.
    private final class NoNetwork: Connector {
        private final class Attempt: ConnectAttempt {
            func abandon() {}
        }

        private let wanted = Mutex<[ServerEndpoint]>([])

        var targets: [ServerEndpoint] { self.wanted.withLock { $0 } }

        func connect(
            to target: ConnectTarget,
            on eventLoop: any EventLoop,
            opened: @escaping (any Channel) -> Void,
            finished: @escaping (Result<any Channel, any Error>) -> Void
        ) -> any ConnectAttempt {
            self.wanted.withLock { $0.append(target.endpoint) }
            let finished = NIOLoopBound(finished, eventLoop: eventLoop)
            eventLoop.execute { finished.value(.failure(ChannelError.connectTimeout(.seconds(1)))) }
            return Attempt()
        }
    }

    @Test(arguments: [
        ServerEndpoint.unixSocket(path: "/nonexistent/redis.sock"), .tcp(host: "255.255.255.255", port: 1),
    ])
    func `an attempt that fails at once says so after it was begun`(endpoint: ServerEndpoint) async throws {
        let order = Mutex<[String]>([])
        let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
        let attempt = try await eventLoop.submit {
            let attempt = NetworkConnector().connect(
                to: ConnectTarget(endpoint: endpoint, tls: nil, timeout: .seconds(5)),
                on: eventLoop,
                opened: { _ in },
                finished: { _ in order.withLock { $0.append("finished") } }
            )
            order.withLock { $0.append("begun") }
            return NIOLoopBound(attempt, eventLoop: eventLoop)
        }.get()
        try await eventually("it has ended") { order.withLock { $0.count == 2 } }
        #expect(order.withLock { $0 } == ["begun", "finished"])
        withExtendedLifetime(attempt) {}
    }

    @Test func `a client connects by the connector it was given, and pauses by the clock it was given`() async throws {
        let network = NoNetwork()
        let clock = ChangedTime()
        var configuration = RedisClientConfiguration(endpoint: .tcp(host: "nowhere.invalid", port: 6_379))
        configuration.backoffBase = .seconds(3_600)
        configuration.backoffCap = .seconds(3_600)
        let client = RedisClient(
            configuration: configuration,
            eventLoop: MultiThreadedEventLoopGroup.singleton.next(),
            delegate: Recorder(),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            environment: NetworkEnvironment(Environment(time: clock), connector: network)
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await client.run() }
            try await eventually("it was wanted") { !network.targets.isEmpty }
            try await eventually("it pauses") { if case .backingOff = client.state { true } else { false } }
            let before = network.targets.count
            clock.advance(by: .seconds(7_200))
            try await eventually("the pause is over") { network.targets.count > before }
            #expect(Set(network.targets) == [.tcp(host: "nowhere.invalid", port: 6_379)])
            group.cancelAll()
            try await group.waitForAll()
        }
    }
}
