import LockKernel

@testable import EmbeddedLocks

/// The unix sockets of a host, as its kernel keeps them: what is open in which process, and which names lead to what. A name
/// outlives its socket.
struct SocketTable: Sendable {
    private enum State {
        case fresh
        case listening(limit: Int, waiting: [Int32])
        /// `nil` if the other end is closed.
        case connected(to: Int32?)
        case receiving([[UInt8]])
        /// Who sends datagrams.
        case directed
    }

    private struct Entry {
        let kind: SocketKind
        let process: Int32
        var state = State.fresh
    }

    private var sockets: [Int32: Entry] = [:]
    private var names: [String: [String: Int32]] = [:]
    private var lastNumber: Int32 = 1_000
    /// As /proc/sys/net/unix/max_dgram_qlen has it.
    private static let maximumUnread = 10

    mutating func make(_ kind: SocketKind, in process: Int32) -> Int32 {
        self.lastNumber += 1
        self.sockets[self.lastNumber] = Entry(kind: kind, process: process)
        return self.lastNumber
    }

    mutating func bind(_ socket: Int32, to name: String, in folder: String) throws(HostFailure) {
        guard let entry = self.sockets[socket] else { throw HostFailure(EBADF) }
        guard self.names[folder]?[name] == nil else { throw HostFailure(EADDRINUSE) }
        self.names[folder, default: [:]][name] = socket
        if entry.kind == .datagram { self.sockets[socket]?.state = .receiving([]) }
    }

    mutating func listen(_ socket: Int32, limit: Int32) throws(HostFailure) {
        guard self.sockets[socket]?.kind == .stream else { throw HostFailure(EBADF) }
        self.sockets[socket]?.state = .listening(limit: Int(limit), waiting: [])
    }

    mutating func accept(_ socket: Int32) throws(HostFailure) -> Int32 {
        guard case .listening(let limit, var waiting)? = self.sockets[socket]?.state else { throw HostFailure(EBADF) }
        guard !waiting.isEmpty else { throw HostFailure(EAGAIN) }
        let connection = waiting.removeFirst()
        self.sockets[socket]?.state = .listening(limit: limit, waiting: waiting)
        return connection
    }

    mutating func connect(_ socket: Int32, to name: String, in folder: String) throws(HostFailure) {
        guard let entry = self.sockets[socket] else { throw HostFailure(EBADF) }
        guard let target = self.names[folder]?[name] else { throw HostFailure(ENOENT) }
        switch self.sockets[target]?.state {
        case .listening(let limit, let waiting)? where entry.kind == .stream:
            // One more than was said, as Linux counts.
            guard waiting.count <= limit else { throw HostFailure(EAGAIN) }
            let other = self.make(.stream, in: self.sockets[target]?.process ?? 0)
            self.sockets[other]?.state = .connected(to: socket)
            self.sockets[socket]?.state = .connected(to: other)
            self.sockets[target]?.state = .listening(limit: limit, waiting: waiting + [other])
        case .receiving? where entry.kind == .datagram:
            self.sockets[socket]?.state = .directed
        default:
            throw HostFailure(ECONNREFUSED)
        }
    }

    mutating func send(_ bytes: [UInt8], to name: String, in folder: String) throws(HostFailure) {
        guard let target = self.names[folder]?[name] else { throw HostFailure(ENOENT) }
        guard case .receiving(let unread)? = self.sockets[target]?.state else { throw HostFailure(ECONNREFUSED) }
        guard unread.count < Self.maximumUnread else { throw HostFailure(EAGAIN) }
        self.sockets[target]?.state = .receiving(unread + [bytes])
    }

    mutating func receive(_ socket: Int32) throws(HostFailure) -> [UInt8] {
        guard case .receiving(var unread)? = self.sockets[socket]?.state else { throw HostFailure(EBADF) }
        guard !unread.isEmpty else { throw HostFailure(EAGAIN) }
        let first = unread.removeFirst()
        self.sockets[socket]?.state = .receiving(unread)
        return first
    }

    func isReadable(_ socket: Int32) -> Bool {
        switch self.sockets[socket]?.state {
        case .listening(_, let waiting)?: !waiting.isEmpty
        case .receiving(let unread)?: !unread.isEmpty
        case .connected(to: nil)?: true
        case .connected?, .fresh?, .directed?, nil: false
        }
    }

    mutating func close(_ socket: Int32) {
        switch self.sockets.removeValue(forKey: socket)?.state {
        case .listening(_, let waiting)?: for connection in waiting { self.close(connection) }
        case .connected(to: let other?)?: self.sockets[other]?.state = .connected(to: nil)
        case .connected?, .receiving?, .fresh?, .directed?, nil: break
        }
    }

    /// A process ends.
    mutating func closeAll(of process: Int32) {
        for socket in self.sockets.filter({ $0.value.process == process }).keys.sorted() { self.close(socket) }
    }

    mutating func rename(_ old: String, to new: String, in folder: String) throws(HostFailure) {
        guard let socket = self.names[folder]?.removeValue(forKey: old) else { throw HostFailure(ENOENT) }
        self.names[folder]?[new] = socket
    }

    mutating func remove(_ name: String, in folder: String) { self.names[folder]?[name] = nil }

    func names(in folder: String) -> [String] { self.names[folder]?.keys.sorted() ?? [] }
}
