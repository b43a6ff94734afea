#if Embedded
/// A process that uses a disk.
protocol DiskUser: AnyObject {
    /// Asked before each call of SQLite's. False: the process is dead. Whatever it does is seen by nobody any more.
    func mayGoOn(_ call: String) -> Bool
    /// Lets this much time pass.
    func wait(nanoseconds: Int64)
    /// As long as the disk takes to sync.
    func waitForDisk()
    /// Microseconds since 1970.
    var wallClock: Int64 { get }
    func nextNumber() -> UInt64
}

/// A file that a process has open.
final class OpenFile {
    let disk: VirtualDisk
    let user: any DiskUser
    let node: VirtualDisk.Node
    let file: DiskFile
    let path: String?
    /// What was done with names before is durable when it is first synced, as SQLite does for logs and journals on Linux.
    var syncsNames: Bool
    var keepsLog = false
    var level = FileLocks.Level.none
    var index: FileLocks.Index?

    init(disk: VirtualDisk, user: any DiskUser, node: VirtualDisk.Node, file: DiskFile, path: String?, syncsNames: Bool)
    {
        self.disk = disk
        self.user = user
        self.node = node
        self.file = file
        self.path = path
        self.syncsNames = syncsNames
    }

    var locks: FileLocks { self.node.locks }
    var indexPath: String { (self.path ?? "") + "-shm" }
}
#endif
