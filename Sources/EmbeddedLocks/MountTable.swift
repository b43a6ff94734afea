#if Embedded
/// Finds out whether a folder is on a file system that several hosts may see, so that locks of one kernel protect nothing,
/// and what is mounted where, by the text of /proc/self/mountinfo (proc_pid_mountinfo(5)).
///
/// A host of many containers has thousands of mounts, so that only the line that is asked for is taken apart.
struct MountTable {
    private let text: [UInt8]

    init(text: [UInt8]) { self.text = text }

    /// The first line that begins with some bytes.
    private func line(beginningWith start: [UInt8]) -> Substring? {
        self.text.withUnsafeBufferPointer { text in
            var position = 0
            while position < text.count {
                let rest = text[position...]
                let end = rest.firstIndex(of: UInt8(ascii: "\n")) ?? text.count
                if rest.starts(with: start) { return Substring(decoding: text[position..<end], as: UTF8.self) }
                position = end + 1
            }
            return nil
        }
    }

    private var lines: [Substring] { String(decoding: self.text, as: UTF8.self).split(separator: "\n") }

    /// The type of the file system that a line tells of: it stands behind a field that is a dash.
    private static func type(in line: Substring) -> String? {
        let fields = line.split(separator: " ")
        guard let dash = fields.firstIndex(of: "-"), dash + 1 < fields.count else { return nil }
        return String(fields[dash + 1])
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
    func type(ofMount id: Int64?, device: UInt64) -> String? {
        if let id, let line = self.line(beginningWith: Array("\(id) ".utf8)) { return Self.type(in: line) }
        // The encoding of glibc's makedev(3).
        let major = (device >> 8) & 0xFFF | (device >> 32) & ~0xFFF
        let minor = device & 0xFF | (device >> 12) & ~0xFF
        let wanted = "\(major):\(minor)"
        return self.lines.first { Self.field(2, of: $0) ?? "" == wanted }.flatMap { Self.type(in: $0) }
    }

    /// Whether something is mounted at just this path.
    func isMountPoint(_ path: String) -> Bool {
        let escaped = Self.escaped(path)
        return self.lines.contains { Self.field(4, of: $0) ?? "" == escaped }
    }

    private static func field(_ index: Int, of line: Substring) -> Substring? {
        let fields = line.split(separator: " ", maxSplits: index + 1)
        return index < fields.count ? fields[index] : nil
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
