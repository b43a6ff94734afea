#if Embedded
import EmbeddedLocks
import LockKernel

/// A unix socket of a simulated machine.
final class SimulatedSocket {
    let kind: SocketKind
    private unowned let process: MachineProcess
    private(set) var isClosed = false
    fileprivate var isListening = false
    fileprivate var limit = 0
    /// The ends of connections that nobody has accepted yet.
    fileprivate var backlog: [SimulatedSocket] = []
    fileprivate weak var peer: SimulatedSocket?
    fileprivate var isConnected = false
    fileprivate var datagrams: [[UInt8]] = []

    init(_ kind: SocketKind, of process: MachineProcess) {
        self.kind = kind
        self.process = process
    }

    /// There is something to read, or the other end is gone.
    var isReadable: Bool {
        if self.isClosed { return false }
        switch self.kind {
        case .datagram: return !self.datagrams.isEmpty
        case .stream: return self.isListening ? !self.backlog.isEmpty : self.isConnected && self.peer == nil
        }
    }

    func close() {
        guard !self.isClosed else { return }
        self.isClosed = true
        for end in self.backlog { end.close() }
        self.backlog = []
        let peer = self.peer
        self.peer = nil
        peer?.peer = nil
        peer?.changed()
    }

    fileprivate func changed() { self.process.poller.changed() }

    // MARK: What the kernel does

    fileprivate func take(_ bytes: [UInt8]) throws(HostFailure) {
        guard self.datagrams.count < self.process.machine.longestQueue else { throw HostFailure(EAGAIN) }
        self.datagrams.append(bytes)
        self.changed()
    }

    /// - Returns: the end of the one that connects.
    fileprivate func connect(_ end: SimulatedSocket) throws(HostFailure) {
        guard self.isListening else { throw HostFailure(ECONNREFUSED) }
        // As many as its limit, and one more.
        guard self.backlog.count <= self.limit else { throw HostFailure(EAGAIN) }
        let other = SimulatedSocket(.stream, of: self.process)
        other.peer = end
        other.isConnected = true
        end.peer = other
        end.isConnected = true
        self.backlog.append(other)
        self.changed()
    }

    fileprivate func accept() throws(HostFailure) -> Int32 {
        guard !self.backlog.isEmpty else { throw HostFailure(EAGAIN) }
        return self.process.descriptor(of: self.backlog.removeFirst())
    }
}

/// The unix sockets of a simulated machine, as one of its processes has them.
/// Used by the steps of one world, of which one runs at a time.
struct SimulatedSockets: HostSockets, @unchecked Sendable {
    let process: MachineProcess

    private var disk: VirtualDisk { self.process.machine.disk }

    private func live() throws(HostFailure) { if self.process.isDead { throw HostFailure(EBADF) } }

    func socket(_ number: Int32) throws(HostFailure) -> SimulatedSocket {
        guard !self.process.isDead, let socket = self.process.sockets[number] else { throw HostFailure(EBADF) }
        return socket
    }

    func openFolder(_ path: String) throws(HostFailure) -> SocketPlace {
        try self.live()
        guard case .folder = self.disk.node(path)?.kind else { throw HostFailure(ENOENT) }
        return SocketPlace(path: path, descriptor: self.process.nextDescriptor())
    }

    func closeFolder(_ place: SocketPlace) {}

    func make(_ kind: SocketKind) throws(HostFailure) -> Int32 {
        try self.live()
        return self.process.descriptor(of: SimulatedSocket(kind, of: self.process))
    }

    func bind(_ socket: Int32, to name: String, in place: SocketPlace) throws(HostFailure) {
        let socket = try self.socket(socket)
        let node: VirtualDisk.Node
        do {
            node = try self.disk.make(.socket, at: place.path + "/" + name, permissions: 0o755)
        } catch {
            throw error.code == EEXIST ? HostFailure(EADDRINUSE) : error
        }
        node.socket = socket
    }

    func listen(_ socket: Int32, limit: Int32) throws(HostFailure) {
        let socket = try self.socket(socket)
        socket.isListening = true
        socket.limit = min(Int(limit), self.process.machine.longestBacklog)
    }

    func accept(_ socket: Int32) throws(HostFailure) -> Int32 { try self.socket(socket).accept() }

    /// Who is bound there.
    private func target(_ name: String, in place: SocketPlace, _ kind: SocketKind) throws(HostFailure)
        -> SimulatedSocket
    {
        guard let node = self.disk.node(place.path + "/" + name) else { throw HostFailure(ENOENT) }
        guard case .socket = node.kind, let target = node.socket, !target.isClosed else {
            throw HostFailure(ECONNREFUSED)
        }
        guard target.kind == kind else { throw HostFailure(EPROTOTYPE) }
        return target
    }

    func connect(_ socket: Int32, to name: String, in place: SocketPlace) throws(HostFailure) {
        let socket = try self.socket(socket)
        let target = try self.target(name, in: place, socket.kind)
        if socket.kind == .stream { try target.connect(socket) }
    }

    func send(_ bytes: [UInt8], from socket: Int32, to name: String, in place: SocketPlace) throws(HostFailure) {
        _ = try self.socket(socket)
        try self.target(name, in: place, .datagram).take(bytes)
    }

    func receive(_ socket: Int32, into bytes: inout [UInt8]) throws(HostFailure) -> Int {
        let socket = try self.socket(socket)
        guard !socket.datagrams.isEmpty else { throw HostFailure(EAGAIN) }
        let datagram = socket.datagrams.removeFirst()
        let count = min(datagram.count, bytes.count)
        bytes.replaceSubrange(0..<count, with: datagram[0..<count])
        return count
    }

    func close(_ socket: Int32) {
        guard !self.process.isDead else { return }
        self.process.sockets.removeValue(forKey: socket)?.close()
    }

    func rename(_ old: String, to new: String, in place: SocketPlace) throws(HostFailure) {
        try self.live()
        try self.disk.rename(place.path + "/" + old, to: place.path + "/" + new)
    }

    func remove(_ name: String, in place: SocketPlace) {
        if !self.process.isDead { _ = self.disk.remove(place.path + "/" + name) }
    }

    func contains(_ name: String, in place: SocketPlace) -> Bool {
        !self.process.isDead && self.disk.node(place.path + "/" + name) != nil
    }

    func names(in place: SocketPlace, atMost limit: Int) -> [String] {
        self.process.isDead ? [] : Array(self.disk.names(in: place.path).prefix(limit))
    }

    func makePoller(_ environment: Environment) throws(HostFailure) -> any SocketPoller {
        try self.live()
        return self.process.poller
    }
}
#endif
