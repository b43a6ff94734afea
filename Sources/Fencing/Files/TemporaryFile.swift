#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// A new file beside another, which takes its place when it is complete.
final class TemporaryFile {
    private let path: String
    private var isInPlace = false
    private(set) var descriptor: Int32

    /// Makes the file. Only its owner may read it until its mode is set.
    ///
    /// - Parameter mode: The mode it gets; `nil` for what the umask allows.
    init(beside target: String, mode: mode_t?) throws(FencedFileError) {
        let slash = target.lastIndex(of: "/").map { target.index(after: $0) } ?? target.startIndex
        let random = String(UInt64.random(in: 0...UInt64.max), radix: 36)
        self.path = "\(target[..<slash]).dlock-\(getpid())-\(random)"
        self.descriptor = open(self.path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard self.descriptor >= 0 else { throw FencedFileError(path: target, code: errno) }
        let code = fchmod(self.descriptor, mode ?? 0o666 & ~Self.umask)
        guard code == 0 else {
            let code = errno
            self.discard()
            throw FencedFileError(path: target, code: code)
        }
    }

    deinit {
        if self.descriptor >= 0 { close(self.descriptor) }
    }

    /// The process's umask. It can only be read by setting it; the kernel shows it as well.
    private static let umask: mode_t = {
        #if os(Linux)
        var bytes = [UInt8](repeating: 0, count: 4_096)
        let descriptor = open("/proc/self/status", O_RDONLY | O_CLOEXEC)
        if descriptor >= 0 {
            defer { close(descriptor) }
            let count = max(0, read(descriptor, &bytes, bytes.count))
            for line in String(decoding: bytes.prefix(count), as: UTF8.self).split(separator: "\n")
            where line.hasPrefix("Umask:") {
                if let value = mode_t(line.dropFirst(6).drop { $0 == "\t" || $0 == " " }, radix: 8) { return value }
            }
        }
        return 0o022
        #else
        let value = systemUmask(0o077)
        _ = systemUmask(value)
        return value
        #endif
    }()

    func write(_ text: String) throws(FencedFileError) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { systemWrite(self.descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw FencedFileError(path: self.path, code: errno) }
            rest = rest.dropFirst(count)
        }
    }

    /// Waits until the contents are on the disk.
    func sync() throws(FencedFileError) {
        guard fsync(self.descriptor) == 0 else { throw FencedFileError(path: self.path, code: errno) }
    }

    /// Takes the place of a file in the same folder, durably.
    func rename(to target: String) throws(FencedFileError) {
        guard systemRename(self.path, target) == 0 else { throw FencedFileError(path: target, code: errno) }
        self.isInPlace = true
        let slash = target.lastIndex(of: "/")
        let folder = slash.map { $0 == target.startIndex ? "/" : String(target[..<$0]) } ?? "."
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FencedFileError(path: folder, code: errno) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw FencedFileError(path: folder, code: errno) }
    }

    /// Hands the open descriptor to the caller.
    func takeDescriptor() -> Int32 {
        defer { self.descriptor = -1 }
        return self.descriptor
    }

    /// Removes the file, unless it is in its place.
    func discard() {
        if !self.isInPlace { unlink(self.path) }
    }
}

// Methods of the class have the same names.
private func systemRename(_ source: String, _ target: String) -> Int32 { rename(source, target) }
private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
    write(descriptor, bytes, count)
}
#if !os(Linux)
private func systemUmask(_ mask: mode_t) -> mode_t { umask(mask) }
#endif
