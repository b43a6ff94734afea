import NIOCore
import NIOPosix
import Synchronization

/// Stands between clients and a server, and damages what passes, at the exact byte.
package final class TCPProxy: Sendable {
    package enum Direction: Hashable, CaseIterable, Sendable {
        case toServer
        case toClient
    }

    /// What happens to the bytes of one direction.
    package enum Rule: Hashable, Sendable {
        case pass
        /// Both sides are closed when so many more bytes have passed, of all connections together.
        case cut(afterBytes: Int)
        /// What comes after so many more bytes vanishes; the connection stays.
        case swallow(afterBytes: Int)
        /// Every byte arrives that much later, in its order.
        case delay(Duration)
        /// Whatever arrives, arrives twice.
        case duplicate
    }

    private struct State {
        var rules: [Direction: Rule] = [:]
        var passed: [Direction: Int] = [:]
        var vanished: [Direction: [UInt8]] = [:]
        var isRefusing = false
        /// Whose bytes vanish.
        var blackHoles: Set<ObjectIdentifier> = []
        var channels: [ObjectIdentifier: any Channel] = [:]
        var accepted = 0
        var port = 0
        var serverPort: Int
    }

    private let state: Mutex<State>

    package var port: Int { self.state.withLock { $0.port } }
    package var url: String { "redis://127.0.0.1:\(self.port)" }
    /// How many connections have come, also those that were refused.
    package var acceptedCount: Int { self.state.withLock { $0.accepted } }

    package func passedBytes(_ direction: Direction) -> Int { self.state.withLock { $0.passed[direction] ?? 0 } }

    /// The bytes that did not pass.
    package func vanishedBytes(_ direction: Direction) -> [UInt8] {
        self.state.withLock { $0.vanished[direction] ?? [] }
    }

    private init(serverPort: Int) { self.state = Mutex(State(serverPort: serverPort)) }

    package static func withProxy<Success>(
        toPort serverPort: Int,
        isolation: isolated (any Actor)? = #isolation,
        _ body: (TCPProxy) async throws -> Success
    ) async throws -> Success {
        let proxy = TCPProxy(serverPort: serverPort)
        // One loop for everything, so that the order of bytes is that of their arrival.
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let listener = try await ServerBootstrap(group: loop, childGroup: loop)
            .childChannelOption(.autoRead, value: false)
            .childChannelInitializer { proxy.accepted($0) }
            .bind(host: "127.0.0.1", port: 0).get()
        proxy.state.withLock { $0.port = listener.localAddress?.port ?? 0 }
        let result: Result<Success, any Error>
        do {
            result = .success(try await body(proxy))
        } catch {
            result = .failure(error)
        }
        try? await listener.close()
        proxy.cutAll()
        return try result.get()
    }

    /// Sets what happens from now on; byte counts begin anew.
    package func set(_ rule: Rule, _ direction: Direction) { self.state.withLock { $0.rules[direction] = rule } }

    package func passAll() { self.state.withLock { $0.rules = [:] } }

    /// Connections that come from now on are made to another server; those that are there stay, as when a name or an address
    /// is moved.
    package func point(toPort serverPort: Int) { self.state.withLock { $0.serverPort = serverPort } }

    /// How many sockets there are, two for each connection.
    package var openCount: Int { self.state.withLock { $0.channels.count } }

    /// Closes every connection, soon.
    package func cutAll() {
        let channels = self.state.withLock { Array($0.channels.values) }
        for channel in channels { channel.close(promise: nil) }
    }

    /// Lets vanish what comes over the connections that are there, which stay; new ones work.
    package func blackHole() { self.state.withLock { $0.blackHoles = Set($0.channels.keys) } }

    /// Whether new connections are closed as soon as they come.
    package func setRefusing(_ isRefusing: Bool) { self.state.withLock { $0.isRefusing = isRefusing } }

    private func accepted(_ client: any Channel) -> EventLoopFuture<Void> {
        let (isRefused, serverPort) = self.state.withLock { state in
            state.accepted += 1
            return (state.isRefusing, state.serverPort)
        }
        if isRefused { return client.close() }
        return ClientBootstrap(group: client.eventLoop)
            .channelOption(.autoRead, value: false)
            .connect(host: "127.0.0.1", port: serverPort)
            .flatMapThrowing { server in
                try client.pipeline.syncOperations.addHandler(Relay(self, .toServer, to: server))
                try server.pipeline.syncOperations.addHandler(Relay(self, .toClient, to: client))
                self.state.withLock { state in
                    for channel in [client, server] { state.channels[ObjectIdentifier(channel)] = channel }
                }
                // A client that closes before its channel is active is never told to be inactive.
                client.closeFuture.whenComplete { _ in server.close(promise: nil) }
                try client.syncOptions?.setOption(.autoRead, value: true)
                try server.syncOptions?.setOption(.autoRead, value: true)
            }
    }

    fileprivate struct Fate {
        var passing: Int
        var isCut = false
        var delay: Duration?
        var isDuplicated = false
    }

    /// What becomes of bytes that have arrived.
    fileprivate func arrived(_ count: Int, _ direction: Direction, on channel: any Channel) -> Fate {
        self.state.withLock { state in
            if state.blackHoles.contains(ObjectIdentifier(channel)) { return Fate(passing: 0) }
            var fate = Fate(passing: count)
            switch state.rules[direction] ?? .pass {
            case .pass: break
            case .cut(let left):
                fate.passing = min(count, left)
                fate.isCut = count >= left
                state.rules[direction] = fate.isCut ? .pass : .cut(afterBytes: left - count)
            case .swallow(let left):
                fate.passing = min(count, left)
                state.rules[direction] = .swallow(afterBytes: left - fate.passing)
            case .delay(let delay): fate.delay = delay
            case .duplicate: fate.isDuplicated = true
            }
            state.passed[direction, default: 0] += fate.passing
            return fate
        }
    }

    fileprivate func vanished(_ bytes: [UInt8], _ direction: Direction) {
        self.state.withLock { $0.vanished[direction, default: []] += bytes }
    }

    fileprivate func closed(_ channel: any Channel) {
        self.state.withLock { state in
            state.channels[ObjectIdentifier(channel)] = nil
            state.blackHoles.remove(ObjectIdentifier(channel))
        }
    }
}

