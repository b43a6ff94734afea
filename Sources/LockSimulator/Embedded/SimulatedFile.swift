#if Embedded
import GRDBSQLite
import LockKernel

/// What SQLite has of an open file: its own part comes first.
struct SimulatedFile {
    private var base: sqlite3_file
    private var open: Unmanaged<OpenFile>

    static func make(_ open: OpenFile, at place: UnsafeMutablePointer<sqlite3_file>) {
        let file = SimulatedFile(base: sqlite3_file(pMethods: Self.methods), open: Unmanaged.passRetained(open))
        UnsafeMutableRawPointer(place).assumingMemoryBound(to: SimulatedFile.self).initialize(to: file)
    }

    private static func unmanaged(_ file: UnsafeMutablePointer<sqlite3_file>?) -> Unmanaged<OpenFile> {
        guard let file else { preconditionFailure("a call without a file") }
        return UnsafeMutableRawPointer(file).assumingMemoryBound(to: SimulatedFile.self).pointee.open
    }

    /// - Parameter code: what is answered where its process is dead.
    private static func call(
        _ file: UnsafeMutablePointer<sqlite3_file>?, _ name: String, dead code: Int32, _ body: (OpenFile) -> Int32
    ) -> Int32 {
        let open = Self.unmanaged(file).takeUnretainedValue()
        return open.user.mayGoOn(name) ? body(open) : code
    }

    /// Written before anybody sees it, and never after.
    private nonisolated(unsafe) static let methods: UnsafePointer<sqlite3_io_methods> = {
        let methods = UnsafeMutablePointer<sqlite3_io_methods>.allocate(capacity: 1)
        methods.initialize(to: sqlite3_io_methods())
        // Without memory that is mapped: version 3 has it.
        methods.pointee.iVersion = 2
        methods.pointee.xClose = { Self.close($0) }
        methods.pointee.xRead = { file, bytes, count, offset in
            Self.call(file, "xRead", dead: IOFailure.read) { Self.read($0, bytes, Int(count), Int(offset)) }
        }
        methods.pointee.xWrite = { file, bytes, count, offset in
            Self.call(file, "xWrite", dead: IOFailure.write) { Self.write($0, bytes, Int(count), Int(offset)) }
        }
        methods.pointee.xTruncate = { file, length in
            Self.call(file, "xTruncate", dead: IOFailure.truncate) { open in
                open.file.cut(to: Int(length))
                return SQLITE_OK
            }
        }
        methods.pointee.xSync = { file, _ in Self.call(file, "xSync", dead: IOFailure.sync) { Self.sync($0) } }
        methods.pointee.xFileSize = { file, result in
            Self.call(file, "xFileSize", dead: IOFailure.fileSize) { open in
                result?.pointee = Int64(open.file.bytes.count)
                return SQLITE_OK
            }
        }
        methods.pointee.xLock = { file, level in
            Self.call(file, "xLock", dead: IOFailure.lock) { open in
                guard let level = FileLocks.Level(rawValue: level) else { return SQLITE_MISUSE }
                return open.locks.lock(open, level) ? SQLITE_OK : SQLITE_BUSY
            }
        }
        methods.pointee.xUnlock = { file, level in
            Self.call(file, "xUnlock", dead: SQLITE_OK) { open in
                open.level = min(open.level, FileLocks.Level(rawValue: level) ?? .none)
                return SQLITE_OK
            }
        }
        methods.pointee.xCheckReservedLock = { file, result in
            Self.call(file, "xCheckReservedLock", dead: IOFailure.checkReservedLock) { open in
                result?.pointee = open.locks.isReserved(besides: open) ? 1 : 0
                return SQLITE_OK
            }
        }
        methods.pointee.xFileControl = { Self.control(Self.unmanaged($0).takeUnretainedValue(), $1, $2) }
        methods.pointee.xSectorSize = { _ in 4_096 }
        methods.pointee.xDeviceCharacteristics = { _ in SQLITE_IOCAP_POWERSAFE_OVERWRITE }
        methods.pointee.xShmMap = { file, region, length, extends, result in
            Self.call(file, "xShmMap", dead: IOFailure.shmMap) {
                Self.map($0, Int(region), length, extending: extends != 0, result)
            }
        }
        methods.pointee.xShmLock = { file, first, count, flags in
            Self.call(file, "xShmLock", dead: flags & SQLITE_SHM_UNLOCK != 0 ? SQLITE_OK : IOFailure.shmLock) {
                Self.lockIndex($0, first, count, flags)
            }
        }
        methods.pointee.xShmBarrier = { file in
            _ = Self.unmanaged(file).takeUnretainedValue().user.mayGoOn("xShmBarrier")
        }
        methods.pointee.xShmUnmap = { file, deletes in
            Self.call(file, "xShmUnmap", dead: SQLITE_OK) { open in
                if open.locks.closeIndex(open), deletes != 0 { _ = open.disk.remove(open.indexPath) }
                return SQLITE_OK
            }
        }
        return UnsafePointer(methods)
    }()

