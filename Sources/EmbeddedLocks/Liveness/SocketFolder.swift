#if Embedded
import DistributedLocks
import LockKernel

/// The folder of the sockets of all clients of one file, and names within it.
///
/// A socket's address has room for about a hundred bytes only; longer paths are reached through the folder's descriptor.
final class SocketFolder: Sendable {
    let path: String
    private let descriptor: Int32

    /// - Throws: `LockError` `unreachable` if the folder cannot be made or opened.
    init(path: String) throws(LockError) {
        self.path = path
        if mkdir(path, 0o777) == 0 {
            SharedFiles.follow(path + "/..", path)
        } else if errno != EEXIST {
            throw LockError(.unreachable, "the folder \(path) cannot be made (\(EmbeddedLocation.errorText()))")
        }
        self.descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard self.descriptor >= 0 else {
            throw LockError(.unreachable, "the folder \(path) cannot be opened (\(EmbeddedLocation.errorText()))")
        }
    }

    /// The folder, if it is there already.
    init?(existing path: String) {
        self.path = path
        self.descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if self.descriptor < 0 { return nil }
    }

    deinit {
        // Nothing was opened where making one failed.
        if self.descriptor >= 0 { close(self.descriptor) }
    }

    /// Calls a socket function with the address of a name in this folder; -1 with `errno` if the name is too long.
    func withAddress(_ name: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let room = MemoryLayout.size(ofValue: address.sun_path)
        var full = self.path + "/" + name
        #if os(Linux)
        if full.utf8.count >= room { full = "/proc/self/fd/\(self.descriptor)/" + name }
        #endif
        let bytes = Array(full.utf8)
        guard bytes.count < room else {
            errno = ENAMETOOLONG
            return -1
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, size) }
        }
    }

    /// Gives a socket a name here, and the folder's group, so that who shares the folder may connect to it; -1 with `errno`.
    func bind(_ descriptor: Int32, to name: String) -> Int32 {
        let result = self.withAddress(name) { systemBind(descriptor, $0, $1) }
        if result == 0 { SharedFiles.follow(self.path, self.path + "/" + name) }
        return result
    }

    func rename(_ old: String, to new: String) -> Int32 {
        renameat(self.descriptor, old, self.descriptor, new)
    }

    func remove(_ name: String) {
        unlinkat(self.descriptor, name, 0)
    }

    func contains(_ name: String) -> Bool {
        faccessat(self.descriptor, name, F_OK, 0) == 0
    }

    /// Some of the names in the folder, in the order in which it gives them.
    func names(atMost limit: Int) -> [String] {
        let copy = openat(self.descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0, let folder = fdopendir(copy) else { return [] }
        defer { closedir(folder) }
        var names: [String] = []
        while names.count < limit, let entry = readdir(folder) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }
}

// A method has the same name.
private func systemBind(_ descriptor: Int32, _ address: UnsafePointer<sockaddr>, _ size: socklen_t) -> Int32 {
    bind(descriptor, address, size)
}

enum UnixSocket {
    /// A socket that is closed on exec and never blocks; -1 with `errno`.
    static func make(_ kind: Kind) -> Int32 {
        #if os(Linux)
        let type = Int32(kind == .stream ? SOCK_STREAM.rawValue : SOCK_DGRAM.rawValue)
        return socket(AF_UNIX, type | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        #else
        let descriptor = socket(AF_UNIX, kind == .stream ? SOCK_STREAM : SOCK_DGRAM, 0)
        if descriptor >= 0 {
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
        }
        return descriptor
        #endif
    }

    enum Kind {
        case stream
        case datagram
    }
}
#endif
