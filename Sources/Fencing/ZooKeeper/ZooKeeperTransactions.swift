/// A ZooKeeper client, as far as ``FencedZooKeeper`` needs one.
public protocol ZooKeeperTransactions: Sendable {
    /// Reads a node; `nil` if it is not there.
    ///
    /// - Throws: if the ensemble did not answer, or refused.
    func read(_ path: String) async throws -> (data: [UInt8], version: Int32)?

    /// Carries out all of the writes, or none (`multi`).
    ///
    /// - Throws: ``ZooKeeperConflict`` if one of them could not be done. Anything else means that nobody knows.
    func transact(_ writes: [ZooKeeperWrite]) async throws
}

/// A part of a transaction.
public enum ZooKeeperWrite: Sendable, Hashable {
    /// Makes a persistent node, which must not be there.
    case create(path: String, data: [UInt8])
    /// Sets a node's data, if it has this version; -1 is any.
    case setData(path: String, data: [UInt8], version: Int32 = -1)
    /// Deletes a node, if it has this version; -1 is any.
    case delete(path: String, version: Int32 = -1)
    /// Demands that a node has this version.
    case check(path: String, version: Int32)
}

/// A transaction was not carried out because one of its parts could not be.
public struct ZooKeeperConflict: Error, Sendable, Hashable {
    /// Which part, counted from zero.
    public var index: Int
    /// Why, in one line.
    public var reason: String

    /// Describes a conflict.
    public init(index: Int, reason: String) {
        self.index = index
        self.reason = reason
    }
}

extension ZooKeeperConflict: CustomStringConvertible {
    /// Which part, and why.
    public var description: String { "nothing was written: part \(self.index) could not be done: \(self.reason)" }
}
