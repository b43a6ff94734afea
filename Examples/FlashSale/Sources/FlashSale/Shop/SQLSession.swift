import Fencing

/// The lock that sellers take, and the resource that the shop guards with its token.
let saleName = "flash-sale"

/// A value in SQL.
enum SQLValue {
    case integer(Int64)
    case text(String)
}

/// A connection to the shop's database, inside a transaction.
protocol SQLSession {
    /// Runs a statement with the arguments `$1`, `$2`, …, and returns its rows as text.
    @discardableResult
    func run(_ sql: String, _ arguments: [SQLValue]) throws -> [[String]]

    /// Runs a body if the fencing token is not below the highest that the shop has seen; otherwise throws `FenceRefusal`.
    func fenced<Success>(_ stamp: FencingStamp, _ body: () throws -> Success) throws -> Success
}

extension SQLSession {
    @discardableResult
    func run(_ sql: String) throws -> [[String]] { try self.run(sql, []) }

    func number(_ sql: String, _ arguments: [SQLValue] = []) throws -> Int {
        let rows = try self.run(sql, arguments)
        return rows.first?.first.flatMap { Int($0) } ?? 0
    }
}

/// A database in which a shop can be.
protocol ShopDatabase {
    associatedtype Session: SQLSession
    func transaction<Success>(_ body: (Session) throws -> Success) throws -> Success
}

/// The database cannot be used, or refuses.
struct DatabaseFailure: Error, CustomStringConvertible {
    let description: String
}
