import LockKernel
import LockTransport
import NIOCore

/// The shell of one connection: bytes in, bytes out. Lives on the event loop.
///
/// What is decided is decided by ``RedisConnectionStateMachine``.
final class RedisConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    typealias Instant = BootInstant

    /// A greater buffer is not kept for the next batch.
    private static let maximumKeptCapacityBytes = 1 << 20

    let id: RedisConnectionID
    private let client: RedisClientLoop
    /// The client's, with the endpoint of this connection.
    private let configuration: RedisClientConfiguration
    /// As an argument of a command. Empty where the endpoint is fixed.
    private let tagArgument: ByteBuffer
    private var machine: RedisConnectionStateMachine<RedisCompletion>
    private var decoder: RESPDecoder
    private var context: ChannelHandlerContext?
    private let timer: EventLoopTimer
    /// The last bytes that arrived, as far as they are no whole value yet.
    private var incoming = ByteBuffer()
    /// An error of the transport, which tells more than the end of the connection that follows it.
    private var transportError: TransportError?

    /// What goes out with the next write.
    private var outgoing = ByteBuffer()
    /// Read before the first byte of ``outgoing`` was put there.
    private var batchStart: Instant?
    /// Nothing was out when the first request was put into ``outgoing``.
    private var batchIsAlone = false
    /// Between the first read of a burst and its end.
    private var isReading = false
    private var isFlushScheduled = false

    init(
        id: RedisConnectionID,
        client: RedisClientLoop,
        location: RedisLocation,
        connectDeadline: Instant
    ) {
        self.id = id
        self.client = client
        self.configuration = client.configuration.located(location.endpoint)
        var tag = ByteBuffer()
        if client.configuration.locator != nil { tag.writeRESPBulk(location.tag) }
        self.tagArgument = tag
        self.machine = RedisConnectionStateMachine(
            id: id,
            tag: location.tag,
            configuration: self.configuration,
            connectDeadline: connectDeadline,
            now: client.now
        )
        self.decoder = RESPDecoder(limits: client.configuration.limits)
        self.timer = EventLoopTimer(eventLoop: client.eventLoop, environment: client.environment.machine)
    }

    // MARK: Requests

    /// When the requests that leave with the next write began to be gathered. Nil: there are none.
    var gatheringSince: Instant? { self.batchStart }

    /// Puts a request into the next write. Then call ``flushSoon()`` or ``flush()``.
    ///
    /// - Parameter now: not later than now.
    func send(_ request: RedisRequest<RedisCompletion>, now: Instant) {
        switch self.machine.sent(request, now: now) {
        case .write:
            if self.batchStart == nil {
                self.batchStart = now
                self.batchIsAlone = self.machine.inFlightCount == 1
            }
            self.outgoing.writeImmutableBuffer(request.command.bytes)
            if let tail = request.tail { self.outgoing.writeImmutableBuffer(tail) }
            if request.command.endsWithTag { self.writeTag() }
        case .fail(let error):
            request.completion.complete(.failure(error))
        }
    }

    private func writeTag() {
        precondition(self.tagArgument.readableBytes > 0, "a command that ends with a tag needs a locator")
        self.outgoing.writeImmutableBuffer(self.tagArgument)
    }

    /// Writes at once if nothing else is out; else at the end of this turn of the event loop.
    func flushSoon() {
        guard self.batchStart != nil, !self.isReading else { return }
        if self.batchIsAlone { self.flush() } else { self.flushAtEndOfTurn() }
    }

    func flushAtEndOfTurn() {
        guard self.batchStart != nil, !self.isReading, !self.isFlushScheduled else { return }
        self.isFlushScheduled = true
        let connection = NIOLoopBound(self, eventLoop: self.client.eventLoop)
        self.client.eventLoop.execute {
            connection.value.isFlushScheduled = false
            connection.value.flush()
        }
    }

    func flush() {
        guard self.batchStart != nil else { return }
        self.batchStart = nil
        self.write(self.outgoing)
        // Written by now, as a rule: then its storage is used again.
        if self.outgoing.capacity > Self.maximumKeptCapacityBytes {
            self.outgoing = ByteBuffer()
        } else {
            self.outgoing.clear()
        }
        self.armTimer()
    }

    func cancel(_ ids: Set<RequestID>) {
        let ended = self.machine.cancelled(ids)
        guard !ended.isEmpty else { return }
        let error = self.machine.cancellationError
        for completion in ended { completion.complete(.failure(error)) }
    }

    private func write(_ bytes: ByteBuffer) {
        self.context?.writeAndFlush(self.wrapOutboundOut(bytes), promise: nil)
    }

    // MARK: The channel

    /// Added to a channel that is connected.
    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        self.write(self.machine.greeting)
        self.armTimer()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.end(self.machine.transportEnded("the connection was closed", isRefusal: false))
        self.context = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // While TLS says goodbye the server may go on sending.
        guard !self.machine.isClosed else { return }
        var bytes = self.unwrapInboundIn(data)
        if !self.isReading {
            self.isReading = true
            self.machine.heard(now: self.client.now)
            self.client.status.set(self.machine.roundTrip)
        }
        if self.incoming.readableBytes > 0 {
            self.incoming.appendReceived(bytes)
            bytes = exchange(&self.incoming, with: ByteBuffer())
        }
        let head = self.machine.isUngreeted ? Array(bytes.readableBytesView.prefix(5)) : []
        do {
            while let value = try self.decoder.next(from: &bytes) {
                // Whatever is done about a value may have ended the connection.
                guard self.handle(value) else { return }
            }
        } catch {
            self.end(self.machine.garbled("\(error)", head: head))
            return
        }
        if bytes.readableBytes > 0 { self.incoming = bytes }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.isReading = false
        self.flush()
    }

    func channelInactive(context: ChannelHandlerContext) {
        let error = self.transportError ?? TransportError("the server closed the connection")
        self.end(self.machine.transportEnded(error.reason, isRefusal: error.isRefusal))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let error = TransportError(error, target: self.configuration.target)
        self.transportError = error
        self.end(self.machine.transportEnded(error.reason, isRefusal: error.isRefusal))
    }

    /// False: the connection has ended.
    private func handle(_ value: RESPValue) -> Bool {
        switch self.machine.received(value) {
        case .complete(let completion, let outcome):
            completion.complete(outcome)
        case .sendAgain(var request, let refusal):
            if request.completion.isWanted {
                request.tail = request.completion.tail
                self.send(request, now: self.gatheringSince ?? self.client.now)
            } else {
                request.completion.complete(.failure(refusal))
            }
        case .push(let elements):
            self.client.pushed(elements, on: self.id)
        case .nothing:
            break
        case .check(let greeting):
            let refusal = self.configuration.checkGreeting(greeting)
            switch self.machine.checked(refusal: refusal, notNow: self.configuration.checkRole(greeting)) {
            case .write(let bytes): self.write(bytes)
            case .nothing: break
            case .close(let error): self.end(error)
            }
        case .activate(let greeting, let pushed):
            self.client.activated(self, greeting, pushed: pushed)
        case .close(let error):
            self.end(error)
        }
        return !self.machine.isClosed
    }

    // MARK: Time

    private func armTimer() {
        if let instant = self.machine.timerToArm() { self.arm(instant) }
    }

    private func arm(_ instant: Instant) {
        self.timer.arm(instant) { self.timerFired() }
    }

    private func timerFired() {
        switch self.machine.timerFired(now: self.client.now) {
        case .idle: break
        case .arm(let instant): self.arm(instant)
        case .expire(let completions, let error, let instant):
            if let instant { self.arm(instant) }
            for completion in completions { completion.complete(.failure(error)) }
        case .close(let error): self.end(error)
        }
    }

    // MARK: The end

    /// Why it is of no use, if nothing has arrived for so long while requests were out.
    func silence(for duration: Duration) -> RedisError? { self.machine.silence(for: duration, now: self.client.now) }

    /// Gives the connection up.
    func close(_ error: RedisError) {
        self.end(error)
    }

    private func end(_ error: RedisError) {
        guard let action = self.machine.closed(error) else { return }
        self.timer.cancel()
        self.batchStart = nil
        self.incoming = ByteBuffer()
        self.outgoing = ByteBuffer()
        self.client.ended(self, error, wasActive: action.wasActive)
        for completion in action.outstanding { completion.complete(.failure(action.error)) }
        self.context?.close(promise: nil)
    }
}
