#if Embedded
import CEmbedded
import LockKernel

/// The files of the machine.
package struct SystemFiles: HostFiles {
    package init() {}

    package var vfs: String? { nil }

    package func status(of path: String, followingLink: Bool) throws(HostFailure) -> FileStatus {
        var status = stat()
        guard (followingLink ? stat(path, &status) : lstat(path, &status)) == 0 else { throw .last }
        let kind: FileStatus.Kind =
            switch status.st_mode & S_IFMT {
            case S_IFREG: .file
            case S_IFDIR: .folder
            case S_IFLNK: .link
            default: .other
            }
        return FileStatus(
            kind: kind,
            identity: FileStatus.Identity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino)),
            linkCount: UInt64(status.st_nlink),
            sizeInBytes: Int64(status.st_size),
            group: UInt32(status.st_gid),
            permissions: UInt32(status.st_mode & 0o777),
            isOwn: status.st_uid == geteuid()
        )
    }

    package func mountID(of path: String) -> Int64? {
        let number = cemb_mount_id(path)
        return number < 0 ? nil : number
    }

    package func target(ofLink path: String) throws(HostFailure) -> [UInt8] {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink(path, &buffer, buffer.count)
        guard count >= 0 else { throw .last }
        return buffer.prefix(count).map { UInt8(bitPattern: $0) }
    }

    package func resolved(_ path: String) throws(HostFailure) -> [UInt8] {
        guard let resolved = realpath(path, nil) else { throw .last }
        defer { free(resolved) }
        return Array(UnsafeRawBufferPointer(start: resolved, count: strlen(resolved)))
    }

    package func contents(of path: String, atMostBytes limit: Int) -> [UInt8]? {
        guard let file = fopen(path, "re") else { return nil }
        defer { fclose(file) }
        // They have no size before they are read.
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = fread(&buffer, 1, buffer.count, file)
            if count == 0 { return ferror(file) == 0 ? bytes : nil }
            bytes.append(contentsOf: buffer.prefix(count))
            if bytes.count > limit { return nil }
        }
    }

    package func makeFolder(_ path: String, permissions: UInt32) throws(HostFailure) {
        guard mkdir(path, mode_t(permissions)) == 0 else { throw .last }
    }

    package func makeFile(_ path: String, permissions: UInt32) throws(HostFailure) {
        let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode_t(permissions))
        guard descriptor >= 0 else { throw .last }
        close(descriptor)
    }

    package func setGroup(of path: String, to group: UInt32) throws(HostFailure) {
        guard lchown(path, uid_t.max, gid_t(group)) == 0 else { throw .last }
    }

    package func setPermissions(of path: String, to permissions: UInt32) throws(HostFailure) {
        guard chmod(path, mode_t(permissions)) == 0 else { throw .last }
    }

    #if !os(Linux)
    package func systemValue(_ name: String) -> String? {
        var buffer = [CChar](repeating: 0, count: 64)
        var size = buffer.count
        guard sysctlbyname(name, &buffer, &size, nil, 0) == 0 else { return nil }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
    #endif
}
#endif
