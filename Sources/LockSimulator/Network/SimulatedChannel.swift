import LockKernel
import NIOCore

/// A channel over a simulated connection. Used on its event loop only.
final class SimulatedChannel: Channel, ChannelCore, @unchecked Sendable {
    let loop: SimulatedEventLoop
    let allocator = ByteBufferAllocator()
    private let closePromise: EventLoopPromise<Void>
    private var madePipeline: ChannelPipeline!
    private var isOpen = true
    private var wantsToRead = false
    /// What has come and was not read.
    private var incoming: [ByteBuffer] = []
    private var hasEnded: (any Error)??
    private var outgoing: [ByteBuffer] = []
    /// The other end; `nil` when the connection is gone.
    private var line: SimulatedConnection?

    init(_ loop: SimulatedEventLoop, _ line: SimulatedConnection) {
        self.loop = loop
        self.line = line
        self.closePromise = loop.makePromise()
        self.madePipeline = ChannelPipeline(channel: self)
    }

    var eventLoop: any EventLoop { self.loop }
    var closeFuture: EventLoopFuture<Void> { self.closePromise.futureResult }
    var pipeline: ChannelPipeline { self.madePipeline }
    var localAddress: SocketAddress? { nil }
    var remoteAddress: SocketAddress? { nil }
    var parent: (any Channel)? { nil }
    var isWritable: Bool { self.isOpen }
    var isActive: Bool { self.isOpen }
    var _channelCore: any ChannelCore { self }
    var syncOptions: (any NIOSynchronousChannelOptions)? { Options(channel: self) }

    private struct Options: NIOSynchronousChannelOptions {
        let channel: SimulatedChannel

        func setOption<Option: ChannelOption>(_ option: Option, value: Option.Value) throws {
            guard let isOn = value as? Bool, option is ChannelOptions.Types.AutoReadOption else { return }
            self.channel.wantsToRead = isOn
            if isOn { self.channel.read() }
        }

        func getOption<Option: ChannelOption>(_ option: Option) throws -> Option.Value {
            throw ChannelError.operationUnsupported
        }
    }

    func setOption<Option: ChannelOption>(_ option: Option, value: Option.Value) -> EventLoopFuture<Void> {
        self.loop.makeCompletedFuture { try self.syncOptions?.setOption(option, value: value) }
    }

    func getOption<Option: ChannelOption>(_ option: Option) -> EventLoopFuture<Option.Value> {
        self.loop.makeFailedFuture(ChannelError.operationUnsupported)
    }

    // MARK: What comes

    /// The connection stands.
    func activate() { self.pipeline.fireChannelActive() }

    func received(_ bytes: ByteBuffer) {
        guard self.isOpen else { return }
        self.incoming.append(bytes)
        if self.wantsToRead { self.deliver() }
    }

    /// The other end is gone. `nil`: it has closed as one does.
    func ended(_ error: (any Error)?) {
        guard self.isOpen, self.hasEnded == nil else { return }
        self.hasEnded = .some(error)
        if self.wantsToRead { self.deliver() }
    }

    private func deliver() {
        let incoming = self.incoming
        self.incoming = []
        for bytes in incoming where self.isOpen { self.pipeline.fireChannelRead(bytes) }
        if !incoming.isEmpty, self.isOpen { self.pipeline.fireChannelReadComplete() }
        guard self.isOpen, case .some(let error) = self.hasEnded else { return }
        if let error { self.pipeline.fireErrorCaught(error) }
        self.close0(error: error ?? ChannelError.eof, mode: .all, promise: nil)
    }

    // MARK: ChannelCore

    func localAddress0() throws -> SocketAddress { throw ChannelError.operationUnsupported }
    func remoteAddress0() throws -> SocketAddress { throw ChannelError.operationUnsupported }
    func register0(promise: EventLoopPromise<Void>?) { promise?.succeed() }
    func registerAlreadyConfigured0(promise: EventLoopPromise<Void>?) { promise?.succeed() }
    func bind0(to address: SocketAddress, promise: EventLoopPromise<Void>?) {
        promise?.fail(ChannelError.operationUnsupported)
    }
    func connect0(to address: SocketAddress, promise: EventLoopPromise<Void>?) {
        promise?.fail(ChannelError.operationUnsupported)
    }

    func write0(_ data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard self.isOpen else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        self.outgoing.append(self.unwrapData(data, as: ByteBuffer.self))
        promise?.succeed()
    }

    func flush0() {
        let outgoing = self.outgoing
        self.outgoing = []
        for bytes in outgoing where bytes.readableBytes > 0 && self.isOpen {
            guard let line, line.clientSent(bytes) else {
                return self.close0(error: IOError(errnoCode: EPIPE, reason: "write"), mode: .all, promise: nil)
            }
        }
    }

    func read0() { if self.wantsToRead { self.deliver() } }

    func close0(error: any Error, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        guard self.isOpen else {
            promise?.fail(ChannelError.alreadyClosed)
            return
        }
        self.isOpen = false
        self.line?.clientClosed()
        self.line = nil
        promise?.succeed()
        self.pipeline.fireChannelInactive()
        self.pipeline.fireChannelUnregistered()
        // The handlers leave when this turn is over, as with a real channel.
        self.loop.execute {
            self.removeHandlers(pipeline: self.pipeline)
            self.closePromise.succeed()
        }
    }

    func triggerUserOutboundEvent0(_ event: Any, promise: EventLoopPromise<Void>?) {
        promise?.fail(ChannelError.operationUnsupported)
    }

    func channelRead0(_ data: NIOAny) {}
    func errorCaught0(error: any Error) {}
}
