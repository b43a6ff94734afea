public import DistributedLocks

/// Writes to ZooKeeper that are refused if a later holder has been there.
///
/// ```swift
/// let zookeeper = FencedZooKeeper(client)
/// try await zookeeper.fenced("inventory/42", stamp: held.stamp, fence: "/shop/42/fence") { _ in
///     [.setData(path: "/shop/42/stock", data: Array("99".utf8))]
/// }
/// ```
///
/// A resource's fence is a node beside the data. The fence is read, then its check and the writes are one `multi`, which
/// is carried out as a whole or not at all: if anybody has written the fence in between it is not, and all begins again.
public struct FencedZooKeeper<Client: ZooKeeperTransactions>: Sendable {
    /// How often it begins again before it gives up: each time somebody else has succeeded.
    public static var maximumTries: Int { 64 }

    private let client: Client

    /// Fences on the ensemble that a client talks to.
    public init(_ client: Client) {
        self.client = client
    }

    /// Writes if the token is not below the highest that the fence has seen.
    ///
    /// - Parameters:
    ///   - resource: The resource's name, for errors; most often it is the lock's.
    ///   - stamp: The token and its domain: `held.stamp`.
    ///   - fence: The path of the fence's node. It is made if it is not there; its parent has to be.
    ///   - writes: What to write, with the fence or not at all; may be empty, which raises the fence alone. Asked again each
    ///     time that all begins again, so that what depends on data can be read anew.
    /// - Returns: What was decided.
    /// - Throws: `LockError` `invalidName`, and `invalidConfiguration` for a domain that a fence cannot remember.
    ///   `FenceRefusal` if the token was refused, and ``ZooKeeperConflict`` if the writes themselves could not be
    ///   done or others were quicker ``maximumTries`` times: in both cases nothing was written. What the client throws.
    @discardableResult
    public func fenced(
        _ resource: some LockNameConvertible,
        stamp: FencingStamp,
        fence: String,
        writes: (FenceDecision) async throws -> [ZooKeeperWrite] = { _ in [] }
    ) async throws -> FenceDecision {
        try await self.write(resource.lockName(), stamp, fence, writes) { $0.presented(stamp) }
    }

    /// Moves the resource to the token's domain: see `FenceRule.adopt`.
    ///
    /// - Throws: As ``fenced(_:stamp:fence:writes:)``.
    @discardableResult
    public func adoptFence(
        _ resource: some LockNameConvertible,
        stamp: FencingStamp,
        fence: String
    ) async throws -> FenceDecision {
        try await self.write(resource.lockName(), stamp, fence, { _ in [] }) { $0.adopt(stamp) }
    }

    private func write(
        _ resource: LockName,
        _ stamp: FencingStamp,
        _ fence: String,
        _ writes: (FenceDecision) async throws -> [ZooKeeperWrite],
        decide: (inout FenceRule) -> FenceDecision
    ) async throws -> FenceDecision {
        try stamp.check()
        for _ in 0..<Self.maximumTries {
            let node = try await self.client.read(fence)
            var rule = FenceRule(highest: try node.map { try ZooKeeperFence.stamp(of: $0.data, path: fence) })
            let decision = decide(&rule)
            try decision.accepted(stamp, by: resource)
            let data = ZooKeeperFence.data(of: stamp)
            let check: ZooKeeperWrite
            switch (decision, node) {
            case (_, nil): check = .create(path: fence, data: data)
            case (.same, let node?): check = .check(path: fence, version: node.version)
            case (_, let node?): check = .setData(path: fence, data: data, version: node.version)
            }
            do {
                try await self.client.transact([check] + writes(decision))
                return decision
            } catch let conflict as ZooKeeperConflict where conflict.index == 0 {
                // Somebody else has written the fence since it was read.
                continue
            }
        }
        throw ZooKeeperConflict(index: 0, reason: "others were quicker \(Self.maximumTries) times")
    }
}

/// What stands in a fence's node: the token in decimal digits, and its domain.
public enum ZooKeeperFence {
    /// A node that holds something else.
    public struct Malformed: Error, Sendable, CustomStringConvertible {
        /// Which node.
        public let path: String
        /// One line.
        public var description: String {
            "\(self.path) is no fence: it holds something else than a token and its domain"
        }
    }

    /// The bytes for a token.
    public static func data(of stamp: FencingStamp) -> [UInt8] {
        Array(stamp.line.utf8)
    }

    /// The token of the bytes.
    ///
    /// - Throws: ``Malformed``.
    public static func stamp(of data: [UInt8], path: String) throws(Malformed) -> FencingStamp {
        guard let line = String(validating: data, as: UTF8.self), let stamp = FencingStamp(line: line) else {
            throw Malformed(path: path)
        }
        return stamp
    }
}
