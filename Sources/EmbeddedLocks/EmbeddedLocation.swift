#if Embedded
import CEmbedded
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
        if let state = try Self.variable("XDG_STATE_HOME"), state.hasPrefix("/") {
            return EmbeddedLocation(path: try Self.resolved(state + "/dlock/locks.db"), makesFolder: true)
        }
        guard let home = try Self.variable("HOME"), home.hasPrefix("/") else {
            throw LockError(
                .invalidConfiguration,
                "there is no default file of locks without HOME or XDG_STATE_HOME: name one, as in embedded:///path/locks.db"
            )
        }
        return EmbeddedLocation(path: try Self.resolved(home + "/.local/state/dlock/locks.db"), makesFolder: true)
    }

    /// A path that was changed to make text of it would be another file.
    private static func variable(_ name: String) throws(LockError) -> String? {
        guard let value = getenv(name) else { return nil }
        return try Self.text(value, "\(name) is not UTF-8 text: name a file of locks, as in embedded:///path/locks.db")
    }

    private static func text(_ bytes: UnsafePointer<CChar>, _ message: String) throws(LockError) -> String {
        guard let text = String(validatingCString: bytes) else { throw LockError(.invalidConfiguration, message) }
        return text
    }

    /// A file at an absolute path. Its folder must exist.
    ///
    /// - Throws: `LockError` `invalidConfiguration` if the path is not absolute, or names a folder.
    public init(path: String) throws(LockError) {
        guard path.hasPrefix("/"), !path.hasSuffix("/"), !path.utf8.contains(0) else {
            throw LockError(.invalidConfiguration, "a file of locks needs an absolute path, not '\(path)'")
        }
        self.init(path: try Self.resolved(path), makesFolder: false)
    }

    private init(path: String, makesFolder: Bool) {
        self.path = path
        self.makesFolder = makesFolder
    }

    /// The folder of the sockets by which the clients of this file wake each other and are seen to be alive.
    var socketFolder: String { self.path + "-live" }

    var folder: String { Self.split(self.path).folder }

    /// Makes what may be made, and refuses file systems on which processes of several hosts may meet.
    func prepareFolder() throws(LockError) {
        if self.makesFolder { try Self.makeFolders(self.folder) }
        var status = stat()
        guard stat(self.folder, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
            throw LockError(
                .unreachable,
                "\(self.path) cannot be opened: its folder does not exist or may not be used (\(Self.errorText()))"
            )
        }
        #if os(Linux)
        let mounts = try Self.mounts(for: self.path)
        if let type = mounts.type(ofMount: cemb_mount_id(self.folder), device: UInt64(status.st_dev)),
            MountTable.mayBeShared(type)
        {
            throw LockError(
                .invalidConfiguration,
                "\(self.path) is on \(type): a file of locks must be on a local disk, because it guards one host only"
            )
        }
        try self.checkFile()
        #endif
    }

    /// Refuses a file that is reached by several names: SQLite keeps its log beside the name that it was opened by, so that
    /// each name would have a log, and locks, of its own.
    func checkFile() throws(LockError) {
        #if os(Linux)
        var status = stat()
        guard lstat(self.path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT != S_IFDIR else {
            throw LockError(.invalidConfiguration, "\(self.path) is a folder: name a file in it")
        }
        guard status.st_mode & S_IFMT != S_IFLNK else {
            throw LockError(
                .invalidConfiguration,
                "\(self.path) has become a symbolic link since this backend was made: make it anew, or name the file itself"
            )
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw LockError(.invalidConfiguration, "\(self.path) is not a regular file")
        }
        guard status.st_nlink < 2 else {
            throw LockError(
                .invalidConfiguration,
                "\(self.path) has \(status.st_nlink) names (hard links), each of which would have locks of its own: leave it one"
            )
        }
        let (file, folder) = (cemb_mount_id(self.path), cemb_mount_id(self.folder))
        let isMounted =
            try file < 0 || folder < 0 ? Self.mounts(for: self.path).isMountPoint(self.path) : file != folder
        guard !isMounted else {
            throw LockError(
                .invalidConfiguration,
                "\(self.path) is mounted by itself, and would have locks of its own in each place where it is: mount its folder"
            )
        }
        #endif
    }

    #if os(Linux)
    private static func mounts(for path: String) throws(LockError) -> MountTable {
        guard let text = SystemFile.readBytes("/proc/self/mountinfo", atMostBytes: 67_108_864), !text.isEmpty else {
            throw LockError(
                .invalidConfiguration,
                "/proc/self/mountinfo cannot be read, so that it cannot be told whether \(path) is on a local disk: let this process see /proc"
            )
        }
        return MountTable(text: text)
    }
    #endif

    private static func makeFolders(_ folder: String) throws(LockError) {
        guard !folder.isEmpty, access(folder, F_OK) != 0 else { return }
        try Self.makeFolders(Self.split(folder).folder)
        guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
            throw LockError(.unreachable, "the folder \(folder) cannot be made (\(Self.errorText()))")
        }
    }

    private static func split(_ path: String) -> (folder: String, name: String) {
        guard let slash = path.lastIndex(of: "/") else { return ("", path) }
        let folder = path[..<slash]
        return (folder.isEmpty ? "/" : String(folder), String(path[path.index(after: slash)...]))
    }

    /// Two ways to one file must give one identity, one log and one folder of sockets: all links are resolved, also where
    /// the file, or folders on its way, are not there yet.
    private static func resolved(_ path: String) throws(LockError) -> String {
        var path = path
        for _ in 0..<Self.longestChainOfLinks {
            var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
            let count = readlink(path, &buffer, buffer.count - 1)
            guard count > 0 else { break }
            let target = try Self.text(buffer, "\(path) is a link to a name that is not UTF-8 text")
            path = target.hasPrefix("/") ? target : try Self.resolvedFolder(Self.split(path).folder) + "/" + target
        }
        let (folder, name) = Self.split(path)
        let real = try Self.resolvedFolder(folder)
        return real == "/" ? "/" + name : real + "/" + name
    }

    private static let longestChainOfLinks = 40

    private static func resolvedFolder(_ folder: String) throws(LockError) -> String {
        if let resolved = realpath(folder, nil) {
            defer { free(resolved) }
            return try Self.text(resolved, "\(folder) is a link to a name that is not UTF-8 text")
        }
        guard folder != "/", !folder.isEmpty else { return folder }
        let (parent, name) = Self.split(folder)
        let real = try Self.resolvedFolder(parent)
        return real == "/" ? "/" + name : real + "/" + name
    }

    static func errorText(_ code: Int32 = errno) -> String { String(cString: strerror(code)) }
}
#endif
