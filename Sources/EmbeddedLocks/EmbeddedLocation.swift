#if Embedded
public import DistributedLocks
import LockKernel

/// Where a file of locks is.
///
/// The default file guards one user on one host. A path that several users or containers share is one argument away: put
/// it in a folder that all of them may write, on a local disk.
public struct EmbeddedLocation: Sendable, Hashable {
    /// The absolute path, with all links in it resolved.
    public let path: String
    private let makesFolder: Bool

    /// The file of this user on this host: `$XDG_STATE_HOME/dlock/locks.db`, or `~/.local/state/dlock/locks.db`.
    ///
    /// - Throws: `LockError` `invalidConfiguration` if the environment has neither XDG_STATE_HOME nor HOME.
    public static func userDefault() throws(LockError) -> EmbeddedLocation {
        let files = SystemFiles()
        if let state = try Self.variable("XDG_STATE_HOME"), state.hasPrefix("/") {
            return EmbeddedLocation(path: try Self.resolved(state + "/dlock/locks.db", files), makesFolder: true)
        }
        guard let home = try Self.variable("HOME"), home.hasPrefix("/") else {
            throw LockError(
                .invalidConfiguration,
                "there is no default file of locks without HOME or XDG_STATE_HOME: name one, as in embedded:///path/locks.db"
            )
        }
        return EmbeddedLocation(
            path: try Self.resolved(home + "/.local/state/dlock/locks.db", files), makesFolder: true)
    }

    /// A path that was changed to make text of it would be another file.
    private static func variable(_ name: String) throws(LockError) -> String? {
        guard let value = getenv(name) else { return nil }
        guard let text = String(validatingCString: value) else {
            throw Self.noText("\(name) is not UTF-8 text: name a file of locks, as in embedded:///path/locks.db")
        }
        return text
    }

