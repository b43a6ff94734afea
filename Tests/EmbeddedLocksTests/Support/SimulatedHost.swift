import LockKernel
import Synchronization

@testable import EmbeddedLocks

/// A host whose /proc and unix sockets are in memory. Its disk is the machine's, as are its clocks.
final class SimulatedHost: Sendable {
    let name: String
    let bootID: String
    private let table = Mutex(SocketTable())
    private let pollers = Mutex<[@Sendable () -> Void]>([])

    init(_ name: String) {
        self.name = name
        self.bootID = "boot of \(name)"
    }

    /// Changes the sockets, and has all who wait for one look.
    func change<Value: Sendable>(
        _ body: (inout SocketTable) throws(HostFailure) -> Value
    ) throws(HostFailure) -> Value {
        let outcome = self.table.withLock { table -> Result<Value, HostFailure> in
            do throws(HostFailure) { return .success(try body(&table)) } catch { return .failure(error) }
        }
        for look in self.pollers.withLock({ $0 }) { look() }
        return try outcome.get()
    }

    func isReadable(_ socket: Int32) -> Bool { self.table.withLock { $0.isReadable(socket) } }

    func names(in folder: String) -> [String] { self.table.withLock { $0.names(in: folder) } }

    func add(poller look: @escaping @Sendable () -> Void) { self.pollers.withLock { $0.append(look) } }
}

/// A process on such a host.
final class SimulatedProcess: ProcessSource {
    let host: SimulatedHost
    let number: Int32
    private let hidden: Set<String>
    private let mounts: [String: Int64]
    private let threads = SimulatedThreads()

    /// - Parameters:
    ///   - hidden: what it does not see of /proc.
    ///   - mounts: what it sees mounted by itself, and in which mount.
    init(_ number: Int32, on host: SimulatedHost, hidden: Set<String> = [], mounts: [String: Int64] = [:]) {
        self.host = host
        self.number = number
        self.hidden = hidden
        self.mounts = mounts
    }

    var hostName: String { self.host.name }

    func environment(vfs: String? = nil) -> EmbeddedEnvironment {
        EmbeddedEnvironment(
            Environment(threads: self.threads, process: self),
            files: SimulatedFiles(vfs: vfs, host: self.host, hidden: self.hidden, mounts: self.mounts),
            sockets: SimulatedSockets(host: self.host, process: self.number))
    }

    /// Ends as with SIGKILL: it does nothing from now on, and its kernel closes what it had open.
    func die() throws {
        self.threads.stop()
        try self.host.change { $0.closeAll(of: self.number) }
    }

    /// Lets the tasks of one that is dead come to their ends, so that the test can.
    func clearAway() { self.threads.goOn() }
}

struct SimulatedFiles: ForwardingFiles {
    var vfs: String?
    let host: SimulatedHost
    let hidden: Set<String>
    let mounts: [String: Int64]

    private func text(_ path: String) -> String? {
        if self.hidden.contains(path) { return nil }
        return switch path {
        case "/proc/sys/kernel/random/boot_id": self.host.bootID + "\n"
        case "/proc/self/timens_offsets": "monotonic 0 0\nboottime 0 0\n"
        case "/proc/self/mountinfo": "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        case "/proc/self/ns/time", "/proc/self/ns/time_for_children": "time:[4026531834]"
        default: nil
        }
    }

    func status(of path: String, followingLink: Bool) throws(HostFailure) -> FileStatus {
        guard path.hasPrefix("/proc/") else { return try self.base.status(of: path, followingLink: followingLink) }
        guard self.text(path) != nil else { throw HostFailure(ENOENT) }
        return FileStatus(
            kind: .file, identity: FileStatus.Identity(device: 0, inode: 1), linkCount: 1, sizeInBytes: 0, group: 0,
            permissions: 0o444, isOwn: false)
    }

    func mountID(of path: String) -> Int64? { self.mounts[path] ?? 1 }

    func target(ofLink path: String) throws(HostFailure) -> [UInt8] {
        guard path.hasPrefix("/proc/") else { return try self.base.target(ofLink: path) }
        guard let text = self.text(path) else { throw HostFailure(ENOENT) }
        return Array(text.utf8)
    }

    func contents(of path: String, atMostBytes limit: Int) -> [UInt8]? { self.text(path).map { Array($0.utf8) } }
}

struct SimulatedSockets: HostSockets {
    let host: SimulatedHost
    let process: Int32

    func openFolder(_ path: String) throws(HostFailure) -> SocketPlace {
        guard try SystemFiles().status(of: path, followingLink: true).kind == .folder else {
            throw HostFailure(ENOTDIR)
        }
        return SocketPlace(path: path, descriptor: -1)
    }

    func closeFolder(_ place: SocketPlace) {}

    func make(_ kind: SocketKind) throws(HostFailure) -> Int32 {
        try self.host.change { $0.make(kind, in: self.process) }
    }

    func bind(_ socket: Int32, to name: String, in place: SocketPlace) throws(HostFailure) {
        try self.host.change { table throws(HostFailure) in try table.bind(socket, to: name, in: place.path) }
    }

    func listen(_ socket: Int32, limit: Int32) throws(HostFailure) {
        try self.host.change { table throws(HostFailure) in try table.listen(socket, limit: limit) }
    }

    func accept(_ socket: Int32) throws(HostFailure) -> Int32 {
        try self.host.change { table throws(HostFailure) in try table.accept(socket) }
    }

    func connect(_ socket: Int32, to name: String, in place: SocketPlace) throws(HostFailure) {
        try self.host.change { table throws(HostFailure) in try table.connect(socket, to: name, in: place.path) }
    }

    func send(_ bytes: [UInt8], from socket: Int32, to name: String, in place: SocketPlace) throws(HostFailure) {
        try self.host.change { table throws(HostFailure) in try table.send(bytes, to: name, in: place.path) }
    }

    func receive(_ socket: Int32, into bytes: inout [UInt8]) throws(HostFailure) -> Int {
        let message = try self.host.change { table throws(HostFailure) in try table.receive(socket) }
        let count = min(message.count, bytes.count)
        bytes.replaceSubrange(0..<count, with: message.prefix(count))
        return count
    }

    func close(_ socket: Int32) { try? self.host.change { $0.close(socket) } }

    func rename(_ old: String, to new: String, in place: SocketPlace) throws(HostFailure) {
        try self.host.change { table throws(HostFailure) in try table.rename(old, to: new, in: place.path) }
    }

    func remove(_ name: String, in place: SocketPlace) { try? self.host.change { $0.remove(name, in: place.path) } }

    func contains(_ name: String, in place: SocketPlace) -> Bool {
        self.host.names(in: place.path).contains(name)
    }

    func names(in place: SocketPlace, atMost limit: Int) -> [String] {
        Array(self.host.names(in: place.path).prefix(limit))
    }

    func makePoller(_ environment: Environment) throws(HostFailure) -> any SocketPoller {
        let poller = SimulatedPoller(self.host, environment.threads.makeQueue("simulated sockets"))
        self.host.add { [weak poller] in poller?.lookSoon() }
        return poller
    }
}
