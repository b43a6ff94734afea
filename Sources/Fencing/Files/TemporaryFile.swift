package import LockKernel
import Synchronization

/// A new file beside another, which takes its place when it is complete.
///
/// Where the file system can do it (`O_TMPFILE`), it has no name until right before that, so that nothing is left of a
/// process that is killed.
package final class TemporaryFile {
    /// The names that files of this process have.
    private static let named = Mutex<Set<PathBytes>>([])

    private let path: PathBytes
    private let target: PathBytes
    private var hasName = false
    private var isInPlace = false
    package private(set) var descriptor: Int32

    /// Makes the file. Only its owner may read it until its mode is set.
    ///
    /// - Parameter mode: The mode it gets; `nil` for what the umask allows.
    package init(beside target: PathBytes, mode: mode_t?) throws(FencedFileError) {
        self.target = target
        let random = String(UInt64.random(in: 0...UInt64.max), radix: 36)
        self.path = target.folder.appending(PathBytes(".dlock-\(getpid())-\(random)"))
        self.descriptor = Self.openWithoutName(in: target.folder)
        if self.descriptor < 0 {
            let path = self.path
            Self.named.withLock { _ = $0.insert(path) }
            self.hasName = true
            self.descriptor = path.withCString { open($0, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600) }
        }
        guard self.descriptor >= 0 else {
            let code = errno
            self.discard()
            throw FencedFileError(path: target.shown, code: code)
        }
        guard fchmod(self.descriptor, mode ?? 0o666 & ~Self.umask) == 0 else {
            let code = errno
            self.discard()
            throw FencedFileError(path: target.shown, code: code)
        }
    }

    deinit {
        if self.descriptor >= 0 { close(self.descriptor) }
    }

    /// Removes what this process has not finished, before it dies of a signal. Writers find their files gone.
    package static func discardAll() {
        for path in Self.named.withLock({ $0 }) { _ = path.withCString { unlink($0) } }
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

    package func write(_ text: String) throws(FencedFileError) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { systemWrite(self.descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw FencedFileError(path: self.target.shown, code: errno) }
            rest = rest.dropFirst(count)
        }
    }

    /// Waits until the contents are on the disk.
    package func sync() throws(FencedFileError) {
        guard fsync(self.descriptor) == 0 else { throw FencedFileError(path: self.target.shown, code: errno) }
    }

    /// Takes the place of the file that it was made beside, durably.
    package func takePlace() throws(FencedFileError) {
        guard self.giveName(),
            self.path.withCString({ old in self.target.withCString { systemRename(old, $0) } }) == 0
        else { throw FencedFileError(path: self.target.shown, code: errno) }
        self.isInPlace = true
        self.forgetName()
        try self.syncFolder()
    }

    /// Takes the place, durably, if there is no file yet; false if there is one.
    func takeFreePlace() throws(FencedFileError) -> Bool {
        guard self.giveName(), self.path.withCString({ old in self.target.withCString { link(old, $0) } }) == 0 else {
            if errno == EEXIST { return false }
            throw FencedFileError(path: self.target.shown, code: errno)
        }
        self.discard()
        self.isInPlace = true
        try self.syncFolder()
        return true
    }

    private func syncFolder() throws(FencedFileError) {
        let descriptor = self.target.folder.withCString { open($0, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        defer { if descriptor >= 0 { close(descriptor) } }
        guard descriptor >= 0, fsync(descriptor) == 0 else {
            throw FencedFileError(
                path: self.target.shown,
                message: "it was replaced, but its folder could not be synced: \(String(cString: strerror(errno)))",
                isReplaced: true
            )
        }
    }

    /// Hands the open descriptor to the caller.
    func takeDescriptor() -> Int32 {
        defer { self.descriptor = -1 }
        return self.descriptor
    }

    /// Removes the file, unless it is in its place.
    package func discard() {
        guard self.hasName, !self.isInPlace else { return }
        _ = self.path.withCString { unlink($0) }
        self.forgetName()
    }

    private func forgetName() {
        Self.named.withLock { _ = $0.remove(self.path) }
        self.hasName = false
    }

    // A name can be given to a file that has none, but not another file's: for that it needs one of its own first.
    private func giveName() -> Bool {
        guard !self.hasName else { return true }
        #if os(Linux)
        Self.named.withLock { _ = $0.insert(self.path) }
        self.hasName = true
        return self.path.withCString {
            linkat(AT_FDCWD, "/proc/self/fd/\(self.descriptor)", AT_FDCWD, $0, AT_SYMLINK_FOLLOW)
        } == 0
        #else
        preconditionFailure("a file has a name from the start where it cannot be given one")
        #endif
    }

    private static func openWithoutName(in folder: PathBytes) -> Int32 {
        #if os(Linux)
        // O_TMPFILE, which Swift does not see: a bit of its own and O_DIRECTORY, so that old kernels refuse it.
        let descriptor = folder.withCString { open($0, O_RDWR | O_CLOEXEC | O_DIRECTORY | 0o20_000_000, 0o600) }
        // It is named by way of /proc, which need not be there.
        if descriptor >= 0, access("/proc/self/fd/\(descriptor)", F_OK) != 0 {
            close(descriptor)
            return -1
        }
        return descriptor
        #else
        return -1
        #endif
    }
}

// Methods of the class have the same names.
private func systemRename(_ source: UnsafePointer<CChar>, _ target: UnsafePointer<CChar>) -> Int32 {
    rename(source, target)
}
private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
    write(descriptor, bytes, count)
}
#if !os(Linux)
private func systemUmask(_ mask: mode_t) -> mode_t { umask(mask) }
#endif