private final class Relay: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let proxy: TCPProxy
    private let direction: TCPProxy.Direction
    private let other: any Channel
    private var lastArrival = NIODeadline.uptimeNanoseconds(0)
    /// How many parts are still to be passed on.
    private var lateParts = 0

    init(_ proxy: TCPProxy, _ direction: TCPProxy.Direction, to other: any Channel) {
        self.proxy = proxy
        self.direction = direction
        self.other = other
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = self.unwrapInboundIn(data)
        let fate = self.proxy.arrived(bytes.readableBytes, self.direction, on: context.channel)
        if let part = bytes.readSlice(length: fate.passing), fate.passing > 0 {
            let other = self.other
            let now = NIODeadline.now()
            // What comes after late bytes is late, too, whatever the rule is by then. On a busy machine they may be here still
            // although their time has come.
            if fate.delay != nil || self.lateParts > 0 {
                let delay = fate.delay.map { TimeAmount.nanoseconds(Int64($0 / .nanoseconds(1))) } ?? .zero
                self.lastArrival = max(now + delay, self.lastArrival + .nanoseconds(1))
                self.lateParts += 1
                let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
                context.eventLoop.scheduleTask(deadline: self.lastArrival) {
                    bound.value.lateParts -= 1
                    other.writeAndFlush(part, promise: nil)
                }
            } else {
                other.writeAndFlush(part, promise: nil)
                if fate.isDuplicated { other.writeAndFlush(part, promise: nil) }
            }
        }
        self.proxy.vanished(Array(bytes.readableBytesView), self.direction)
        if fate.isCut {
            self.other.close(promise: nil)
            context.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.proxy.closed(context.channel)
        self.other.close(promise: nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
