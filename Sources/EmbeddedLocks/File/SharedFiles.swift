#if Embedded
import LockKernel

/// What several users need to use one file of locks: that the file, what SQLite keeps beside it and the sockets belong to the
/// folder's group, and have the rights that the umask leaves.
///
/// SQLite makes a file with 0644, whatever the umask says, and new files belong to the maker's own group unless the folder
/// hands its group on (the set-group-ID bit).
enum SharedFiles {
    /// Makes the file of locks, empty, if it is not there: SQLite gives what it makes beside it the same rights.
    static func makeFile(_ path: String, in folder: String) {
        // Who cannot make it will hear why from SQLite.
        let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o666)
        guard descriptor >= 0 else { return }
        close(descriptor)
        Self.follow(folder, path)
    }

    /// Gives what this user has made beside the file the file's group and rights.
    static func adoptSideFiles(of path: String) {
        var main = stat()
        guard stat(path, &main) == 0 else { return }
        for side in [path + "-wal", path + "-shm"] {
            var status = stat()
            guard lstat(side, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_uid == geteuid() else {
                continue
            }
            if status.st_gid != main.st_gid { _ = lchown(side, uid_t.max, main.st_gid) }
            if status.st_mode & 0o777 != main.st_mode & 0o777 { _ = chmod(side, main.st_mode & 0o777) }
        }
    }

    /// Gives what was just made the folder's group, if this user may.
    static func follow(_ folder: String, _ path: String) {
        var (outer, inner) = (stat(), stat())
        guard stat(folder, &outer) == 0, lstat(path, &inner) == 0, outer.st_gid != inner.st_gid else { return }
        _ = lchown(path, uid_t.max, outer.st_gid)
    }
}
#endif
