/// What every process of a sale has to know.
struct Plan: Sendable {
    var mode: Mode
    var backend: String
    var database: String
    var items: Int
    var buyers: Int
    var sellers: Int
    var leaseInMilliseconds: Int

    /// The time that a buyer takes to pay, between reading the stock and writing it.
    /// Several times as long as a seller that waits for a lock takes to look again: who is let in beside another one meets it.
    static let paymentInMicroseconds: UInt32 = 10_000

    /// The shop in this plan's database.
    func shop() throws -> any SaleShop {
        if self.database.hasPrefix("postgres://") || self.database.hasPrefix("postgresql://") {
            return Shop(try PostgresDatabase(url: self.database))
        }
        #if canImport(GRDB)
        guard self.database.hasPrefix("sqlite:") else {
            throw DatabaseFailure(
                description: "a database is sqlite:/path/file or postgres://user@host/name")
        }
        return Shop(try SQLiteDatabase(path: String(self.database.dropFirst(7))))
        #else
        throw DatabaseFailure(description: "this build has no SQLite; a database is postgres://user@host/name")
        #endif
    }
}
