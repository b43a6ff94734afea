import LockKernel
import LockTransport
import Logging
import NIOCore

/// The Sentinels of one master, and how they are reached.
struct SentinelConfiguration: Sendable {
    /// The name by which the Sentinels know the master.
    var master: String
    var sentinels: [RedisEndpoint]
    var tls: RedisTLS?
    var username: String?
    var password: String?
    var connectTimeout: Duration
    /// A higher epoch is refused.
    var maximumEpoch: Int64

    init(
        master: String,
        sentinels: [RedisEndpoint],
        tls: RedisTLS? = nil,
        username: String? = nil,
        password: String? = nil,
        connectTimeout: Duration = .seconds(5),
        maximumEpoch: Int64 = .max
    ) {
        self.master = master
        self.sentinels = sentinels
        self.tls = tls
        self.username = username
        self.password = password
        self.connectTimeout = connectTimeout
        self.maximumEpoch = maximumEpoch
    }

    static let notASentinel = "this is a Redis server, not a Sentinel"

    func client(_ endpoint: RedisEndpoint) -> RedisClientConfiguration {
        var client = RedisClientConfiguration(
            endpoint: endpoint,
            tls: self.tls,
            username: self.username,
            password: self.password,
            clientName: "dlock",
            connectTimeout: self.connectTimeout,
            silenceTimeout: .seconds(2),
            backoffCap: .seconds(1),
            setup: [RedisCommand("SUBSCRIBE", "+switch-master")],
            checkGreeting: { $0.mode == "sentinel" ? nil : Self.notASentinel }
        )
        client.credentialsAdvice = "give sentinel-user and sentinel-password-file or sentinel-password-env"
        return client
    }
}

// The password has no description.
extension SentinelConfiguration: CustomStringConvertible, CustomReflectable {
    var description: String {
        "SentinelConfiguration(\(self.master), \(self.sentinels.map(\.description).joined(separator: ", ")))"
    }

    var customMirror: Mirror { Mirror(self, children: ["sentinels": self.description]) }
}

/// Finds a master by its Sentinels, and tells when it has moved. See ``SentinelMonitorStateMachine``.
final class SentinelMonitor: RedisLocator {
    let name: String
    var origin: String { "the address that the Sentinels give for '\(self.name)'" }
    /// One for each Sentinel, in the order of the configuration. They run while ``run()`` runs.
    let clients: [RedisClient]
    private let eventLoop: any EventLoop
    private let loop: NIOLoopBoundBox<SentinelMonitorLoop>

    init(
        configuration: SentinelConfiguration, eventLoop: any EventLoop, logger: Logger,
        environment: NetworkEnvironment = .system
    ) {
        self.name = configuration.master
        self.eventLoop = eventLoop
        let loop = NIOLoopBoundBox.makeBoxSendingValue(
            SentinelMonitorLoop(
                configuration: configuration, eventLoop: eventLoop, environment: environment.machine, logger: logger),
            eventLoop: eventLoop
        )
        self.loop = loop
        self.clients = configuration.sentinels.enumerated().map { index, endpoint in
            RedisClient(
                configuration: configuration.client(endpoint),
                eventLoop: eventLoop,
                delegate: Delegate(index: index, loop: loop),
                logger: logger,
                environment: environment
            )
        }
    }

    /// Stays connected to the Sentinels until the task is cancelled. Called once.
    func run() async {
        let loop = self.loop
        self.eventLoop.execute { [clients] in loop.value.start(clients) }
        await withDiscardingTaskGroup { group in
            for client in self.clients { group.addTask { await client.run() } }
        }
        self.eventLoop.execute { loop.value.stop() }
    }

    /// Tells a client on the same event loop when the master is found at another place or with another epoch, until
    /// ``run()`` has ended.
    func follow(_ client: RedisClient) {
        let loop = self.loop
        self.eventLoop.execute { loop.value.followers.append(client) }
    }

    func locate(_ completion: @escaping @Sendable (Result<RedisLocation, RedisError>) -> Void) {
        if self.eventLoop.inEventLoop { return self.loop.value.locate(completion) }
        let loop = self.loop
        self.eventLoop.execute { loop.value.locate(completion) }
    }

    /// Asks every Sentinel what it knows of the master.
    ///
    /// - Returns: in the order of the configuration; nil: it answers nonsense.
    func census(deadline: BootInstant) async -> [Result<SentinelAnswer?, RedisError>] {
        var answers: [Result<SentinelAnswer?, RedisError>] = []
        for client in self.clients {
            let outcomes = await client.send(SentinelAnswer.commands(self.name), deadline: deadline)
            answers.append(outcomes[0].map { SentinelAnswer(address: $0.value, record: try? outcomes[1].get().value) })
        }
        return answers
    }

    private final class Delegate: RedisClientDelegate {
        private let index: Int
        private let loop: NIOLoopBoundBox<SentinelMonitorLoop>

        init(index: Int, loop: NIOLoopBoundBox<SentinelMonitorLoop>) {
            self.index = index
            self.loop = loop
        }

        func connected(_ id: RedisConnectionID, greeting: RedisGreeting) { self.loop.value.reached(self.index) }
        func disconnected(_ id: RedisConnectionID, _ error: RedisError) {}
        func notConnected(_ error: RedisError) { self.loop.value.unreachable(self.index, error) }

        func pushed(_ elements: [RESPValue], on id: RedisConnectionID) {
            guard elements.count == 3, elements[0].isText("message") else { return }
            self.loop.value.switched(elements[2].string ?? "")
        }
    }
}
