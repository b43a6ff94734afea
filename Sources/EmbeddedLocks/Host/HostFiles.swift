#if Embedded
/// The files of a host as one process sees them, those of /proc among them.
///
/// What is in a file of locks is read and written by SQLite, through ``vfs``.
package protocol HostFiles: Sendable {
    /// The name of the VFS by which SQLite opens files (sqlite.org/vfs.html); `nil` for the one that it chooses.
    var vfs: String? { get }

    /// - Parameter followingLink: whether to tell of the file that a symbolic link leads to, and not of the link.
    func status(of path: String, followingLink: Bool) throws(HostFailure) -> FileStatus

    /// The mount that a path is reached through, by its number in /proc/self/mountinfo; `nil` where that cannot be told.
    func mountID(of path: String) -> Int64?

    /// What a symbolic link says, also one of /proc.
    func target(ofLink path: String) throws(HostFailure) -> [UInt8]

    /// The absolute path of something that is there, without any link in it.
    func resolved(_ path: String) throws(HostFailure) -> [UInt8]

    /// What is in a file of /proc; `nil` if it cannot be read, or is longer than allowed.
    func contents(of path: String, atMostBytes limit: Int) -> [UInt8]?

    /// Fails with EEXIST if something is there.
    func makeFolder(_ path: String, permissions: UInt32) throws(HostFailure)

    /// Makes an empty file. Fails with EEXIST if something is there.
    func makeFile(_ path: String, permissions: UInt32) throws(HostFailure)

    /// Gives a file, or a link itself, to a group.
    func setGroup(of path: String, to group: UInt32) throws(HostFailure)

    func setPermissions(of path: String, to permissions: UInt32) throws(HostFailure)

    #if !os(Linux)
    /// What the kernel says of itself; `nil` if it does not (sysctl(3)).
    func systemValue(_ name: String) -> String?
    #endif
}

/// What a host says of a file.
package struct FileStatus: Sendable {
    package enum Kind: Sendable {
        case file
        case folder
        case link
        case other
    }

    /// Tells a file from any other one of the host, as long as it is there.
    package struct Identity: Hashable, Sendable {
        let device: UInt64
        let inode: UInt64

        package init(device: UInt64, inode: UInt64) {
            self.device = device
            self.inode = inode
        }
    }

    package var kind: Kind
    package var identity: Identity
    /// How many names it has.
    package var linkCount: UInt64
    package var sizeInBytes: Int64
    package var group: UInt32
    /// The nine bits for the owner, the group and all others.
    package var permissions: UInt32
    /// Whether it belongs to the user that this process runs as.
    package var isOwn: Bool

    package init(
        kind: Kind, identity: Identity, linkCount: UInt64, sizeInBytes: Int64, group: UInt32, permissions: UInt32,
        isOwn: Bool
    ) {
        self.kind = kind
        self.identity = identity
        self.linkCount = linkCount
        self.sizeInBytes = sizeInBytes
        self.group = group
        self.permissions = permissions
        self.isOwn = isOwn
    }
}

extension HostFiles {
    func exists(_ path: String) -> Bool {
        do {
            _ = try self.status(of: path, followingLink: true)
            return true
        } catch {
            return false
        }
    }

    /// Text of /proc.
    func text(of path: String, atMostBytes limit: Int) -> String? {
        self.contents(of: path, atMostBytes: limit).map { String(decoding: $0, as: UTF8.self) }
    }
}
#endif
