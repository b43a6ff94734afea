#if Embedded
import CEmbedded
import GRDBSQLite

/// What stands in the index of SQLite's log, which all connections of all processes share in memory.
///
/// The format is fixed (sqlite.org/walformat.html): a header of 48 bytes, written anew with every commit and compared by
/// SQLite itself to find whether somebody else has written; a copy of it; how far the log has been moved into the file.
struct WalIndex {
    /// The header. Two that are equal are of the same commit.
    struct Header: Equatable {
        fileprivate var words: SIMD16<UInt32> = .zero

        /// Rises by one with every commit, until the log is read anew after a crash.
        fileprivate var change: UInt32 { self.words[2] }
    }

    private let words: UnsafePointer<UInt32>
    private static let headerLength = 12
    private static let frameCount = 4
    private static let movedCount = 24

    /// The index that a connection has open; `nil` if it has none. It stays where it is while the connection is open.
    init?(connection: OpaquePointer) {
        var file: UnsafeMutablePointer<sqlite3_file>?
        guard sqlite3_file_control(connection, "main", SQLITE_FCNTL_FILE_POINTER, &file) == SQLITE_OK, let file,
            let methods = file.pointee.pMethods, methods.pointee.iVersion >= 2, let map = methods.pointee.xShmMap
        else { return nil }
        var region: UnsafeMutableRawPointer?
        let regionLength: Int32 = 32 * 1_024
        guard map(file, 0, regionLength, 0, &region) == SQLITE_OK, let region else { return nil }
        self.words = UnsafePointer(region.assumingMemoryBound(to: UInt32.self))
    }

    /// How many pages are in the log.
    var lengthInPages: UInt32 { cemb_load(self.words + Self.frameCount) }

    /// Whether the next commit begins the log anew, which waits for the disk: all of it is in the file, or there is none yet.
    /// To be asked by who has the write lock.
    var isAllMoved: Bool { cemb_load(self.words + Self.movedCount) == self.lengthInPages }

    var header: Header {
        var header = Header()
        for index in 0..<Self.headerLength { header.words[index] = cemb_load(self.words + index) }
        return header
    }

    /// Whether `header` is of the commit right behind that of `earlier`, or of the same if nothing was written.
    static func follows(_ header: Header, _ earlier: Header, hasWritten: Bool) -> Bool {
        hasWritten ? header.change == earlier.change &+ 1 : header == earlier
    }
}
#endif
