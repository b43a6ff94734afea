public import DistributedLocks

/// Writes to Redis that are refused if a later holder has been there.
///
/// ```swift
/// let redis = FencedRedis(client)
/// try await redis.fenced("inventory/42", held.stamp).set("stock:42", to: "99")
/// ```
///
/// A resource's fence is a hash beside the data, at `fence:` and the resource's name. Check and write are one step on the
/// server, so nothing comes in between. The fence is as durable as the data: a server that forgets both accepts any token,
/// and one that evicts (`maxmemory-policy` `allkeys-…`) may forget the fence alone, so use `noeviction` or `volatile-…`.
public struct FencedRedis<Runner: RedisScriptRunner>: Sendable {
    private let runner: Runner
    private let fencePrefix: String

    /// Fences on the server that a client talks to.
    ///
    /// - Parameters:
    ///   - runner: The client.
    ///   - fencePrefix: What stands before a resource's name in the key of its fence. On a cluster it has to bring the
    ///     fence to the slot of the data, as `{42}fence:` does for `{42}stock`.
    public init(_ runner: Runner, fencePrefix: String = "fence:") {
        self.runner = runner
        self.fencePrefix = fencePrefix
    }

    /// Writes with a token.
    ///
    /// - Parameters:
    ///   - resource: The resource's name; most often it is the lock's.
    ///   - stamp: The token and its domain: `held.stamp`.
    /// - Throws: `LockError` `invalidName`, and `invalidConfiguration` for a domain that a fence cannot remember.
    public func fenced(_ resource: some LockNameConvertible, _ stamp: FencingStamp) throws(LockError) -> Writer {
        try stamp.check()
        let name = try resource.lockName()
        return Writer(runner: self.runner, fenceKey: self.fencePrefix + name.rawValue, resource: name, stamp: stamp)
    }

    /// The writes of one holder to one resource.
    public struct Writer: Sendable {
        let runner: Runner
        let fenceKey: String
        let resource: LockName
        let stamp: FencingStamp

        /// Sets a value (`SET`).
        ///
        /// - Throws: `FenceRefusal` if the token was refused: nothing was written. What the client throws.
        public func set(_ key: String, to value: String) async throws {
            try await self.command("SET", key: key, [value])
        }

        /// Sets fields of a hash (`HSET`).
        ///
        /// - Throws: `FenceRefusal` if the token was refused: nothing was written. What the client throws.
        public func setFields(_ fields: KeyValuePairs<String, String>, of key: String) async throws {
            try await self.command("HSET", key: key, fields.flatMap { [$0.key, $0.value] })
        }

        /// Deletes a key (`DEL`).
        ///
        /// - Throws: `FenceRefusal` if the token was refused: nothing was deleted. What the client throws.
        public func delete(_ key: String) async throws {
            try await self.command("DEL", key: key)
        }

        /// Runs any command whose first argument is its only key, such as `INCRBY`, `HDEL`, `GET` or `ZADD`.
        ///
        /// - Parameters:
        ///   - name: The command.
        ///   - key: Its key.
        ///   - arguments: Its arguments after the key; at most some thousands, which is a limit of Lua.
        /// - Returns: What the command answered, as text: a number in decimal digits, `OK`, a value; empty for nothing and
        ///   for lists.
        /// - Throws: `FenceRefusal` if the token was refused: nothing was done. What the client throws.
        @discardableResult
        public func command(_ name: String, key: String, _ arguments: [String] = []) async throws -> String {
            let answer = try await self.command(name, key: key, bytes: arguments.map { Array($0.utf8) })
            return String(decoding: answer, as: UTF8.self)
        }

        /// As ``command(_:key:_:)``, with any bytes as arguments and answer.
        ///
        /// - Throws: `FenceRefusal` if the token was refused: nothing was done. What the client throws.
        @discardableResult
        public func command(_ name: String, key: String, bytes arguments: [[UInt8]]) async throws -> [UInt8] {
            try await self.run(mode: "check", keys: [key], [Array(name.utf8)] + arguments).answer
        }

        /// Has the resource remember the token and writes nothing. Call it before you read what a later write depends on.
        ///
        /// - Throws: `FenceRefusal` if the token was refused. What the client throws.
        @discardableResult
        public func raiseFence() async throws -> FenceDecision {
            try await self.run(mode: "check", keys: [], []).decision
        }

        /// Moves the resource to the token's domain: see `FenceRule.adopt`.
        ///
        /// - Throws: `FenceRefusal` if the token is of the same domain and stale. What the client throws.
        @discardableResult
        public func adoptFence() async throws -> FenceDecision {
            try await self.run(mode: "adopt", keys: [], []).decision
        }

        private func run(mode: String, keys: [String], _ command: [[UInt8]]) async throws -> RedisFenceReply {
            let head = [self.stamp.token.description, self.stamp.domain.rawValue, mode].map { Array($0.utf8) }
            let words = try await self.runner.run(
                .write,
                keys: [self.fenceKey] + keys,
                arguments: head + command
            )
            let reply = try RedisFenceReply(words)
            try reply.decision.accepted(self.stamp, by: self.resource)
            return reply
        }
    }
}

/// What the script answered, for whoever runs it without ``FencedRedis``.
public struct RedisFenceReply: Sendable, Hashable {
    /// The answer is none of this script.
    public struct Malformed: Error, Sendable, CustomStringConvertible {
        /// What is wrong with it.
        public let description: String
    }

    /// What was decided.
    public let decision: FenceDecision
    /// What the command answered; empty if none was run.
    public let answer: [UInt8]

    /// Reads the answer: four strings.
    ///
    /// - Throws: ``Malformed``.
    public init(_ words: [[UInt8]]) throws(Malformed) {
        guard words.count == 4 else {
            throw Malformed(description: "the script answers four strings, not \(words.count)")
        }
        self.answer = words[3]
        let name = String(decoding: words[0], as: UTF8.self)
        if name == "first" {
            self.decision = .first
            return
        }
        guard let token = FencingToken(String(decoding: words[1], as: UTF8.self)) else {
            throw Malformed(description: "the script answered no token")
        }
        let highest = FencingStamp(token, domain: TokenDomain(rawValue: String(decoding: words[2], as: UTF8.self)))
        switch name {
        case "same": self.decision = .same
        case "raised": self.decision = .raised(from: highest)
        case "adopted": self.decision = .adopted(from: highest)
        case "stale": self.decision = .stale(highest: highest)
        case "otherDomain": self.decision = .otherDomain(highest: highest)
        case _: throw Malformed(description: "the script answered an unknown decision")
        }
    }
}
