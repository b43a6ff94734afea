import DistributedLocks
import Fencing
import Foundation

/// A shop in a PostgreSQL database, through PostgreSQL's own client library.
///
/// The library is looked for when it is needed, so that nobody has to install its headers to build this example.
final class PostgresDatabase: ShopDatabase {
    let session: Session

    init(url: String) throws {
        self.session = Session(library: try LibPQ(), url: url)
        try self.session.connect()
    }

    func transaction<Success>(_ body: (Session) throws -> Success) throws -> Success {
        try self.session.run("BEGIN")
        do {
            let result = try body(self.session)
            try self.session.run("COMMIT")
            return result
        } catch {
            _ = try? self.session.run("ROLLBACK")
            throw error
        }
    }

    final class Session: SQLSession {
        private let library: LibPQ
        private let url: String
        private var connection: OpaquePointer?

        init(library: LibPQ, url: String) {
            self.library = library
            self.url = url
        }

        deinit { self.library.finish(self.connection) }

        func connect() throws {
            self.connection = self.library.connect(self.url)
            guard self.library.status(self.connection) == 0 else {
                throw DatabaseFailure(description: "PostgreSQL: \(self.message)")
            }
        }

        /// What the library says went wrong. It does not repeat passwords.
        private var message: String {
            guard let text = self.library.errorMessage(self.connection) else { return "unknown" }
            return String(cString: text).split(separator: "\n").joined(separator: " ")
        }

        func run(_ sql: String, _ arguments: [SQLValue]) throws -> [[String]] {
            let texts = arguments.map { argument in
                switch argument {
                case .integer(let number): String(number)
                case .text(let text): text
                }
            }
            let values = texts.map { UnsafePointer(strdup($0)) }
            defer { for value in values { free(UnsafeMutablePointer(mutating: value)) } }
            let result = self.library.execute(
                self.connection, sql, Int32(values.count), nil, values, nil, nil, 0)
            defer { self.library.clear(result) }
            // 1: a command without rows was done; 2: rows.
            guard let result, [1, 2].contains(self.library.resultStatus(result)) else {
                throw DatabaseFailure(description: "PostgreSQL: \(self.message)")
            }
            let (rows, columns) = (self.library.rowCount(result), self.library.columnCount(result))
            return (0..<rows).map { row in
                (0..<columns).map { column in self.library.value(result, row, column).map { String(cString: $0) } ?? ""
                }
            }
        }

        func fenced<Success>(_ stamp: FencingStamp, _ body: () throws -> Success) throws -> Success {
            let arguments: [SQLValue] = [
                .text(saleName), .integer(stamp.token.rawValue), .text(stamp.domain.rawValue),
            ]
            guard try self.run(FenceSQL.raise, arguments).isEmpty else { return try body() }
            guard let row = try self.run(FenceSQL.read, [.text(saleName)]).first,
                let token = FencingToken(row[0])
            else { throw DatabaseFailure(description: "the fence refused a token, and has none") }
            let highest = FencingStamp(token, domain: TokenDomain(rawValue: row[1]))
            throw FenceRefusal(
                resource: try LockName(saleName),
                presented: stamp,
                highest: highest,
                reason: highest.domain == stamp.domain ? .stale : .otherDomain
            )
        }
    }
}

/// The functions of libpq that are used: https://www.postgresql.org/docs/15/libpq.html
struct LibPQ {
    typealias Text = UnsafePointer<CChar>

    let connect: @convention(c) (Text) -> OpaquePointer?
    let status: @convention(c) (OpaquePointer?) -> Int32
    let errorMessage: @convention(c) (OpaquePointer?) -> Text?
    let finish: @convention(c) (OpaquePointer?) -> Void
    let execute:
        @convention(c) (
            OpaquePointer?, Text, Int32, UnsafePointer<UInt32>?, UnsafePointer<Text?>?, UnsafePointer<Int32>?,
            UnsafePointer<Int32>?, Int32
        ) -> OpaquePointer?
    let resultStatus: @convention(c) (OpaquePointer?) -> Int32
    let rowCount: @convention(c) (OpaquePointer?) -> Int32
    let columnCount: @convention(c) (OpaquePointer?) -> Int32
    let value: @convention(c) (OpaquePointer?, Int32, Int32) -> Text?
    let clear: @convention(c) (OpaquePointer?) -> Void

    init() throws {
        let names = ["libpq.so.5", "libpq.5.dylib", "/opt/homebrew/opt/libpq/lib/libpq.5.dylib"]
        guard let library = names.lazy.compactMap({ dlopen($0, RTLD_NOW) }).first else {
            throw DatabaseFailure(
                description: "PostgreSQL's client library is missing: on Debian, apt-get install libpq5")
        }
        func symbol<Function>(_ name: String, as type: Function.Type) throws -> Function {
            guard let symbol = dlsym(library, name) else {
                throw DatabaseFailure(description: "PostgreSQL's client library has no \(name)")
            }
            return unsafeBitCast(symbol, to: type)
        }
        typealias OnConnection = @convention(c) (OpaquePointer?) -> Int32
        typealias Ending = @convention(c) (OpaquePointer?) -> Void
        self.connect = try symbol("PQconnectdb", as: (@convention(c) (Text) -> OpaquePointer?).self)
        self.status = try symbol("PQstatus", as: OnConnection.self)
        self.errorMessage = try symbol("PQerrorMessage", as: (@convention(c) (OpaquePointer?) -> Text?).self)
        self.finish = try symbol("PQfinish", as: Ending.self)
        self.execute = try symbol(
            "PQexecParams",
            as: (@convention(c) (
                OpaquePointer?, Text, Int32, UnsafePointer<UInt32>?, UnsafePointer<Text?>?, UnsafePointer<Int32>?,
                UnsafePointer<Int32>?, Int32
            ) -> OpaquePointer?).self)
        self.resultStatus = try symbol("PQresultStatus", as: OnConnection.self)
        self.rowCount = try symbol("PQntuples", as: OnConnection.self)
        self.columnCount = try symbol("PQnfields", as: OnConnection.self)
        self.value = try symbol("PQgetvalue", as: (@convention(c) (OpaquePointer?, Int32, Int32) -> Text?).self)
        self.clear = try symbol("PQclear", as: Ending.self)
    }
}
