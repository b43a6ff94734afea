#if Embedded
import DistributedLocks
import LockKernel
import Synchronization

/// How a client shows that it lives: it listens on a socket.
///
/// Whoever waits for it connects, and stays connected: the kernel ends the connection when its process dies, however that
/// happens. A process that inherits the listening descriptor keeps the client alive in the eyes of others, which is how the
/// watchdog of `dlock run` keeps a lock until the command is dead: it has the listener, not the connections. So the end of
/// a connection is no proof. Who sees it connects again, and only a connection that is refused proves death.
///
/// Connections are accepted and kept, and closed when their other side is gone. One that is not accepted takes a place in the
/// listener's queue for as long as the listener lives, also when its other side has long been closed.
///
/// (A record lock would have to be polled, or waited for by a thread, and a user may have 128 inotify instances only.)
final class LivenessSocket: Sendable {
    private struct State {
        var listening: SocketWatch?
        var connections: Set<SocketWatch> = []
        var isShutDown = false
    }

    let descriptor: Int32
    private let name: String
    private let folder: SocketFolder
    private let poller: any SocketPoller
    /// For what has to be done after a while.
    private let timers: any WorkQueue
    private let maximumConnections: Int
    private let state = Mutex(State())

    /// More connections than this are left in the listener's queue, so that nobody can use up this process's descriptors.
    static let maximumConnections = 256
    /// How long to leave the queue alone when no descriptor is to be had.
    private static let pauseWithoutDescriptors: Duration = .seconds(1)

    /// - Throws: `LockError` `unreachable` if the socket cannot be made.
    init(
        _ participant: ParticipantID,
        in folder: SocketFolder,
        poller: any SocketPoller,
        timers: any WorkQueue,
        maximumConnections: Int = LivenessSocket.maximumConnections
    ) throws(LockError) {
        self.folder = folder
        self.poller = poller
        self.timers = timers
        self.maximumConnections = maximumConnections
        self.name = participant.hexadecimal
        self.descriptor = try Self.listen(self.name, in: folder)
        let watch = poller.watch(self.descriptor, isOnce: false) { [weak self] in self?.acceptAll() }
        self.state.withLock { $0.listening = watch }
    }

    private static func listen(_ name: String, in folder: SocketFolder) throws(LockError) -> Int32 {
        var made: Int32?
        do {
            let socket = try folder.make(.stream)
            made = socket
            // Under its own name only when it listens: a socket that is not listening yet looks dead.
            let hidden = "." + name
            try folder.bind(socket, to: hidden)
            try folder.listen(socket, limit: Int32(Int16.max))
            try folder.rename(hidden, to: name)
            return socket
        } catch {
            if let made { folder.close(made) }
            throw LockError(.unreachable, "no socket can be made in \(folder.path) (\(error.text))")
        }
    }

    deinit { self.shutDown(leavingName: true) }

    var isInPlace: Bool { self.folder.contains(self.name) }
    var connectionCount: Int { self.state.withLock { $0.connections.count } }

    /// Ends this client in the eyes of others, unless another process has the descriptor.
    ///
    /// - Parameter leavingName: Whether something of this client may be left in the file: a socket that is there and refuses
    ///   is dead, while one that is missing proves nothing.
    func shutDown(leavingName: Bool) {
        let watches = self.state.withLock { state -> [SocketWatch] in
            guard !state.isShutDown else { return [] }
            state.isShutDown = true
            defer {
                state.listening = nil
                state.connections = []
            }
            return state.connections.sorted { $0.number < $1.number } + (state.listening.map { [$0] } ?? [])
        }
        guard !watches.isEmpty else { return }
        if !leavingName { self.folder.remove(self.name) }
        for watch in watches { self.poller.cancel(watch) }
    }

    /// On the poller's thread.
    private func acceptAll() {
        while true {
            guard self.state.withLock({ !$0.isShutDown && $0.connections.count < self.maximumConnections }) else {
                // Who is gone makes room; until then there is nothing to be done.
                return self.pause()
            }
            do {
                self.keep(try self.folder.accept(self.descriptor))
            } catch {
                switch error.code {
                case EAGAIN: return
                case EINTR, ECONNABORTED: continue
                default:
                    self.pause()
                    self.timers.async(after: Self.pauseWithoutDescriptors) { [weak self] in self?.goOn() }
                    return
                }
            }
        }
    }

    private func keep(_ connection: Int32) {
        // Nobody writes to it: whatever happens, it has ended. Told on this thread, so not before it is known.
        let box = WatchBox()
        let watch = self.poller.watch(connection, isOnce: true) { [weak self] in self?.ended(box) }
        box.value.withLock { $0 = watch }
        let isKept = self.state.withLock { state in
            guard !state.isShutDown else { return false }
            state.connections.insert(watch)
            return true
        }
        if !isKept { self.poller.cancel(watch) }
    }

    private final class WatchBox: Sendable {
        let value = Mutex<SocketWatch?>(nil)
    }

    private func ended(_ box: WatchBox) {
        guard let watch = box.value.withLock({ $0 }) else { return }
        let wasFull = self.state.withLock { state in
            defer { state.connections.remove(watch) }
            return state.connections.count >= self.maximumConnections
        }
        if wasFull { self.goOn() }
    }

    /// Leaves the listener's queue alone.
    private func pause() {
        if let watch = self.state.withLock({ $0.listening }) { self.poller.pause(watch) }
    }

    private func goOn() {
        if let watch = self.state.withLock({ $0.listening }) { self.poller.resume(watch) }
    }
}
#endif
