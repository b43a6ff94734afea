import DistributedLocks
import LockKernel

/// A fence file that this process has locked: nobody else compares tokens meanwhile.
///
/// It is one line: the token in decimal digits, a space, and its domain. There is no file until a token was accepted, and
/// it is never empty: an empty one has forgotten what it saw.
final class LockedFence {
    static let maximumLengthInBytes = 4_096

    private let path: PathBytes
    private let descriptor: Int32
    let highest: FencingStamp

    /// Locks the fence; `nil` if there is none. Waits for whoever has it locked.
    static func existing(path: PathBytes) throws(FencedFileError) -> LockedFence? {
        while true {
            // For writing, too: on NFS only such a file can be locked exclusively.
            let descriptor = path.withCString { open($0, O_RDWR | O_CLOEXEC | O_NOFOLLOW) }
            guard descriptor >= 0 else {
                if errno == ENOENT { return nil }
                throw FencedFileError(path: path.shown, code: errno)
            }
            while flock(descriptor, LOCK_EX) != 0 {
                guard errno == EINTR else {
                    let code = errno
                    close(descriptor)
                    throw FencedFileError(path: path.shown, code: code)
                }
            }
            // Whoever had it locked before may have put another file in its place: then that one is the fence.
            var locked = stat()
            guard fstat(descriptor, &locked) == 0, let named = path.ownStatus, locked.st_ino == named.st_ino,
                locked.st_dev == named.st_dev
            else {
                close(descriptor)
                continue
            }
            do throws(FencedFileError) {
                return LockedFence(path: path, locked: descriptor, highest: try Self.read(descriptor, path: path))
            } catch {
                close(descriptor)
                throw error
            }
        }
    }

    /// Makes the fence, durably, with what it has seen, and locked; `nil` if somebody else has made it meanwhile.
    static func made(path: PathBytes, with stamp: FencingStamp) throws(FencedFileError) -> LockedFence? {
        let file = try TemporaryFile(beside: path, mode: nil)
        do throws(FencedFileError) {
            try Self.fill(file, path: path, stamp)
            guard try file.takeFreePlace() else {
                file.discard()
                return nil
            }
        } catch {
            file.discard()
            throw error
        }
        return LockedFence(path: path, locked: file.takeDescriptor(), highest: stamp)
    }

    private init(path: PathBytes, locked descriptor: Int32, highest: FencingStamp) {
        self.path = path
        self.descriptor = descriptor
        self.highest = highest
    }

    deinit { close(self.descriptor) }

    /// Remembers another token, durably. The old file and the new one stay locked as long as their objects live: whoever
    /// waits for the old one finds the new one, and waits for that.
    func replace(with stamp: FencingStamp) throws(FencedFileError) -> LockedFence {
        var status = stat()
        guard fstat(self.descriptor, &status) == 0 else { throw FencedFileError(path: self.path.shown, code: errno) }
        let file = try TemporaryFile(beside: self.path, mode: status.st_mode & 0o7777)
        do throws(FencedFileError) {
            try Self.fill(file, path: self.path, stamp)
            try file.takePlace()
        } catch {
            file.discard()
            throw error
        }
        return LockedFence(path: self.path, locked: file.takeDescriptor(), highest: stamp)
    }

    private static func fill(
        _ file: TemporaryFile,
        path: PathBytes,
        _ stamp: FencingStamp
    ) throws(FencedFileError) {
        guard flock(file.descriptor, LOCK_EX) == 0 else { throw FencedFileError(path: path.shown, code: errno) }
        try file.write(stamp.line + "\n")
        try file.sync()
    }

    /// What the fence holds now; `nil` if there is none. It is replaced as a whole, so nobody has to be kept out for that.
    static func shown(path: PathBytes) throws(FencedFileError) -> FencingStamp? {
        let descriptor = path.withCString { open($0, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) }
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw FencedFileError(path: path.shown, code: errno)
        }
        defer { close(descriptor) }
        return try Self.read(descriptor, path: path)
    }

    private static func read(_ descriptor: Int32, path: PathBytes) throws(FencedFileError) -> FencingStamp {
        var bytes = [UInt8](repeating: 0, count: Self.maximumLengthInBytes + 1)
        let count = pread(descriptor, &bytes, bytes.count, 0)
        guard count >= 0 else { throw FencedFileError(path: path.shown, code: errno) }
        guard count > 0 else {
            throw FencedFileError(
                path: path.shown,
                message:
                    "this fence is empty and has forgotten what it saw: write the highest token and its domain into it, "
                    + "or remove it, which lets stale holders in"
            )
        }
        let damaged = FencedFileError(path: path.shown, message: "it is no fence: a token, a space and a domain")
        guard count <= Self.maximumLengthInBytes, bytes[count - 1] == UInt8(ascii: "\n"),
            let line = String(validating: bytes[..<(count - 1)], as: UTF8.self), let stamp = FencingStamp(line: line)
        else { throw damaged }
        return stamp
    }
}
