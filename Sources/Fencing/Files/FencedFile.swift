import DistributedLocks
public import Fencing

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

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
    /// The file, with symbolic links resolved: a link stays, and what it points to is replaced.
    public let path: String
    /// Where the file's highest token is kept.
    public let fencePath: String
    private let name: LockName

    /// Names a file. Nothing is opened yet.
    ///
    /// - Parameters:
    ///   - path: The file; it need not exist yet, its folder must.
    ///   - fencePath: Where its highest token is kept, if not beside it. Files that are written under one lock may share
    ///     one fence.
    /// - Throws: ``FencedFileError`` if the path cannot be that of a file.
    public init(path: String, fencePath: String? = nil) throws(FencedFileError) {
        let resolved = try Self.resolved(path)
        let file = resolved.lastIndex(of: "/").map { resolved.index(after: $0) } ?? resolved.startIndex
        self.path = resolved
        self.fencePath = fencePath ?? (resolved[..<file] + "." + resolved[file...] + ".fence")
        do {
            self.name = try LockName(String(resolved.suffix(LockName.maximumLengthInBytes / 4)))
        } catch {
            throw FencedFileError(path: path, message: "a path must not be empty or have control characters")
        }
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
        let contents = try TemporaryFile(beside: self.path, mode: try self.currentMode())
        do {
            try write(contents.descriptor)
            try self.keepOwner(contents)
            try contents.sync()
            let fence = try LockedFence(path: self.fencePath)
            var rule = FenceRule(highest: fence.highest)
            let decision = adopting ? rule.adopt(stamp) : rule.presented(stamp)
            try decision.accepted(stamp, by: self.name)
            // The token first: a crash in between must not leave contents that nobody's token guards.
            let newFence = rule.highest == fence.highest ? nil : try fence.replace(with: stamp)
            try contents.takePlace()
            // Both fences are locked until the file is in its place.
            withExtendedLifetime((fence, newFence)) {}
            return decision
        } catch {
            contents.discard()
            throw error
        }
    }

    /// The highest token that the file has seen; `nil` if none. To be shown, never to decide by.
    ///
    /// - Throws: ``FencedFileError`` if the fence cannot be read, or holds something else.
    public func highest() throws(FencedFileError) -> FencingStamp? {
        try LockedFence.shown(path: self.fencePath)
    }

    /// The file's mode; `nil` if there is no file.
    private func currentMode() throws(FencedFileError) -> mode_t? {
        var status = stat()
        guard stat(self.path, &status) == 0 else {
            guard errno == ENOENT else { throw FencedFileError(path: self.path, code: errno) }
            return nil
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw FencedFileError(path: self.path, message: "it is not a regular file")
        }
        return status.st_mode & 0o7777
    }

    private func keepOwner(_ contents: TemporaryFile) throws(FencedFileError) {
        var (old, new) = (stat(), stat())
        guard stat(self.path, &old) == 0, fstat(contents.descriptor, &new) == 0 else { return }
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
    private static func resolved(_ path: String) throws(FencedFileError) -> String {
        guard !path.isEmpty, !path.hasSuffix("/"), path.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
            throw FencedFileError(
                path: path, message: "a path must not be empty, end with / or have control characters")
        }
        if let resolved = realpath(path, nil) {
            defer { free(resolved) }
            return String(cString: resolved)
        }
        guard errno == ENOENT else { throw FencedFileError(path: path, code: errno) }
        var status = stat()
        guard lstat(path, &status) != 0 else {
            throw FencedFileError(path: path, message: "it is a symbolic link to nothing")
        }
        let slash = path.lastIndex(of: "/")
        let folder = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let file = slash.map { path[path.index(after: $0)...] } ?? path[...]
        guard let resolved = realpath(folder, nil) else { throw FencedFileError(path: folder, code: errno) }
        defer { free(resolved) }
        let base = String(cString: resolved)
        return base == "/" ? "/\(file)" : "\(base)/\(file)"
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
