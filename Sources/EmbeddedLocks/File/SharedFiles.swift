#if Embedded
/// What several users need to use one file of locks: that the file, what SQLite keeps beside it and the sockets belong to the
/// folder's group, and have the rights that the umask leaves.
///
/// SQLite makes a file with 0644, whatever the umask says, and new files belong to the maker's own group unless the folder
/// hands its group on (the set-group-ID bit). Nothing here fails: who cannot use a file hears why where it is used.
struct SharedFiles {
    let files: any HostFiles

    /// Makes the file of locks, empty, if it is not there: SQLite gives what it makes beside it the same rights.
    func makeFile(_ path: String, in folder: String) {
        // Who cannot make it will hear why from SQLite.
        guard (try? self.files.makeFile(path, permissions: 0o666)) != nil else { return }
        self.follow(folder, path)
    }

    /// Gives what this user has made beside the file the file's group and rights.
    func adoptSideFiles(of path: String) {
        guard let main = try? self.files.status(of: path, followingLink: true) else { return }
        for side in [path + "-wal", path + "-shm"] {
            guard let status = try? self.files.status(of: side, followingLink: false), status.kind == .file,
                status.isOwn
            else { continue }
            if status.group != main.group { try? self.files.setGroup(of: side, to: main.group) }
            if status.permissions != main.permissions {
                try? self.files.setPermissions(of: side, to: main.permissions)
            }
        }
    }

    /// Gives what was just made the folder's group, if this user may.
    func follow(_ folder: String, _ path: String) {
        guard let outer = try? self.files.status(of: folder, followingLink: true),
            let inner = try? self.files.status(of: path, followingLink: false), outer.group != inner.group
        else { return }
        try? self.files.setGroup(of: path, to: outer.group)
    }
}
#endif
