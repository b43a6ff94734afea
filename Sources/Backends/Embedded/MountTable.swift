#if Embedded
/// Finds out whether a folder is on a file system that several hosts may see, so that locks of one kernel protect nothing,
/// and what is mounted where, by the text of /proc/self/mountinfo (proc_pid_mountinfo(5)).
struct MountTable {
    private struct Mount {
        let id: Int64?
        let device: Substring
        let point: Substring
        let type: Substring
    }

    private let mounts: [Mount]

    init(text: String) {
        self.mounts = text.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ")
            guard fields.count > 6, let dash = fields.firstIndex(of: "-"), dash + 1 < fields.count else { return nil }
            return Mount(id: Int64(fields[0]), device: fields[2], point: fields[4], type: fields[dash + 1])
        }
    }

    private static let shared: Set<String> = [
        "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "gfs2", "ocfs2", "lustre", "coda", "virtiofs",
        "beegfs", "gpfs", "fuse", "vboxsf", "prl_fs", "vmhgfs", "orangefs", "pvfs2", "acfs", "panfs",
    ]

    static func mayBeShared(_ type: String) -> Bool {
        if self.shared.contains(type) { return true }
        return type.hasPrefix("fuse.") && type != "fuse.fuse-overlayfs"
    }

    /// The type of the file system of a mount, or, where its number is not known, of a device.
    func type(ofMount id: Int64, device: UInt64) -> String? {
        if id >= 0, let mount = self.mounts.first(where: { $0.id == id }) { return String(mount.type) }
        // The encoding of glibc's makedev(3).
        let major = (device >> 8) & 0xFFF | (device >> 32) & ~0xFFF
        let minor = device & 0xFF | (device >> 12) & ~0xFF
        let wanted = "\(major):\(minor)"
        return self.mounts.first { $0.device == wanted }.map { String($0.type) }
    }

    /// Whether something is mounted at just this path.
    func isMountPoint(_ path: String) -> Bool {
        let escaped = Self.escaped(path)
        return self.mounts.contains { $0.point == escaped }
    }

    /// As the table writes a path: blanks and backslashes as octal numbers.
    private static func escaped(_ path: String) -> String {
        var text = ""
        for scalar in path.unicodeScalars {
            switch scalar {
            case " ": text += "\\040"
            case "\t": text += "\\011"
            case "\n": text += "\\012"
            case "\\": text += "\\134"
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text
    }
}
#endif
