#if Embedded
import CEmbedded
package import LockKernel

/// The unix sockets of the machine.
///
/// A socket's address has room for about a hundred bytes only; longer paths are reached through the folder's descriptor.
package struct SystemSockets: HostSockets {
    package init() {}

    package func openFolder(_ path: String) throws(HostFailure) -> SocketPlace {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .last }
        return SocketPlace(path: path, descriptor: descriptor)
    }

    package func closeFolder(_ place: SocketPlace) { self.close(place.descriptor) }

    /// A socket that is closed on exec and never blocks.
    package func make(_ kind: SocketKind) throws(HostFailure) -> Int32 {
        #if os(Linux)
        let type = Int32(kind == .stream ? SOCK_STREAM.rawValue : SOCK_DGRAM.rawValue)
        let descriptor = socket(AF_UNIX, type | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        #else
        let descriptor = socket(AF_UNIX, kind == .stream ? SOCK_STREAM : SOCK_DGRAM, 0)
        if descriptor >= 0 {
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
        }
        #endif
        guard descriptor >= 0 else { throw .last }
        return descriptor
    }

    package func bind(_ socket: Int32, to name: String, in place: SocketPlace) throws(HostFailure) {
        try self.withAddress(name, place) { systemBind(socket, $0, $1) }
    }

    package func listen(_ socket: Int32, limit: Int32) throws(HostFailure) {
        guard systemListen(socket, limit) == 0 else { throw .last }
    }

    package func accept(_ socket: Int32) throws(HostFailure) -> Int32 {
        let connection = cemb_accept(socket)
        guard connection >= 0 else { throw .last }
        return connection
    }

    package func connect(_ socket: Int32, to name: String, in place: SocketPlace) throws(HostFailure) {
        try self.withAddress(name, place) { systemConnect(socket, $0, $1) }
    }

    package func send(
        _ bytes: [UInt8], from socket: Int32, to name: String, in place: SocketPlace
    ) throws(HostFailure) {
        try self.withAddress(name, place) { address, size in
            let sent = sendto(socket, bytes, bytes.count, Int32(MSG_DONTWAIT), address, size)
            return sent == bytes.count ? 0 : -1
        }
    }

    package func receive(_ socket: Int32, into bytes: inout [UInt8]) throws(HostFailure) -> Int {
        let count = recv(socket, &bytes, bytes.count, Int32(MSG_DONTWAIT))
        guard count >= 0 else { throw .last }
        return count
    }

    package func close(_ socket: Int32) { systemClose(socket) }

    package func rename(_ old: String, to new: String, in place: SocketPlace) throws(HostFailure) {
        guard renameat(place.descriptor, old, place.descriptor, new) == 0 else { throw .last }
    }

    package func remove(_ name: String, in place: SocketPlace) { unlinkat(place.descriptor, name, 0) }

    package func contains(_ name: String, in place: SocketPlace) -> Bool {
        faccessat(place.descriptor, name, F_OK, 0) == 0
    }

    package func names(in place: SocketPlace, atMost limit: Int) -> [String] {
        let copy = openat(place.descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
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

    package func makePoller(_ environment: Environment) throws(HostFailure) -> any SocketPoller {
        try SystemPoller(environment)
    }

    /// Calls a socket function, which gives -1 and `errno` if it fails, with the address of a name.
    private func withAddress(
        _ name: String, _ place: SocketPlace, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) throws(HostFailure) {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let room = MemoryLayout.size(ofValue: address.sun_path)
        var full = place.path + "/" + name
        #if os(Linux)
        if full.utf8.count >= room { full = "/proc/self/fd/\(place.descriptor)/" + name }
        #endif
        let bytes = Array(full.utf8)
        guard bytes.count < room else { throw HostFailure(ENAMETOOLONG) }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, size) }
        }
        guard result == 0 else { throw .last }
    }
}

// Methods have the same names.
private func systemBind(_ socket: Int32, _ address: UnsafePointer<sockaddr>, _ size: socklen_t) -> Int32 {
    bind(socket, address, size)
}

private func systemConnect(_ socket: Int32, _ address: UnsafePointer<sockaddr>, _ size: socklen_t) -> Int32 {
    connect(socket, address, size)
}

private func systemListen(_ socket: Int32, _ limit: Int32) -> Int32 { listen(socket, limit) }

private func systemClose(_ descriptor: Int32) { close(descriptor) }
#endif
