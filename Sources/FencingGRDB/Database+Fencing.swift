#if Embedded
public import DistributedLocks
public import Fencing
public import GRDB

extension Database {
    /// Makes the table `fences` in which resources remember tokens, if there is none. Call it in a migration.
    ///
    /// - Throws: GRDB's `DatabaseError`.
    public func createFences() throws {
        try self.execute(sql: FenceSQL.createTable)
    }

    /// Runs a body in a transaction, if the token is not below the highest that the resource has seen.
    ///
    /// ```swift
    /// try await database.write { db in
    ///     try db.fenced("inventory/42", stamp) {
    ///         try db.execute(sql: "UPDATE items SET stock = stock - 1 WHERE id = 42")
    ///     }
    /// }
    /// ```
    ///
    /// The token is remembered in the same transaction as what the body writes: both are there afterwards, or neither.
    /// Inside a transaction of the caller's it is a savepoint. Use it for reads as well, where a later write depends on
    /// what was read: a holder that has not been here yet cannot be told from one that never came.
    ///
    /// - Parameters:
    ///   - resource: The resource's name; most often it is the lock's.
    ///   - stamp: The token and its domain: `held.stamp`.
    ///   - body: What to do; if it throws, everything is rolled back, the token too.
    /// - Returns: What the body returns.
    /// - Throws: `FenceRefusal` if the token was refused: nothing was written. `LockError` `invalidName`, and
    ///   `invalidConfiguration` for a domain that a fence cannot remember; GRDB's `DatabaseError`, and what the body throws.
    public func fenced<Success>(
        _ resource: some LockNameConvertible,
        _ stamp: FencingStamp,
        _ body: () throws -> Success
    ) throws -> Success {
        let name = try resource.lockName()
        var result: Success?
        try self.inSavepoint {
            try self.present(stamp, to: name, sql: FenceSQL.raise)
            result = try body()
            return .commit
        }
        guard let result else { preconditionFailure("a body that was run has a result") }
        return result
    }

    /// Has a resource remember a token, so that earlier holders are refused from now on.
    ///
    /// - Throws: `FenceRefusal` if the token was refused. `LockError` `invalidName`, GRDB's `DatabaseError`.
    public func raiseFence(_ resource: some LockNameConvertible, _ stamp: FencingStamp) throws {
        try self.present(stamp, to: resource.lockName(), sql: FenceSQL.raise)
    }

    /// Moves a resource to another token domain: see `FenceRule.adopt`.
    ///
    /// - Throws: `FenceRefusal` if the token is of the same domain and stale. `LockError` `invalidName`, GRDB's
    ///   `DatabaseError`.
    public func adoptFence(_ resource: some LockNameConvertible, _ stamp: FencingStamp) throws {
        try self.present(stamp, to: resource.lockName(), sql: FenceSQL.adopt)
    }

    /// The highest token that a resource has seen; `nil` if none. To be shown, never to decide by.
    ///
    /// - Throws: GRDB's `DatabaseError`, also if the row is not one of a fence.
    public func fence(of resource: LockName) throws -> FencingStamp? {
        let statement = try self.cachedStatement(sql: FenceSQL.read)
        guard let row = try Row.fetchOne(statement, arguments: [resource.rawValue]) else { return nil }
        guard let number = Int64.fromDatabaseValue(row["token"]), let token = FencingToken(rawValue: number),
            let domain = String.fromDatabaseValue(row["domain"])
        else {
            throw DatabaseError(message: "the fence of '\(resource)' is no token and domain")
        }
        return FencingStamp(token, domain: TokenDomain(rawValue: domain))
    }

    private func present(_ stamp: FencingStamp, to resource: LockName, sql: String) throws {
        try stamp.check()
        let statement = try self.cachedStatement(sql: sql)
        let accepted = try Int64.fetchOne(
            statement,
            arguments: [resource.rawValue, stamp.token.rawValue, stamp.domain.rawValue]
        )
        guard accepted == nil else { return }
        guard let highest = try self.fence(of: resource) else {
            throw DatabaseError(message: "the fence of '\(resource)' refused a token, and has none")
        }
        throw FenceRefusal(
            resource: resource,
            presented: stamp,
            highest: highest,
            reason: highest.domain == stamp.domain ? .stale : .otherDomain
        )
    }
}
#endif
