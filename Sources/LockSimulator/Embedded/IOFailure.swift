#if Embedded
import GRDBSQLite

/// SQLite's extended codes for what a disk did not do (sqlite.org/rescode.html), which Swift does not see.
enum IOFailure {
    static let read = code(1)
    static let shortRead = code(2)
    static let write = code(3)
    static let sync = code(4)
    static let folderSync = code(5)
    static let truncate = code(6)
    static let fileSize = code(7)
    static let delete = code(10)
    static let access = code(13)
    static let checkReservedLock = code(14)
    static let lock = code(15)
    static let shmSize = code(19)
    static let shmLock = code(20)
    static let shmMap = code(21)
    static let deleteOfNothing = code(23)

    private static func code(_ number: Int32) -> Int32 { SQLITE_IOERR | number << 8 }
}
#endif
