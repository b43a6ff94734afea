import LockKernel

@testable import EmbeddedLocks

/// The machine's files, where nothing else is said.
protocol ForwardingFiles: HostFiles {}

extension ForwardingFiles {
    var base: SystemFiles { SystemFiles() }

    var vfs: String? { nil }

    func status(of path: String, followingLink: Bool) throws(HostFailure) -> FileStatus {
        try self.base.status(of: path, followingLink: followingLink)
    }

    func mountID(of path: String) -> Int64? { self.base.mountID(of: path) }

    func target(ofLink path: String) throws(HostFailure) -> [UInt8] { try self.base.target(ofLink: path) }

    func resolved(_ path: String) throws(HostFailure) -> [UInt8] { try self.base.resolved(path) }

    func contents(of path: String, atMostBytes limit: Int) -> [UInt8]? {
        self.base.contents(of: path, atMostBytes: limit)
    }

    func makeFolder(_ path: String, permissions: UInt32) throws(HostFailure) {
        try self.base.makeFolder(path, permissions: permissions)
    }

    func makeFile(_ path: String, permissions: UInt32) throws(HostFailure) {
        try self.base.makeFile(path, permissions: permissions)
    }

    func setGroup(of path: String, to group: UInt32) throws(HostFailure) {
        try self.base.setGroup(of: path, to: group)
    }

    func setPermissions(of path: String, to permissions: UInt32) throws(HostFailure) {
        try self.base.setPermissions(of: path, to: permissions)
    }

    #if !os(Linux)
    func systemValue(_ name: String) -> String? { self.base.systemValue(name) }
    #endif
}

/// The machine's files, with a boot that a test sets; `nil` for one that cannot be told.
struct FilesOfBoot: ForwardingFiles {
    let bootID: @Sendable () -> String?

    init(_ bootID: @escaping @Sendable () -> String?) { self.bootID = bootID }

    #if os(Linux)
    func contents(of path: String, atMostBytes limit: Int) -> [UInt8]? {
        guard path == "/proc/sys/kernel/random/boot_id" else {
            return self.base.contents(of: path, atMostBytes: limit)
        }
        return self.bootID().map { Array("\($0)\n".utf8) }
    }
    #else
    func systemValue(_ name: String) -> String? {
        name == "kern.bootsessionuuid" ? self.bootID() : self.base.systemValue(name)
    }
    #endif
}
