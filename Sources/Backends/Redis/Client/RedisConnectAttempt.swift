import NIOCore
import NIOPosix

/// One attempt to get a channel to the server: names are resolved anew and all addresses tried (happy eyeballs, RFC 8305).
/// Lives on the event loop.
final class RedisConnectAttempt {
    let id: RedisConnectionID
    /// When the connection must be usable, not just connected.
    let deadline: ContinuousClock.Instant
    private let client: RedisClientLoop
    private var channels: [ObjectIdentifier: any Channel] = [:]
    private var isAbandoned = false

    init(id: RedisConnectionID, client: RedisClientLoop) {
        self.id = id
        self.client = client
        self.deadline = .now.advanced(by: client.configuration.connectTimeout)
    }

    func start() {
        let configuration = self.client.configuration
        let attempt = NIOLoopBound(self, eventLoop: self.client.eventLoop)
        let bootstrap = ClientBootstrap(group: self.client.eventLoop)
            .connectTimeout(TimeAmount(configuration.connectTimeout))
            .channelOption(.socketOption(.so_keepalive), value: 1)
            // Nothing is read before there is somebody to read it.
            .channelOption(.autoRead, value: false)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try attempt.value.made(channel) }
            }
        let connected =
            switch configuration.endpoint {
            case .tcp(_, let port):
                Self.connect(
                    bootstrap.channelOption(.tcpOption(.tcp_nodelay), value: 1),
                    configuration.endpoint.host ?? "",
                    port
                )
            case .unixSocket(let path):
                bootstrap.connect(unixDomainSocketPath: path)
            }
        connected.assumeIsolated().whenComplete { self.finished($0) }
    }

    private static func connect(_ bootstrap: ClientBootstrap, _ host: String, _ port: Int) -> EventLoopFuture<
        any Channel
    > {
        // What is an address already needs no thread that asks the resolver.
        if let address = try? SocketAddress(ipAddress: host, port: port) { return bootstrap.connect(to: address) }
        return bootstrap.connect(host: host, port: port)
    }

    /// Closes what there is. Nothing more is reported.
    func abandon() {
        self.isAbandoned = true
        for channel in self.channels.values { channel.close(promise: nil) }
    }

    private func made(_ channel: any Channel) throws {
        if self.isAbandoned { throw ChannelError.ioOnClosedChannel }
        self.channels[ObjectIdentifier(channel)] = channel
        self.client.opened(channel)
    }

    private func finished(_ result: Result<any Channel, any Error>) {
        self.channels = [:]
        switch result {
        case .success(let channel):
            if self.isAbandoned {
                channel.close(promise: nil)
            } else {
                self.client.connected(self, channel)
            }
        case .failure(let error):
            if !self.isAbandoned { self.client.failed(self, error) }
        }
    }
}
