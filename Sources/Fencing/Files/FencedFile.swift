import DistributedLocks
import LockKernel

/// A file that is replaced only by holders whose fencing token is not below the highest it has seen.
///
/// What the file has seen stands in a small file beside it: for `report.csv` it is `.report.csv.fence`, with the token and
/// its domain as text. Keep the two together; whoever removes the fence lets stale holders in.
///
/// Readers see the old contents or the new ones, never a part. Writers of one fence take turns (`flock` on the fence), for
/// the time that two renames take, so this works for the processes of one host; file systems that several hosts share have
/// to support `flock` between them. A process that is stopped right between the renames blocks the others until it goes on.
///
/// All calls block the thread for the time that the disk takes.
public struct FencedFile: Sendable {
    private let file: PathBytes
    private let fence: PathBytes
    private let name: LockName

    /// The file, with symbolic links resolved: a link stays, and what it points to is replaced.
    public var path: String { self.file.shown }
    /// Where the file's highest token is kept.
    public var fencePath: String { self.fence.shown }

    /// Names a file. Nothing is opened yet.
    ///
    /// - Parameters:
    ///   - path: The file; it need not exist yet, its folder must.
    ///   - fencePath: Where its highest token is kept, if not beside it. Files that are written under one lock may share
    ///     one fence.
    /// - Throws: ``FencedFileError`` if the path cannot be that of a file.
    public init(path: String, fencePath: String? = nil) throws(FencedFileError) {
        try self.init(path: PathBytes(path), fencePath: fencePath.map { PathBytes($0) })
    }

    /// Names a file whose path need not be text.
    package init(path: PathBytes, fencePath: PathBytes?) throws(FencedFileError) {
        let file = try Self.resolved(path)
        self.file = file
        self.fence =
            fencePath ?? file.folder.appending(PathBytes(Array(".".utf8) + file.name.bytes + Array(".fence".utf8)))
        guard !self.fence.isEmpty else {
            throw FencedFileError(path: file.shown, message: "the path of its fence is empty")
        }
        guard !Self.isSame(self.fence, file) else {
            throw FencedFileError(path: file.shown, message: "it cannot be its own fence: name another file for that")
        }
        do {
            self.name = try LockName(String(file.shown.suffix(LockName.maximumLengthInBytes / 4)))
        } catch {
            throw FencedFileError(path: path.shown, message: "a path must not be empty or have control characters")
        }
    }

    private static func isSame(_ fence: PathBytes, _ file: PathBytes) -> Bool {
        if let fence = fence.status, let file = file.status {
            return fence.st_dev == file.st_dev && fence.st_ino == file.st_ino
        }
        return fence.folder.real?.appending(fence.name) == file
    }

    /// Replaces the file, if the token is not below the highest that it has seen.
    ///
    /// The new contents are written beside the file and synced to the disk. Then, with the fence locked, the token is
    /// compared and remembered, and the file is renamed into place. A crash in between may leave the token remembered and
    /// the file as it was, never the other way round; the same holder may then try again. The file keeps its mode, and its
    /// owner if the process may set it; a new one has what the umask allows. Access lists and extended attributes are not
    /// kept.
    ///
    /// - Parameters:
    ///   - stamp: The token and its domain: `held.stamp`.
    ///   - adopting: Whether a token of another domain replaces the one that is remembered: see `FenceRule.adopt`.
    ///   - write: Writes the new contents to a descriptor, which it does not close.
    /// - Throws: `FenceRefusal` if the token was refused, ``FencedFileError``, `LockError` `invalidConfiguration` for a
    ///   domain that a fence cannot remember, and what the closure throws: the file is as it was, unless
    ///   ``FencedFileError/isReplaced`` says otherwise.
    @discardableResult
    public func replace(
        _ stamp: FencingStamp,
        adopting: Bool = false,
        write: (_ descriptor: Int32) throws -> Void
    ) throws -> FenceDecision {
        try stamp.check()
        let contents = try TemporaryFile(beside: self.file, mode: try self.currentMode())
        do {
            try write(contents.descriptor)
            try self.keepOwner(contents)
            try contents.sync()
            while true {
                let fence = try LockedFence.existing(path: self.fence)
                var rule = FenceRule(highest: fence?.highest)
                let decision = adopting ? rule.adopt(stamp) : rule.presented(stamp)
                try decision.accepted(stamp, by: self.name)
                // The token first: a crash in between must not leave contents that nobody's token guards.
                var newFence: LockedFence?
                if fence == nil {
                    newFence = try LockedFence.made(path: self.fence, with: stamp)
                    // Somebody else has made it meanwhile: what it says now decides.
                    if newFence == nil { continue }
                } else if rule.highest != fence?.highest {
                    newFence = try fence?.replace(with: stamp)
                }
                try contents.takePlace()
                // Both fences are locked until the file is in its place.
                withExtendedLifetime((fence, newFence)) {}
                return decision
            }
        } catch {
            contents.discard()
            throw error
        }
    }

