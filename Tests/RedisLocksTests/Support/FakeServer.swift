import NIOCore
import NIOPosix

/// A server that says what a test tells it to say, on a free loopback port.
///
/// `answer` is called with what arrives, one call for each read, and tells what to say next.
enum FakeServer {
    enum Step: Sendable {
        case say(String)
        case close
    }

    static func withServer<Success>(
        greeting: [Step] = [],
        _ answer: @escaping @Sendable (String) -> [Step],
        _ body: (RedisPort) async throws -> Success
    ) async throws -> Success {
        let group = MultiThreadedEventLoopGroup.singleton
        let children = group.next()
        let server = try await ServerBootstrap(group: children, childGroup: children)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Handler(greeting: greeting, answer: answer))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let result: Result<Success, any Error>
        do {
            result = .success(try await body(RedisPort(number: server.localAddress?.port ?? 0)))
        } catch {
            result = .failure(error)
        }
        try await server.close()
        return try result.get()
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let greeting: [Step]
        private let answer: @Sendable (String) -> [Step]

        init(greeting: [Step], answer: @escaping @Sendable (String) -> [Step]) {
            self.greeting = greeting
            self.answer = answer
        }

        func channelActive(context: ChannelHandlerContext) { self.take(self.greeting, context) }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            self.take(self.answer(String(buffer: self.unwrapInboundIn(data))), context)
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

        private func take(_ steps: [Step], _ context: ChannelHandlerContext) {
            for step in steps {
                switch step {
                case .say(let text): context.writeAndFlush(self.wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
                case .close: context.close(promise: nil)
                }
            }
        }
    }
}

/// Where a fake server listens.
struct RedisPort {
    let number: Int
}

extension FakeServer {
    /// What a server of version 7 answers to `HELLO 3` and the `PING` behind it.
    static let hello =
        "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:7\r\n"
        + "$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n+PONG\r\n"

    /// Greets as a server does, and answers everything else with these steps.
    static func greeting(then steps: Step...) -> @Sendable (String) -> [Step] {
        { received in received.contains("HELLO") ? [.say(Self.hello)] : steps }
    }
}
