#if canImport(GRDB)
import Fencing
import FencingGRDB
import GRDB

/// A shop in a SQLite file.
struct SQLiteDatabase: ShopDatabase {
    private let queue: DatabaseQueue

    init(path: String) throws {
        var configuration = Configuration()
        configuration.busyMode = .timeout(30)
        configuration.prepareDatabase { db in
            try db.execute(sql: "PRAGMA journal_mode = WAL")
            try db.execute(sql: "PRAGMA synchronous = NORMAL")
        }
        self.queue = try DatabaseQueue(path: path, configuration: configuration)
    }

    func transaction<Success>(_ body: (Session) throws -> Success) throws -> Success {
        try self.queue.write { db in try body(Session(db: db)) }
    }

    struct Session: SQLSession {
        let db: Database

        func run(_ sql: String, _ arguments: [SQLValue]) throws -> [[String]] {
            let values: [any DatabaseValueConvertible] = arguments.map {
                switch $0 {
                case .integer(let number): number
                case .text(let text): text
                }
            }
            let statement = try self.db.cachedStatement(sql: sql)
            return try Row.fetchAll(statement, arguments: StatementArguments(values)).map { row in
                row.databaseValues.map { String.fromDatabaseValue($0) ?? "\($0.storage.value ?? "")" }
            }
        }

        func fenced<Success>(_ stamp: FencingStamp, _ body: () throws -> Success) throws -> Success {
            try self.db.fenced(saleName, stamp, body)
        }
    }
}
#endif
