private import CSupervision
private import LockKernel

/// Files in memory, which have no name in any folder and go with this process.
package enum MemoryFile {
    /// Makes one that only this user may read, and that lives as long as this process.
    ///
    /// - Returns: the path by which other processes of this user can open it; `nil` where there are no such files, or no
    ///   /proc.
    package static func path(containing bytes: [UInt8]) -> String? {
        let descriptor = csup_memory_file("dlock")
        guard descriptor >= 0 else { return nil }
        let path = "/proc/\(getpid())/fd/\(descriptor)"
        guard fchmod(descriptor, 0o400) == 0, write(descriptor, bytes, bytes.count) == bytes.count,
            access(path, R_OK) == 0
        else {
            _ = close(descriptor)
            return nil
        }
        return path
    }
}
