import Dispatch
import LockKernel
import Testing

/// An owned descriptor that no concurrently started process inherits.
final class Descriptor: Sendable {
    let number: Int32

    init(_ number: Int32) {
        #expect(number >= 0, "errno \(errno)")
        self.number = number
    }

    deinit { _ = close(number) }

    /// By way of a FIFO, because `pipe` has no moment at which no other thread can start a process that inherits it.
    static func pipe() -> (read: Descriptor, write: Descriptor) {
        let directory = TemporaryDirectory()
        let (path, read) = directory.fifo("pipe")
        let write = Descriptor(open(path, O_WRONLY | O_CLOEXEC))
        _ = fcntl(read.number, F_SETFL, 0)
        withExtendedLifetime(directory) {}
        return (read, write)
    }

    /// Waits, on a thread that may block, until the events come; false if they do not in time.
    func wait(for events: Int32, atMost limit: Duration = .seconds(30)) async -> Bool {
        await blocking { self.waitBlocking(for: events, atMost: limit) }
    }

    func waitBlocking(for events: Int32, atMost limit: Duration) -> Bool {
        let deadline = ContinuousClock.now + limit
        while true {
            var entry = pollfd(fd: number, events: Int16(events), revents: 0)
            let left = max(.zero, deadline - ContinuousClock.now)
            let count = poll(&entry, 1, Int32(left / .milliseconds(1)))
            if count > 0, Int32(entry.revents) & events != 0 { return true }
            if count == 0 || left == .zero { return false }
        }
    }

    var isHungUp: Bool {
        waitBlocking(for: Int32(POLLHUP), atMost: .zero)
    }

    /// The instant at which the last writer was gone, taken by a thread that does nothing else.
    func hangUp() async -> ContinuousClock.Instant {
        await blocking {
            _ = self.waitBlocking(for: Int32(POLLHUP), atMost: .seconds(30))
            return ContinuousClock.now
        }
    }

    /// Whether nobody has this FIFO open for writing, nor ever had. Such a one never hangs up.
    var hasNoWriter: Bool {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(number, &buffer, buffer.count)
            if count <= 0 { return count == 0 }
        }
    }

    /// Everything until the last writer is gone.
    func readToEnd() async -> String {
        await blocking {
            var bytes: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 4096)
            while true {
                let count = read(self.number, &buffer, buffer.count)
                if count < 0, errno == EINTR { continue }
                if count < 0, errno == EAGAIN {
                    _ = self.waitBlocking(for: Int32(POLLIN), atMost: .seconds(30))
                    continue
                }
                if count <= 0 { break }
                bytes += buffer[..<count]
            }
            return String(decoding: bytes, as: UTF8.self)
        }
    }

    /// The next line without its end; what there is if the last writer goes, or nothing comes for 30 s.
    func readLine() async -> String {
        await blocking {
            var bytes: [UInt8] = []
            var byte: UInt8 = 0
            while self.waitBlocking(for: Int32(POLLIN) | Int32(POLLHUP), atMost: .seconds(30)) {
                guard read(self.number, &byte, 1) == 1, byte != UInt8(ascii: "\n") else { break }
                bytes.append(byte)
            }
            return String(decoding: bytes, as: UTF8.self)
        }
    }
}

/// Runs what blocks away from the cooperative pool, which has a thread per processor only, and from Dispatch's global
/// queues, which are as slow to start another thread. A queue of one's own gets a thread at once.
func blocking<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
        DispatchQueue(label: "blocking").async { continuation.resume(returning: body()) }
    }
}

/// A directory that goes with its last user.
final class TemporaryDirectory: Sendable {
    let path: String

    init() {
        var template = Array("/tmp/supervision-XXXXXX".utf8CString)
        #expect(mkdtemp(&template) != nil)
        path = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    }

    deinit {
        guard let directory = opendir(path) else { return }
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            _ = unlink("\(path)/\(name)")
        }
        closedir(directory)
        _ = rmdir(path)
    }

    func file(_ name: String, _ contents: String = "", mode: mode_t = 0o644) -> String {
        let path = "\(self.path)/\(name)"
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
        _ = contents.withCString { write(descriptor, $0, strlen($0)) }
        _ = close(descriptor)
        return path
    }

    /// A FIFO, open for reading. A command that opens it for writing shows by its end when it is gone.
    func fifo(_ name: String) -> (path: String, read: Descriptor) {
        let path = "\(self.path)/\(name)"
        #expect(mkfifo(path, 0o600) == 0)
        return (path, Descriptor(open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)))
    }
}

/// A listening socket that stands for a backend's liveness descriptor, and a connection that nobody ever accepts: it is
/// reset at the moment when the last copy of the listening socket is closed.
struct Liveness {
    /// Set to `nil` to be without it: then only those that it was passed to hold it.
    var listener: Descriptor?
    let witness: Descriptor

    init(in directory: TemporaryDirectory) {
        let listener = Descriptor(socket(AF_UNIX, Self.stream, 0))
        let witness = Descriptor(socket(AF_UNIX, Self.stream, 0))
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: "\(directory.path)/liveness".utf8) }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                #expect(bind(listener.number, address, size) == 0)
                #expect(listen(listener.number, 8) == 0)
                #expect(connect(witness.number, address, size) == 0)
            }
        }
        self.listener = listener
        self.witness = witness
    }

    #if canImport(Glibc)
    private static let stream = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
    #else
    private static let stream = SOCK_STREAM
    #endif
}
