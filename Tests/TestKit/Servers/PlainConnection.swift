import LockKernel

/// A connection that blocks, for servers that answer a word with a text and close.
final class PlainConnection {
    private let descriptor: Int32

    init(port: Int, timeoutSeconds: Int) throws {
        self.descriptor = try LoopbackSocket.connected(toPort: port, patienceInSeconds: timeoutSeconds)
    }

    /// Everything that the server says until it closes.
    func ask(_ word: String) throws -> String {
        let bytes = Array(word.utf8)
        guard send(self.descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
            throw TestKitError("the server takes no bytes")
        }
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(self.descriptor, &buffer, buffer.count, 0)
            if count == 0 { return String(decoding: all, as: UTF8.self) }
            guard count > 0 else { throw TestKitError("the server does not answer") }
            all += buffer.prefix(count)
        }
    }

    func close() { _ = shutdown(self.descriptor, 2); closeDescriptor(self.descriptor) }
}

private func closeDescriptor(_ descriptor: Int32) { _ = close(descriptor) }

/// A blocking socket that is connected to a server on this host.
enum LoopbackSocket {
    /// - Parameter seconds: how long a read may take.
    static func connected(toPort port: Int, patienceInSeconds seconds: Int) throws -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        address.sin_port = in_port_t(port).bigEndian
        var patience = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else {
            let error = TestKitError("port \(port): \(String(cString: strerror(errno)))")
            close(descriptor)
            throw error
        }
        return descriptor
    }
}
