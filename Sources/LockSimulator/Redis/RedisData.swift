/// What a Redis does with its data, and by scripts: everything but its connections and its life.
final class RedisData {
    var keyspace = RedisKeyspace()
    private var lua: LuaRuntime!
    /// With this it refuses all commands that write.
    var refusal: String?
    /// Sends a message to whoever has subscribed to a channel, and tells how many those are.
    var publish: (_ channel: Bytes, _ message: Bytes) -> Int64 = { _, _ in 0 }
    /// Something was written.
    var changed: () -> Void = {}

    init() throws { self.lua = try LuaRuntime { [unowned self] in self.executeInScript($0) } }

    /// As by a restart.
    func forgetScripts() { self.lua.forgetScripts() }

    /// `nil`: there is no such command here.
    func execute(_ words: [Bytes]) -> ServerReply? {
        let name = String(decoding: words[0], as: UTF8.self).uppercased()
        switch name {
        case "SCRIPT":
            guard words.count == 3, String(decoding: words[1], as: UTF8.self).uppercased() == "LOAD" else { return nil }
            let hash = SHA1.hex(words[2])
            return self.lua.load(words[2], as: hash).map { .error($0) } ?? .bulk(hash)
        case "EVALSHA":
            let hash = String(decoding: words[1], as: UTF8.self)
            guard self.lua.knows(hash) else { return .error("NOSCRIPT No matching script. Please use EVAL.") }
            return self.run(hash, words)
        case "EVAL":
            let hash = SHA1.hex(words[1])
            if let problem = self.lua.load(words[1], as: hash) { return .error(problem) }
            return self.run(hash, words)
        case _: return self.onData(name, words)
        }
    }

    private func run(_ hash: String, _ words: [Bytes]) -> ServerReply {
        let count = Int(String(decoding: words[2], as: UTF8.self)) ?? 0
        return self.lua.run(hash, keys: Array(words[3..<3 + count]), arguments: Array(words[(3 + count)...]))
    }

    private func executeInScript(_ words: [Bytes]) -> ServerReply {
        let name = String(decoding: words[0], as: UTF8.self).uppercased()
        if name == "PUBLISH" { return .integer(self.publish(words[1], words[2])) }
        guard let reply = self.onData(name, words) else { preconditionFailure("\(name) in a script is not simulated") }
        return reply
    }

    private func onData(_ name: String, _ words: [Bytes]) -> ServerReply? {
        let writes = RedisKeyspace.writingCommands.contains(name)
        if writes, let refusal { return .error(refusal) }
        let reply = self.keyspace.execute(name, words)
        if writes { self.changed() }
        return reply
    }
}