    /// The highest token that the file has seen; `nil` if none. To be shown, never to decide by.
    ///
    /// - Throws: ``FencedFileError`` if the fence cannot be read, or holds something else.
    public func highest() throws(FencedFileError) -> FencingStamp? {
        try LockedFence.shown(path: self.fence)
    }

    /// The file's mode; `nil` if there is no file.
    private func currentMode() throws(FencedFileError) -> mode_t? {
        guard let status = self.file.status else {
            guard errno == ENOENT else { throw FencedFileError(path: self.path, code: errno) }
            return nil
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw FencedFileError(path: self.path, message: "it is not a regular file")
        }
        return status.st_mode & 0o7777
    }

    private func keepOwner(_ contents: TemporaryFile) throws(FencedFileError) {
        var new = stat()
        guard let old = self.file.status, fstat(contents.descriptor, &new) == 0 else { return }
        guard old.st_uid != new.st_uid || old.st_gid != new.st_gid else { return }
        // Somebody who may not give files away still may replace this one; then it is theirs, and nobody gets their rights
        // by running it.
        var mode = old.st_mode & 0o7777
        if fchown(contents.descriptor, old.st_uid, old.st_gid) != 0 {
            mode &= 0o1777
            _ = fchown(contents.descriptor, uid_t.max, old.st_gid)
        }
        // A change of owner takes the set-user-ID bits away.
        guard fchmod(contents.descriptor, mode) == 0 else { throw FencedFileError(path: self.path, code: errno) }
    }

    /// The path with symbolic links resolved, also if the last part does not exist yet.
    private static func resolved(_ path: PathBytes) throws(FencedFileError) -> PathBytes {
        guard !path.isEmpty, !path.endsWithSlash, !path.hasControlCharacters else {
            throw FencedFileError(
                path: path.shown, message: "a path must not be empty, end with / or have control characters")
        }
        if let resolved = path.real { return resolved }
        guard errno == ENOENT else { throw FencedFileError(path: path.shown, code: errno) }
        guard path.ownStatus == nil else {
            throw FencedFileError(path: path.shown, message: "it is a symbolic link to nothing")
        }
        guard let folder = path.folder.real else { throw FencedFileError(path: path.folder.shown, code: errno) }
        return folder.appending(path.name)
    }
}

/// A file or its fence cannot be read or written.
public struct FencedFileError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The file.
    public let path: String
    /// What is wrong with it.
    public let message: String
    /// Whether the new contents are in their place all the same. Then it is only not known whether they would survive a
    /// loss of power.
    public let isReplaced: Bool

    init(path: String, message: String, isReplaced: Bool = false) {
        self.path = path
        self.message = message
        self.isReplaced = isReplaced
    }

    init(path: String, code: Int32) {
        self.init(path: path, message: String(cString: strerror(code)))
    }

    /// The file and what is wrong with it.
    public var description: String { "'\(self.path)': \(self.message)" }
}
