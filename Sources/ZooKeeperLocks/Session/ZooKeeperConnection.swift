import DequeModule
import LockKernel
import LockTransport
import NIOCore

/// The shell of one connection: bytes in, bytes out. Lives on the event loop.
final class ZooKeeperConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    typealias Instant = BootInstant
    typealias Machine = ZooKeeperConnectionStateMachine<ZooKeeperClient.Completion>

    private let client: ZooKeeperClient
    private let endpoint: ServerEndpoint
    private var machine: Machine
    private let decoder: JuteFrameDecoder
    private let timer: EventLoopTimer
    private var context: ChannelHandlerContext?
    private var incoming = ByteBuffer()
    private var outgoing = ByteBuffer()
    private var isFlushScheduled = false
    private var isReading = false
    private var transportError: TransportError?
    /// When the greeting was written: the session lives for its timeout at least from here.
    private(set) var greetedAt: Instant

    init(client: ZooKeeperClient, endpoint: ServerEndpoint, deadline: Instant, patience: Duration) {
        self.client = client
        self.endpoint = endpoint
        let now = client.now
        self.greetedAt = now
        self.machine = Machine(
            deadline: deadline, patience: patience, now: now, limits: client.configuration.limits)
        self.decoder = JuteFrameDecoder(limits: client.configuration.limits)
        self.timer = EventLoopTimer(eventLoop: client.eventLoop, environment: client.environment.machine)
    }

    // MARK: Requests

    func send(_ request: ZooKeeperRequest, completion: @escaping ZooKeeperClient.Completion) {
        guard self.machine.inFlightCount < self.client.configuration.maximumInFlight else {
            completion(.failure(self.error(.notSent, "\(self.machine.inFlightCount) requests are out already")))
            return
        }
        let xid = self.machine.sent(request, completion: completion, at: self.client.now)
        request.writeFrame(xid: xid, into: &self.outgoing)
        self.flushSoon()
    }

    /// What is sent in one turn of the event loop leaves in one write.
    private func flushSoon() {
        guard !self.isReading, !self.isFlushScheduled else { return }
        self.isFlushScheduled = true
        let connection = NIOLoopBound(self, eventLoop: self.client.eventLoop)
        self.client.eventLoop.execute {
            connection.value.isFlushScheduled = false
            connection.value.flush()
        }
    }

    private func flush() {
        guard self.outgoing.readableBytes > 0, let context = self.context else { return }
        context.writeAndFlush(self.wrapOutboundOut(self.outgoing), promise: nil)
        self.outgoing.clear()
    }

    // MARK: The channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        self.greetedAt = self.client.now
        self.client.greeting.writeFrame(into: &self.outgoing)
        self.flush()
        self.timerFired()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.end(.outcomeUnknown, "the connection was closed")
        self.context = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !self.machine.isClosed else { return }
        var bytes = self.unwrapInboundIn(data)
        if !self.isReading {
            self.isReading = true
            self.machine.heard(now: self.client.now)
        }
        if self.incoming.readableBytes > 0 {
            self.incoming.writeBuffer(&bytes)
            bytes = exchange(&self.incoming, with: ByteBuffer())
        }
        do {
            while let frame = try self.decoder.next(from: &bytes) {
                guard self.handle(frame) else { return }
            }
        } catch {
            self.end(.unusableServer, Self.isHTTP(bytes) ? "the server speaks HTTP, not ZooKeeper" : "\(error)")
            return
        }
        if bytes.readableBytes > 0 {
            // What has been read would otherwise be kept for as long as no read ends with a frame.
            bytes.discardReadBytes()
            self.incoming = bytes
        }
    }

    private static func isHTTP(_ bytes: ByteBuffer) -> Bool {
        bytes.getString(at: bytes.readerIndex, length: 5) == "HTTP/"
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.isReading = false
        self.flush()
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.endOfChannel()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.transportError = TransportError(error, target: self.client.target(self.endpoint))
        self.endOfChannel()
    }

    private func endOfChannel() {
        let error = self.transportError ?? TransportError(self.client.reasonOfClose)
        self.end(error.isRefusal ? .unusableServer : .outcomeUnknown, error.reason)
    }

    /// False: the connection has ended.
    private func handle(_ frame: ByteBuffer) -> Bool {
        switch self.machine.frame(frame) {
        case .greeted(let response):
            self.client.greeted(self, response)
        case .answer(let pending, let header, var reader):
            self.client.saw(zxid: header.zxid)
            guard header.error == .ok else {
                return self.refused(pending, header.error)
            }
            do {
                let answer = try ZooKeeperAnswer(to: pending.request, from: &reader)
                self.client.answered(pending.request)
                pending.completion(.success(ZooKeeperReply(answer: answer, zxid: header.zxid, sentAt: pending.sentAt)))
            } catch {
                pending.completion(.failure(self.error(.outcomeUnknown, "\(error)")))
                self.end(.unusableServer, "\(error)")
            }
        case .watch(let event):
            self.client.watchFired(event)
        case .authenticated(let isAccepted):
            if !isAccepted { self.end(.unusableServer, "the server refused this user and password") }
        case .nothing(let zxid):
            self.client.saw(zxid: zxid)
        case .close(let reason):
            self.end(.unusableServer, reason)
        }
        return !self.machine.isClosed
    }

    private func refused(_ pending: Machine.Pending, _ code: ZooKeeperCode) -> Bool {
        switch code {
        case .sessionExpired, .sessionMoved, .connectionLoss, .operationTimeout:
            // Whether the session is over is learned by attaching again.
            pending.completion(.failure(self.error(.outcomeUnknown, "the server answered \(code)")))
            self.end(.outcomeUnknown, "the server answered \(code)")
        default:
            pending.completion(.failure(self.error(.refused(code), "\(pending.request) was answered with \(code)")))
        }
        return !self.machine.isClosed
    }

    func opened(timeout: Duration) {
        self.machine.opened(timeout: timeout)
        self.timerFired()
    }

    // MARK: Time

    private func timerFired() {
        switch self.machine.timerFired(now: self.client.now) {
        case .wait(let until):
            self.arm(until)
        case .ping(let next):
            ZooKeeperRequest.ping.writeFrame(xid: ZooKeeperRequest.pingXid, into: &self.outgoing)
            self.flush()
            self.arm(next)
        case .close(let reason):
            self.end(.outcomeUnknown, reason)
        }
    }

    private func arm(_ instant: Instant) {
        self.timer.arm(instant) { self.timerFired() }
    }

    // MARK: The end

    /// Leaves the server.
    func close(_ code: ZooKeeperError.Code, _ reason: String) {
        self.end(code, reason)
    }

    /// Writes what is there, then closes.
    func closeGracefully() {
        self.flush()
        self.end(.stopped, "the client was stopped")
    }

    private func error(_ code: ZooKeeperError.Code, _ reason: String) -> ZooKeeperError {
        ZooKeeperError(code, endpoint: self.endpoint, reason)
    }

    private func end(_ code: ZooKeeperError.Code, _ reason: String) {
        guard let pending = self.machine.closed() else { return }
        self.timer.cancel()
        self.outgoing = ByteBuffer()
        self.incoming = ByteBuffer()
        let context = self.context
        self.client.ended(self, self.error(code, reason))
        for request in pending {
            request.completion(.failure(self.error(.outcomeUnknown, reason)))
        }
        context?.close(promise: nil)
    }
}
