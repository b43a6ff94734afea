import LockKernel

/// A connection that blocks, for one frame after another as they stand on the wire. What they say is none of its business.
package final class PlainZooKeeperConnection {
    private let descriptor: Int32

    package init(port: Int) throws {
        self.descriptor = try LoopbackSocket.connected(toPort: port, patienceInSeconds: 20)
    }

    package func send(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { sendBytes(self.descriptor, $0) }
            guard count > 0 else { throw TestKitError("the server takes no bytes") }
            rest = rest.dropFirst(count)
        }
    }

    /// What follows the length of the next frame; `nil`: the server has closed.
    package func frame() throws -> [UInt8]? {
        guard let length = try self.read(4) else { return nil }
        return try self.read(length.reduce(0) { $0 << 8 | Int($1) })
    }

    private func read(_ count: Int) throws -> [UInt8]? {
        var bytes: [UInt8] = []
        while bytes.count < count {
            var buffer = [UInt8](repeating: 0, count: count - bytes.count)
            let read = recv(self.descriptor, &buffer, buffer.count, 0)
            if read == 0 { return nil }
            if read < 0, errno == ECONNRESET { return nil }
            guard read > 0 else { throw TestKitError("the server does not answer") }
            bytes += buffer.prefix(read)
        }
        return bytes
    }

    package func close() { _ = shutdown(self.descriptor, 2); closeDescriptor(self.descriptor) }
}

private func sendBytes(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
    send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
}

private func closeDescriptor(_ descriptor: Int32) { _ = close(descriptor) }
