#if Embedded
import GRDBSQLite
import LockKernel

/// What SQLite calls to reach a disk (sqlite.org/vfs.html): here one that is simulated, as one of its processes sees it.
///
/// It does what SQLite's own for Linux does (os_unix.c of 3.40), of whose calls those are here that the embedded backend comes to.
/// Another one ends the program.
enum SimulatedVFS {
    /// Whose the calls of a VFS are.
    final class Place {
        let disk: VirtualDisk
        let user: any DiskUser

        init(_ disk: VirtualDisk, _ user: any DiskUser) {
            self.disk = disk
            self.user = user
        }
    }

    struct Registration {
        fileprivate let vfs: UnsafeMutablePointer<sqlite3_vfs>

        /// Nobody finds it any more. It stays for those who have opened something by it.
        func end() { sqlite3_vfs_unregister(self.vfs) }
    }

    /// - Parameter isDefault: whether SQLite also draws its random numbers from it, from now on.
    static func register(
        _ name: String, disk: VirtualDisk, user: any DiskUser, isDefault: Bool
    ) -> Registration {
        let vfs = UnsafeMutablePointer<sqlite3_vfs>.allocate(capacity: 1)
        vfs.initialize(to: sqlite3_vfs())
        vfs.pointee.iVersion = 2
        vfs.pointee.szOsFile = Int32(MemoryLayout<SimulatedFile>.size)
        vfs.pointee.mxPathname = 512
        vfs.pointee.zName = UnsafePointer(strdup(name))
        vfs.pointee.pAppData = Unmanaged.passRetained(Place(disk, user)).toOpaque()
        vfs.pointee.xOpen = { Self.open($0, $1, $2, $3, $4) }
        vfs.pointee.xDelete = { Self.delete($0, $1, syncs: $2 != 0) }
        vfs.pointee.xAccess = { vfs, path, _, result in
            guard let (place, path) = Self.named(vfs, path, "xAccess") else { return IOFailure.access }
            result?.pointee = place.disk.node(path) == nil ? 0 : 1
            return SQLITE_OK
        }
        vfs.pointee.xFullPathname = { _, path, room, result in
            guard let path, let result, strlen(path) < Int(room) else { return SQLITE_CANTOPEN }
            strcpy(result, path)
            return SQLITE_OK
        }
        vfs.pointee.xRandomness = { vfs, count, bytes in
            let user = Self.place(vfs).user
            for index in 0..<Int(count) { bytes?[index] = CChar(truncatingIfNeeded: user.nextNumber()) }
            return count
        }
        vfs.pointee.xSleep = { vfs, microseconds in
            Self.place(vfs).user.wait(nanoseconds: Int64(microseconds) * 1_000)
            return microseconds
        }
        vfs.pointee.xCurrentTime = { vfs, days in
            days?.pointee = Double(Self.place(vfs).user.wallClock) / 86_400_000_000 + 2_440_587.5
            return SQLITE_OK
        }
        vfs.pointee.xCurrentTimeInt64 = { vfs, milliseconds in
            milliseconds?.pointee = Self.place(vfs).user.wallClock / 1_000 + 210_866_760_000_000
            return SQLITE_OK
        }
        vfs.pointee.xGetLastError = { _, _, _ in 0 }
        sqlite3_initialize()
        sqlite3_vfs_register(vfs, isDefault ? 1 : 0)
        // What it has drawn before is of another run.
        if isDefault { sqlite3_randomness(0, nil) }
        return Registration(vfs: vfs)
    }

    private static func place(_ vfs: UnsafeMutablePointer<sqlite3_vfs>?) -> Place {
        guard let data = vfs?.pointee.pAppData else { preconditionFailure("a VFS without a disk") }
        return Unmanaged<Place>.fromOpaque(data).takeUnretainedValue()
    }

    /// `nil`: the process is dead.
    private static func named(
        _ vfs: UnsafeMutablePointer<sqlite3_vfs>?, _ path: UnsafePointer<CChar>?, _ call: String
    ) -> (Place, String)? {
        let place = Self.place(vfs)
        guard let path, place.user.mayGoOn(call) else { return nil }
        return (place, String(cString: path))
    }

    private static func delete(
        _ vfs: UnsafeMutablePointer<sqlite3_vfs>?, _ path: UnsafePointer<CChar>?, syncs: Bool
    ) -> Int32 {
        guard let (place, path) = Self.named(vfs, path, "xDelete") else { return IOFailure.delete }
        guard place.disk.remove(path) else { return IOFailure.deleteOfNothing }
        if syncs {
            place.user.waitForDisk()
            guard place.user.mayGoOn("xDelete's sync") else { return IOFailure.folderSync }
            place.disk.syncNames()
        }
        return SQLITE_OK
    }

    private static func open(
        _ vfs: UnsafeMutablePointer<sqlite3_vfs>?, _ path: UnsafePointer<CChar>?,
        _ result: UnsafeMutablePointer<sqlite3_file>?, _ flags: Int32, _ outFlags: UnsafeMutablePointer<Int32>?
    ) -> Int32 {
        guard let result else { return SQLITE_CANTOPEN }
        result.pointee.pMethods = nil
        let place = Self.place(vfs)
        guard place.user.mayGoOn("xOpen") else { return SQLITE_CANTOPEN }
        let node: VirtualDisk.Node
        if let path {
            let path = String(cString: path)
            if let found = place.disk.node(path) {
                node = found
            } else {
                guard flags & SQLITE_OPEN_CREATE != 0, let made = try? place.disk.make(.file(DiskFile()), at: path)
                else {
                    return SQLITE_CANTOPEN
                }
                node = made
            }
        } else {
            node = place.disk.makeNamelessFile()
        }
        guard case .file(let file) = node.kind else { return SQLITE_CANTOPEN }
        let journals = SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL | SQLITE_OPEN_WAL
        let open = OpenFile(
            disk: place.disk, user: place.user, node: node, file: file, path: path.map { String(cString: $0) },
            syncsNames: flags & SQLITE_OPEN_CREATE != 0 && flags & journals != 0)
        node.locks.opened(open)
        SimulatedFile.make(open, at: result)
        outFlags?.pointee = flags
        return SQLITE_OK
    }
}
#endif
