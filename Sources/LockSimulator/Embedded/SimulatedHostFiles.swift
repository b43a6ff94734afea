#if Embedded
import EmbeddedLocks
import LockKernel

/// The files of a simulated machine, as one of its processes sees them. All of them are on one disk, and belong to one user.
/// Used by the steps of one world, of which one runs at a time.
struct SimulatedHostFiles: HostFiles, @unchecked Sendable {
    let process: MachineProcess

    private var disk: VirtualDisk { self.process.machine.disk }

    var vfs: String? { self.process.vfsName }

    private func node(_ path: String) throws(HostFailure) -> VirtualDisk.Node {
        guard !self.process.isDead else { throw HostFailure(EIO) }
        var path = path[...]
        if path.hasSuffix("/..") {
            path = path.dropLast(3)
            path = path[..<(path.lastIndex(of: "/") ?? path.startIndex)]
        }
        guard let node = self.disk.node(String(path)) else { throw HostFailure(ENOENT) }
        return node
    }

    func status(of path: String, followingLink: Bool) throws(HostFailure) -> FileStatus {
        if path.hasPrefix("/proc/") {
            guard Self.links[path] != nil else { preconditionFailure("\(path) is not simulated") }
            return self.status(.other, number: 1, size: 0, group: 0, permissions: 0o777)
        }
        let node = try self.node(path)
        switch node.kind {
        case .file(let file):
            return self.status(
                .file, number: node.number, size: file.bytes.count, group: node.group, permissions: node.permissions)
        case .folder:
            return self.status(
                .folder, number: node.number, size: 0, group: node.group, permissions: node.permissions)
        case .socket:
            return self.status(
                .other, number: node.number, size: 0, group: node.group, permissions: node.permissions)
        }
    }

    private func status(
        _ kind: FileStatus.Kind, number: UInt64, size: Int, group: UInt32, permissions: UInt32
    ) -> FileStatus {
        FileStatus(
            kind: kind, identity: FileStatus.Identity(device: 1, inode: number), linkCount: 1, sizeInBytes: Int64(size),
            group: group, permissions: permissions, isOwn: true)
    }

    func mountID(of path: String) -> Int64? { 1 }

    private static let links = [
        "/proc/self/ns/time": "time:[4026531834]", "/proc/self/ns/time_for_children": "time:[4026531834]",
    ]

    func target(ofLink path: String) throws(HostFailure) -> [UInt8] {
        if path.hasPrefix("/proc/") {
            guard let target = Self.links[path] else { preconditionFailure("\(path) is not simulated") }
            return Array(target.utf8)
        }
        _ = try self.node(path)
        throw HostFailure(EINVAL)
    }

    func resolved(_ path: String) throws(HostFailure) -> [UInt8] {
        _ = try self.node(path)
        return Array(path.utf8)
    }

    func contents(of path: String, atMostBytes limit: Int) -> [UInt8]? {
        guard !self.process.isDead else { return nil }
        switch path {
        case "/proc/self/timens_offsets":
            let offset = self.process.clockOffset
            let seconds = offset >= 0 ? offset / 1_000_000_000 : (offset - 999_999_999) / 1_000_000_000
            return Array("monotonic 0 0\nboottime \(seconds) \(offset - seconds * 1_000_000_000)\n".utf8)
        case "/proc/self/mountinfo": return Array("1 0 0:1 / / rw - ext4 /dev/simulated rw\n".utf8)
        case "/proc/sys/kernel/random/boot_id": return Array("\(self.process.machine.bootID)\n".utf8)
        case _: preconditionFailure("\(path) is not simulated")
        }
    }

    func makeFolder(_ path: String, permissions: UInt32) throws(HostFailure) {
        guard !self.process.isDead else { throw HostFailure(EIO) }
        _ = try self.disk.make(.folder, at: path, permissions: permissions)
    }

    func makeFile(_ path: String, permissions: UInt32) throws(HostFailure) {
        guard !self.process.isDead else { throw HostFailure(EIO) }
        _ = try self.disk.make(.file(DiskFile()), at: path, permissions: permissions)
    }

    func setGroup(of path: String, to group: UInt32) throws(HostFailure) { try self.node(path).group = group }

    func setPermissions(of path: String, to permissions: UInt32) throws(HostFailure) {
        try self.node(path).permissions = permissions
    }

    #if !os(Linux)
    func systemValue(_ name: String) -> String? { self.process.machine.bootID }
    #endif
}
#endif
