#if Embedded
import GRDBSQLite
import LockKernel

/// What is in the file, and what of it has no business there any more.
extension Machine {
    /// Nobody holds or wants a lock. Names of sockets that refuse may be left: of who was killed, or had to leave a claim in the file.
    /// Whoever comes next removes some of them.
    func leftovers() -> [String] {
        let living = self.processes.filter { !$0.isDead && !$0.sockets.isEmpty }
        return self.rows("SELECT 'holder of ' || name FROM locks WHERE owner IS NOT NULL")
            + self.rows("SELECT 'waiter for ' || name FROM waiters")
            + self.rows("PRAGMA integrity_check").filter { $0 != "ok" }
            + living.map { "\($0.sockets.count) open sockets of \($0.host.name)" }
    }

    /// For people who look for what went wrong.
    func contents() -> [String] {
        self.rows(
            """
            SELECT name || ' token ' || token || ' of ' || ifnull(host, '') || ' owner ' || ifnull(hex(owner), 'nobody')
                || ' until ' || ifnull(lease_end, '') FROM locks
            """)
            + self.rows("SELECT name || ' place ' || place || ' of ' || host || ' since ' || queued_at FROM waiters")
            + self.rows("SELECT key || ' = ' || value FROM meta")
            + ["boot \(self.bootID), sockets \(self.disk.names(in: Self.path + "-live").joined(separator: " "))"]
    }

    /// Read by a process of its own.
    private func rows(_ sql: String) -> [String] {
        guard self.disk.node(Self.path) != nil else { return [] }
        let reader = self.start(self.world.makeHost("reader"))
        defer { reader.host.kill() }
        var connection: OpaquePointer?
        var statement: OpaquePointer?
        defer {
            sqlite3_finalize(statement)
            sqlite3_close(connection)
        }
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX
        guard sqlite3_open_v2(Self.path, &connection, flags, reader.vfsName) == SQLITE_OK,
            sqlite3_prepare_v2(connection, sql, -1, &statement, nil) == SQLITE_OK
        else { return [String(cString: sqlite3_errmsg(connection))] }
        var rows: [String] = []
        while true {
            switch sqlite3_step(statement) {
            case SQLITE_ROW: rows.append(sqlite3_column_text(statement, 0).map { String(cString: $0) } ?? "NULL")
            case SQLITE_DONE: return rows
            case _: return rows + [String(cString: sqlite3_errmsg(connection))]
            }
        }
    }
}
#endif
