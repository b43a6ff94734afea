#if Embedded
import DistributedLocks
import LockKernel

/// The folder of the sockets of all clients of one file, and names within it.
final class SocketFolder: Sendable {
    private let files: any HostFiles
    private let sockets: any HostSockets
    private let place: SocketPlace

    var path: String { self.place.path }

    /// - Throws: `LockError` `unreachable` if the folder cannot be made or opened.
    init(path: String, on environment: EmbeddedEnvironment) throws(LockError) {
        self.files = environment.files
        self.sockets = environment.sockets
        do {
            try environment.files.makeFolder(path, permissions: 0o777)
            SharedFiles(files: environment.files).follow(path + "/..", path)
        } catch  where error.code == EEXIST {
            // Somebody else has made it.
        } catch {
            throw LockError(.unreachable, "the folder \(path) cannot be made (\(error.text))")
        }
        do {
            self.place = try environment.sockets.openFolder(path)
        } catch {
            throw LockError(.unreachable, "the folder \(path) cannot be opened (\(error.text))")
        }
    }

    /// The folder, if it is there already.
    init?(existing path: String, on environment: EmbeddedEnvironment) {
        guard let place = try? environment.sockets.openFolder(path) else { return nil }
        self.files = environment.files
        self.sockets = environment.sockets
        self.place = place
    }

    deinit { self.sockets.closeFolder(self.place) }

    func make(_ kind: SocketKind) throws(HostFailure) -> Int32 { try self.sockets.make(kind) }

    func close(_ socket: Int32) { self.sockets.close(socket) }

    /// Gives a socket a name here, and the folder's group, so that who shares the folder may connect to it.
    func bind(_ socket: Int32, to name: String) throws(HostFailure) {
        try self.sockets.bind(socket, to: name, in: self.place)
        SharedFiles(files: self.files).follow(self.path, self.path + "/" + name)
    }

    func listen(_ socket: Int32, limit: Int32) throws(HostFailure) { try self.sockets.listen(socket, limit: limit) }

    func accept(_ socket: Int32) throws(HostFailure) -> Int32 { try self.sockets.accept(socket) }

    func connect(_ socket: Int32, to name: String) throws(HostFailure) {
        try self.sockets.connect(socket, to: name, in: self.place)
    }

    func send(_ bytes: [UInt8], from socket: Int32, to name: String) throws(HostFailure) {
        try self.sockets.send(bytes, from: socket, to: name, in: self.place)
    }

    func receive(_ socket: Int32, into bytes: inout [UInt8]) throws(HostFailure) -> Int {
        try self.sockets.receive(socket, into: &bytes)
    }

    func rename(_ old: String, to new: String) throws(HostFailure) {
        try self.sockets.rename(old, to: new, in: self.place)
    }

    func remove(_ name: String) { self.sockets.remove(name, in: self.place) }

    func contains(_ name: String) -> Bool { self.sockets.contains(name, in: self.place) }

    /// Some of the names in the folder, in the order in which it gives them.
    func names(atMost limit: Int) -> [String] { self.sockets.names(in: self.place, atMost: limit) }
}
#endif
