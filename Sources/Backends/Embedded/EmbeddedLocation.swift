#if Embedded
public import DistributedLocks

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Where a file of locks is.
///
/// The default file guards one user on one host. A path that several users or containers share is one argument away: put
/// it in a folder that all of them may write, on a local disk.
public struct EmbeddedLocation: Sendable, Hashable {
    /// The absolute path, with the links in its folder resolved.
    public let path: String
    private let makesFolder: Bool

    /// The file of this user on this host: `$XDG_STATE_HOME/dlock/locks.db`, or `~/.local/state/dlock/locks.db`.
    ///
    /// - Throws: `LockError` `invalidConfiguration` if the environment has neither XDG_STATE_HOME nor HOME.
    public static func userDefault() throws(LockError) -> EmbeddedLocation {
        if let state = getenv("XDG_STATE_HOME").map({ String(cString: $0) }), state.hasPrefix("/") {
            return EmbeddedLocation(path: state + "/dlock/locks.db", makesFolder: true)
        }
        guard let home = getenv("HOME").map({ String(cString: $0) }), home.hasPrefix("/") else {
            throw LockError(
                .invalidConfiguration,
                "there is no default file of locks without HOME or XDG_STATE_HOME: name one, as in embedded:///path/locks.db"
            )
        }
        return EmbeddedLocation(path: home + "/.local/state/dlock/locks.db", makesFolder: true)
    }

    /// A file at an absolute path. Its folder must exist.
    ///
    /// - Throws: `LockError` `invalidConfiguration` if the path is not absolute, or names a folder.
    public init(path: String) throws(LockError) {
        guard path.hasPrefix("/"), !path.hasSuffix("/"), !path.utf8.contains(0) else {
            throw LockError(.invalidConfiguration, "a file of locks needs an absolute path, not '\(path)'")
        }
        self.init(path: Self.withFolderResolved(path), makesFolder: false)
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
        if let mounts = Self.read("/proc/self/mountinfo"),
            let type = MountTable.type(ofDevice: UInt64(status.st_dev), in: mounts),
            MountTable.mayBeShared(type)
        {
            throw LockError(
                .invalidConfiguration,
                "\(self.path) is on \(type): a file of locks must be on a local disk, because it guards one host only"
            )
        }
        #endif
    }

    private static func read(_ path: String) -> String? {
        guard let file = fopen(path, "re") else { return nil }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = fread(&buffer, 1, buffer.count, file)
            guard count > 0, bytes.count < 4_194_304 else { break }
            bytes.append(contentsOf: buffer.prefix(count))
        }
        return String(decoding: bytes, as: UTF8.self)
    }

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

    /// Two ways to one folder must give one identity.
    private static func withFolderResolved(_ path: String) -> String {
        let (folder, name) = Self.split(path)
        guard let resolved = realpath(folder, nil) else { return path }
        defer { free(resolved) }
        let real = String(cString: resolved)
        return real == "/" ? "/" + name : real + "/" + name
    }

    static func errorText(_ code: Int32 = errno) -> String { String(cString: strerror(code)) }
}

/// Finds out whether a folder is on a file system that several hosts may see, so that locks of one kernel protect nothing.
enum MountTable {
    private static let shared: Set<String> = [
        "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "gfs2", "ocfs2", "lustre", "coda", "virtiofs",
        "beegfs", "gpfs", "fuse",
    ]

    static func mayBeShared(_ type: String) -> Bool {
        if self.shared.contains(type) { return true }
        return type.hasPrefix("fuse.") && type != "fuse.fuse-overlayfs"
    }

    /// The type of the file system of a device, by the text of /proc/self/mountinfo (proc_pid_mountinfo(5)).
    static func type(ofDevice device: UInt64, in mounts: String) -> String? {
        // The encoding of glibc's makedev(3).
        let major = (device >> 8) & 0xFFF | (device >> 32) & ~0xFFF
        let minor = device & 0xFF | (device >> 12) & ~0xFF
        let wanted = "\(major):\(minor)"
        for line in mounts.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count > 6, fields[2] == wanted, let dash = fields.firstIndex(of: "-"),
                dash + 1 < fields.count
            else { continue }
            return String(fields[dash + 1])
        }
        return nil
    }
}
#endif
