import Fencing

/// What can be done in a shop.
protocol SaleShop {
    /// Opens for a new sale: everything of an earlier one is gone.
    func open(items: Int) throws
    /// How many items are left. With a token earlier holders are shut out from now on: what was read here may then be
    /// relied on when writing.
    func stock(_ stamp: FencingStamp?) throws -> Int
    /// Sells an item to a buyer, given how many were left.
    func sell(to buyer: Int, by seller: Int, stock: Int, _ stamp: FencingStamp?) throws
    func hasBought(_ buyer: Int) throws -> Bool
    func sold() throws -> Int
    func refused() throws -> Int
    func recordRefusal(by seller: Int) throws
    /// Whether a fault that is planned for this stock is still to come. Each comes once.
    func claimFault(at stock: Int) throws -> Bool
    /// Takes the home-made lock if it is free or its lease has ended.
    func takeHomeMadeLock(until end: Int64, now: Int64) throws -> Bool
    /// Deletes the home-made lock, whosever it is: the mistake that is shown.
    func deleteHomeMadeLock() throws
}

/// The shop: how many items are left, and who bought one. The same SQL on SQLite and PostgreSQL.
///
/// A sale is what most services do: read, decide, ask somebody else (the payment), write. Nothing but the lock keeps two
/// sellers from selling the same item: that is the point of the example.
struct Shop<Database: ShopDatabase>: SaleShop {
    private let database: Database

    init(_ database: Database) {
        self.database = database
    }

    func open(items: Int) throws {
        try self.database.transaction { db in
            for table in ["items", "sales", "faults", "refusals", "home_made_lock", "fences"] {
                try db.run("DROP TABLE IF EXISTS \(table)")
            }
            try db.run(FenceSQL.createTable)
            try db.run("CREATE TABLE items (id INTEGER PRIMARY KEY, stock BIGINT NOT NULL)")
            try db.run("CREATE TABLE sales (buyer BIGINT PRIMARY KEY, seller BIGINT NOT NULL)")
            try db.run("CREATE TABLE faults (stock BIGINT PRIMARY KEY)")
            try db.run("CREATE TABLE refusals (seller BIGINT NOT NULL)")
            try db.run("CREATE TABLE home_made_lock (name TEXT PRIMARY KEY, ends BIGINT NOT NULL)")
            try db.run("INSERT INTO items (id, stock) VALUES (1, $1)", [.integer(Int64(items))])
        }
    }

    func stock(_ stamp: FencingStamp?) throws -> Int {
        try self.database.transaction { db in
            try Self.fenced(db, stamp) { try db.number("SELECT stock FROM items WHERE id = 1") }
        }
    }

    func sell(to buyer: Int, by seller: Int, stock: Int, _ stamp: FencingStamp?) throws {
        try self.database.transaction { db in
            try Self.fenced(db, stamp) {
                try db.run("UPDATE items SET stock = $1 WHERE id = 1", [.integer(Int64(stock - 1))])
                try db.run(
                    "INSERT INTO sales (buyer, seller) VALUES ($1, $2)",
                    [.integer(Int64(buyer)), .integer(Int64(seller))])
            }
        }
    }

    func hasBought(_ buyer: Int) throws -> Bool {
        try self.database.transaction { db in
            try db.number("SELECT count(*) FROM sales WHERE buyer = $1", [.integer(Int64(buyer))]) > 0
        }
    }

    func sold() throws -> Int {
        try self.database.transaction { db in try db.number("SELECT count(*) FROM sales") }
    }

    func refused() throws -> Int {
        try self.database.transaction { db in try db.number("SELECT count(*) FROM refusals") }
    }

    func recordRefusal(by seller: Int) throws {
        try self.database.transaction { db in
            _ = try db.run("INSERT INTO refusals (seller) VALUES ($1)", [.integer(Int64(seller))])
        }
    }

    func claimFault(at stock: Int) throws -> Bool {
        try self.database.transaction { db in
            try !db.run(
                "INSERT INTO faults (stock) VALUES ($1) ON CONFLICT (stock) DO NOTHING RETURNING stock",
                [.integer(Int64(stock))]
            ).isEmpty
        }
    }

    func takeHomeMadeLock(until end: Int64, now: Int64) throws -> Bool {
        try self.database.transaction { db in
            try !db.run(
                """
                INSERT INTO home_made_lock AS l (name, ends) VALUES ('sale', $1)
                ON CONFLICT (name) DO UPDATE SET ends = excluded.ends WHERE l.ends <= $2 RETURNING name
                """, [.integer(end), .integer(now)]
            ).isEmpty
        }
    }

    func deleteHomeMadeLock() throws {
        try self.database.transaction { db in _ = try db.run("DELETE FROM home_made_lock WHERE name = 'sale'") }
    }

    private static func fenced<Success>(
        _ db: Database.Session,
        _ stamp: FencingStamp?,
        _ body: () throws -> Success
    ) throws -> Success {
        guard let stamp else { return try body() }
        return try db.fenced(stamp, body)
    }
}