    private static func text(_ bytes: [UInt8], _ message: String) throws(LockError) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else { throw Self.noText(message) }
        return text
    }

    private static func noText(_ message: String) -> LockError { LockError(.invalidConfiguration, message) }

    /// A file at an absolute path. Its folder must exist.
    ///
    /// - Throws: `LockError` `invalidConfiguration` if the path is not absolute, or names a folder.
    public init(path: String) throws(LockError) {
        try self.init(path: path, files: SystemFiles())
    }

    /// A file of the host whose files these are.
    package init(path: String, files: any HostFiles) throws(LockError) {
        guard path.hasPrefix("/"), !path.hasSuffix("/"), !path.utf8.contains(0) else {
            throw LockError(.invalidConfiguration, "a file of locks needs an absolute path, not '\(path)'")
        }
        self.init(path: try Self.resolved(path, files), makesFolder: false)
    }

    private init(path: String, makesFolder: Bool) {
        self.path = path
        self.makesFolder = makesFolder
    }

    /// The folder of the sockets by which the clients of this file wake each other and are seen to be alive.
    var socketFolder: String { self.path + "-live" }

    var folder: String { Self.split(self.path).folder }

    /// Makes what may be made, and refuses file systems on which processes of several hosts may meet.
    func prepareFolder(_ files: any HostFiles) throws(LockError) {
        if self.makesFolder { try Self.makeFolders(self.folder, files) }
        let status = try self.folderStatus(files)
        #if os(Linux)
        let mounts = try Self.mounts(for: self.path, files)
        if let type = mounts.type(ofMount: files.mountID(of: self.folder), device: status.identity.device),
            MountTable.mayBeShared(type)
        {
            throw LockError(
                .invalidConfiguration,
                "\(self.path) is on \(type): a file of locks must be on a local disk, because it guards one host only"
            )
        }
        try self.checkFile(files)
        #else
        _ = status
        #endif
    }

    private func folderStatus(_ files: any HostFiles) throws(LockError) -> FileStatus {
        let failure: HostFailure
        do {
            let status = try files.status(of: self.folder, followingLink: true)
            if status.kind == .folder { return status }
            failure = HostFailure(ENOTDIR)
        } catch {
            failure = error
        }
        throw LockError(
            .unreachable,
            "\(self.path) cannot be opened: its folder does not exist or may not be used (\(failure.text))"
        )
    }

    /// Refuses a file that is reached by several names: SQLite keeps its log beside the name that it was opened by, so that
    /// each name would have a log, and locks, of its own.
    func checkFile(_ files: any HostFiles) throws(LockError) {
        #if os(Linux)
        guard let status = try? files.status(of: self.path, followingLink: false) else { return }
        switch status.kind {
        case .file: break
        case .folder:
            throw LockError(.invalidConfiguration, "\(self.path) is a folder: name a file in it")
        case .link:
            throw LockError(
                .invalidConfiguration,
                "\(self.path) has become a symbolic link since this backend was made: make it anew, or name the file itself"
            )
        case .other:
            throw LockError(.invalidConfiguration, "\(self.path) is not a regular file")
        }
        guard status.linkCount < 2 else {
            throw LockError(
                .invalidConfiguration,
                "\(self.path) has \(status.linkCount) names (hard links), each of which would have locks of its own: leave it one"
            )
        }
        let isMounted: Bool
        if let file = files.mountID(of: self.path), let folder = files.mountID(of: self.folder) {
            isMounted = file != folder
        } else {
            isMounted = try Self.mounts(for: self.path, files).isMountPoint(self.path)
        }
        guard !isMounted else {
            throw LockError(
                .invalidConfiguration,
                "\(self.path) is mounted by itself, and would have locks of its own in each place where it is: mount its folder"
            )
        }
        #endif
    }

    #if os(Linux)
    private static func mounts(for path: String, _ files: any HostFiles) throws(LockError) -> MountTable {
        guard let text = files.contents(of: "/proc/self/mountinfo", atMostBytes: 67_108_864), !text.isEmpty else {
            throw LockError(
                .invalidConfiguration,
                "/proc/self/mountinfo cannot be read, so that it cannot be told whether \(path) is on a local disk: let this process see /proc"
            )
        }
        return MountTable(text: text)
    }
    #endif

    private static func makeFolders(_ folder: String, _ files: any HostFiles) throws(LockError) {
        guard !folder.isEmpty, !files.exists(folder) else { return }
        try Self.makeFolders(Self.split(folder).folder, files)
        do {
            try files.makeFolder(folder, permissions: 0o700)
        } catch  where error.code == EEXIST {
            // Somebody else was faster.
        } catch {
            throw LockError(.unreachable, "the folder \(folder) cannot be made (\(error.text))")
        }
    }

    private static func split(_ path: String) -> (folder: String, name: String) {
        guard let slash = path.lastIndex(of: "/") else { return ("", path) }
        let folder = path[..<slash]
        return (folder.isEmpty ? "/" : String(folder), String(path[path.index(after: slash)...]))
    }

    /// Two ways to one file must give one identity, one log and one folder of sockets: all links are resolved, also where
    /// the file, or folders on its way, are not there yet.
    private static func resolved(_ path: String, _ files: any HostFiles) throws(LockError) -> String {
        var path = path
        for _ in 0..<Self.longestChainOfLinks {
            guard let link = try? files.target(ofLink: path), !link.isEmpty else { break }
            let target = try Self.text(link, "\(path) is a link to a name that is not UTF-8 text")
            path =
                target.hasPrefix("/")
                ? target : try Self.resolvedFolder(Self.split(path).folder, files) + "/" + target
        }
        let (folder, name) = Self.split(path)
        let real = try Self.resolvedFolder(folder, files)
        return real == "/" ? "/" + name : real + "/" + name
    }

    private static let longestChainOfLinks = 40

    private static func resolvedFolder(_ folder: String, _ files: any HostFiles) throws(LockError) -> String {
        if let resolved = try? files.resolved(folder) {
            return try Self.text(resolved, "\(folder) is a link to a name that is not UTF-8 text")
        }
        guard folder != "/", !folder.isEmpty else { return folder }
        let (parent, name) = Self.split(folder)
        let real = try Self.resolvedFolder(parent, files)
        return real == "/" ? "/" + name : real + "/" + name
    }
}
#endif