    private static func close(_ file: UnsafeMutablePointer<sqlite3_file>?) -> Int32 {
        let open = Self.unmanaged(file).takeRetainedValue()
        file?.pointee.pMethods = nil
        open.locks.closed(open)
        return SQLITE_OK
    }

    private static func read(_ open: OpenFile, _ bytes: UnsafeMutableRawPointer?, _ count: Int, _ offset: Int) -> Int32
    {
        let found = open.file.read(count, at: offset)
        let room = UnsafeMutableRawBufferPointer(start: bytes, count: count)
        room.copyBytes(from: found)
        guard found.count < count else { return SQLITE_OK }
        for index in found.count..<count { room[index] = 0 }
        return IOFailure.shortRead
    }

    private static func write(_ open: OpenFile, _ bytes: UnsafeRawPointer?, _ count: Int, _ offset: Int) -> Int32 {
        let new = UnsafeRawBufferPointer(start: bytes, count: count)
        let room = open.disk.isFull ? min(count, max(0, open.file.bytes.count - offset)) : count
        if room > 0 { open.file.write(Array(new.prefix(room)), at: offset) }
        return room < count ? SQLITE_FULL : SQLITE_OK
    }

    private static func sync(_ open: OpenFile) -> Int32 {
        let position = open.file.position
        open.user.waitForDisk()
        guard open.user.mayGoOn("xSync's end") else { return IOFailure.sync }
        open.file.sync(upTo: position)
        if open.syncsNames {
            open.disk.syncNames()
            open.syncsNames = false
        }
        return SQLITE_OK
    }

    private static func map(
        _ open: OpenFile, _ region: Int, _ length: Int32, extending: Bool,
        _ result: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
    ) -> Int32 {
        precondition(Int(length) == FileLocks.regionLength, "regions of \(length) bytes are not simulated")
        let index = open.locks.openIndex(open)
        if open.disk.node(open.indexPath) == nil {
            guard (try? open.disk.make(.file(DiskFile()), at: open.indexPath)) != nil else { return SQLITE_CANTOPEN }
        }
        if extending && open.disk.isFull && open.locks.region(region, of: index, extending: false) == nil {
            return IOFailure.shmSize
        }
        result?.pointee = open.locks.region(region, of: index, extending: extending)
        return SQLITE_OK
    }

    private static func lockIndex(_ open: OpenFile, _ first: Int32, _ count: Int32, _ flags: Int32) -> Int32 {
        let mask = UInt32((1 << (first + count)) - (1 << first))
        if flags & SQLITE_SHM_UNLOCK != 0 {
            open.locks.unlockIndex(open, mask: mask)
            return SQLITE_OK
        }
        let isExclusive = flags & SQLITE_SHM_EXCLUSIVE != 0
        return open.locks.lockIndex(open, mask: mask, isExclusive: isExclusive) ? SQLITE_OK : SQLITE_BUSY
    }

    private static func control(_ open: OpenFile, _ code: Int32, _ argument: UnsafeMutableRawPointer?) -> Int32 {
        let number = argument?.assumingMemoryBound(to: Int32.self)
        switch code {
        case SQLITE_FCNTL_LOCKSTATE: number?.pointee = open.level.rawValue
        case SQLITE_FCNTL_HAS_MOVED: number?.pointee = open.disk.node(open.path ?? "") === open.node ? 0 : 1
        case SQLITE_FCNTL_SIZE_HINT: break
        case SQLITE_FCNTL_PERSIST_WAL:
            guard let number else { return SQLITE_MISUSE }
            if number.pointee < 0 { number.pointee = open.keepsLog ? 1 : 0 } else { open.keepsLog = number.pointee > 0 }
        // These are answered so by SQLite's own, too.
        case SQLITE_FCNTL_PRAGMA, SQLITE_FCNTL_BUSYHANDLER, SQLITE_FCNTL_SYNC, SQLITE_FCNTL_COMMIT_PHASETWO,
            SQLITE_FCNTL_OVERWRITE, SQLITE_FCNTL_PDB, SQLITE_FCNTL_CKPT_START, SQLITE_FCNTL_CKPT_DONE,
            SQLITE_FCNTL_CKSM_FILE:
            return SQLITE_NOTFOUND
        case _: preconditionFailure("SQLite's file control \(code) is not simulated")
        }
        return SQLITE_OK
    }
}
#endif
