import LockKernel

/// A port on loopback where connections are accepted, by the kernel, and nobody ever says anything.
package final class SilentServer: Sendable {
    package let port: Int
    private let descriptor: Int32

    package init() throws {
        self.descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard self.descriptor >= 0 else { throw TestKitError("no socket") }
        self.port = try FreePort.next()
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        address.sin_port = in_port_t(self.port).bigEndian
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(self.descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard bound == 0, listen(self.descriptor, 64) == 0 else { throw TestKitError("port \(self.port) is taken") }
    }

    deinit { close(self.descriptor) }
}
