/// The SQL of fencing, for whoever talks to a database without one of the helpers.
///
/// Each is the text of a file in Sources/Fencing/SQL/Statements, one statement each (but ``postgreSQL``), and works
/// unchanged on PostgreSQL 12 or newer and SQLite 3.35 or newer. Arguments are `$1`, `$2`, `$3`, in this order.
public enum FenceSQL {
    /// Makes the table `fences`, if there is none.
    public static let createTable = Self.text(PackageResources.table_sql)

    /// Checks a token and remembers it: resource (text), token (64-bit integer), domain (text).
    ///
    /// A row comes back if the token was accepted. None comes back if it was refused: then roll back. It belongs into the
    /// same transaction as the writes, before them.
    public static let raise = Self.text(PackageResources.raise_sql)

    /// As ``raise``, but a token of another domain replaces what was remembered.
    public static let adopt = Self.text(PackageResources.adopt_sql)

    /// What a resource (text) remembers: one row, token and domain, or none. To be shown, never to decide by.
    public static let read = Self.text(PackageResources.read_sql)

    /// Several statements: the table, and the functions `fence` and `adopt_fence` for PostgreSQL, which raise an error if
    /// a token is refused. For every other language.
    public static let postgreSQL = Self.text(PackageResources.postgresql_sql)

    private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}
