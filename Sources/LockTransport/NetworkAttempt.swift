import LockKernel
import NIOCore
import NIOPosix

/// One attempt to get a channel to a server: names are resolved anew and all addresses tried (happy eyeballs, RFC 8305).
/// Lives on the event loop.
final class NetworkAttempt: ConnectAttempt {
    private let eventLoop: any EventLoop
    private let opened: (any Channel) -> Void
    private let finished: (Result<any Channel, any Error>) -> Void
    private var channels: [ObjectIdentifier: any Channel] = [:]
    private var isAbandoned = false
    private var isStarting = false

    init(
        eventLoop: any EventLoop,
        opened: @escaping (any Channel) -> Void,
        finished: @escaping (Result<any Channel, any Error>) -> Void
    ) {
        self.eventLoop = eventLoop
        self.opened = opened
        self.finished = finished
    }

    func start(_ target: ConnectTarget) {
        self.isStarting = true
        defer { self.isStarting = false }
        let attempt = NIOLoopBound(self, eventLoop: self.eventLoop)
        let bootstrap = ClientBootstrap(group: self.eventLoop)
            .connectTimeout(TimeAmount(target.timeout))
            .channelOption(.socketOption(.so_keepalive), value: 1)
            // Nothing is read before there is somebody to read it.
            .channelOption(.autoRead, value: false)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try attempt.value.made(channel) }
            }
        let connected =
            switch target.endpoint {
            case .tcp(_, let port):
                Self.connect(
                    bootstrap.channelOption(.tcpOption(.tcp_nodelay), value: 1),
                    target.endpoint.host ?? "",
                    port
                )
            case .unixSocket(let path):
                bootstrap.connect(unixDomainSocketPath: path)
            }
        connected.assumeIsolated().whenComplete { result in
            // What fails or succeeds without a wait does so before whoever wants it has the attempt.
            guard self.isStarting else { return self.ended(result) }
            let ended = NIOLoopBound({ attempt.value.ended(result) }, eventLoop: self.eventLoop)
            self.eventLoop.execute { ended.value() }
        }
    }

    private static func connect(_ bootstrap: ClientBootstrap, _ host: String, _ port: Int) -> EventLoopFuture<
        any Channel
    > {
        // What is an address already needs no thread that asks the resolver.
        if let address = try? SocketAddress(ipAddress: host, port: port) { return bootstrap.connect(to: address) }
        return bootstrap.connect(host: host, port: port)
    }

    func abandon() {
        self.isAbandoned = true
        for channel in self.channels.values { channel.close(promise: nil) }
    }

    private func made(_ channel: any Channel) throws {
        if self.isAbandoned { throw ChannelError.ioOnClosedChannel }
        try Self.closeOnExec(channel)
        self.channels[ObjectIdentifier(channel)] = channel
        self.opened(channel)
    }

    /// A program that this process starts must not keep the connection, and with it a server's idea that somebody is there. NIO
    /// leaves that to whoever starts it; between the making of the socket and this there is a moment in which it would.
    private static func closeOnExec(_ channel: any Channel) throws {
        try channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) {
            _ = fcntl($0, F_SETFD, FD_CLOEXEC)
        }
    }

    private func ended(_ result: Result<any Channel, any Error>) {
        self.channels = [:]
        if self.isAbandoned {
            if case .success(let channel) = result { channel.close(promise: nil) }
        } else {
            self.finished(result)
        }
    }
}
