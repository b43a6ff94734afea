/// The Lua script that checks a fencing token and writes, embedded in the code.
///
/// It works on Redis 4 or newer and on Valkey. What it takes and answers is told at its head
/// (Sources/Fencing/Redis/Scripts/write.lua).
public struct RedisFenceScript: Sendable, Hashable {
    /// The text, for EVAL or SCRIPT LOAD.
    public let text: String
    /// The SHA-1 by which a server knows it, in 40 hexadecimal digits, for EVALSHA.
    public let hash: String

    /// Checks a token, remembers it, and runs one command.
    public static let write: RedisFenceScript = {
        let sums = String(decoding: PackageResources.SHA1SUMS, as: UTF8.self)
        guard let line = sums.split(separator: "\n").first(where: { $0.hasSuffix(" write") }) else {
            preconditionFailure("no hash of write in SHA1SUMS")
        }
        return RedisFenceScript(
            text: String(decoding: PackageResources.write_lua, as: UTF8.self),
            hash: String(line.prefix(40))
        )
    }()
}

/// What `FencedRedis` needs of a Redis client: running a script.
///
/// With most clients it is one call. `EVAL` is enough; a client that knows `EVALSHA` may use the script's hash, and fall
/// back to its text when the server answers NOSCRIPT.
public protocol RedisScriptRunner: Sendable {
    /// Runs a script: `EVAL text numkeys keys… arguments…`.
    ///
    /// - Parameters:
    ///   - script: What to run.
    ///   - keys: Its keys.
    ///   - arguments: Its arguments, which may be any bytes.
    /// - Returns: The script's answer: a list of bulk strings, as bytes.
    /// - Throws: What the client throws if the server answers with an error or not at all. When no answer came, the script
    ///   may have run: running it again with the same arguments is accepted, and does again what the command does.
    func run(_ script: RedisFenceScript, keys: [String], arguments: [[UInt8]]) async throws -> [[UInt8]]
}
