import CSimulator

/// Runs the shipped scripts as a Redis does, in a real Lua 5.1.
final class LuaRuntime {
    struct Missing: Error, CustomStringConvertible {
        let description: String
    }

    private static let call: csim_lua_call = { context, state, isProtected in
        guard let context, let state else { return 0 }
        return Unmanaged<LuaRuntime>.fromOpaque(context).takeUnretainedValue().called(state, isProtected: isProtected)
    }

    private let lua: csim_lua
    private var state: OpaquePointer!
    private var loaded: Set<String> = []
    /// Carries out a command of a script.
    private let execute: ([Bytes]) -> ServerReply

    init(execute: @escaping ([Bytes]) -> ServerReply) throws(Missing) {
        var reason: UnsafePointer<CChar>?
        guard let lua = csim_lua_load(&reason) else {
            throw Missing(description: reason.map { String(cString: $0) } ?? "no Lua 5.1")
        }
        self.lua = lua.pointee
        self.execute = execute
        self.state = csim_lua_open(Unmanaged.passUnretained(self).toOpaque(), Self.call)
    }

    deinit { self.lua.close(self.state) }

    func forgetScripts() { self.loaded = [] }

    func knows(_ hash: String) -> Bool { self.loaded.contains(hash) }

    /// - Returns: what is wrong with it.
    func load(_ text: Bytes, as hash: String) -> String? {
        guard !self.loaded.contains(hash) else { return nil }
        let result = text.withUnsafeBytes { bytes in
            self.lua.loadbuffer(
                self.state, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count, "@user_script")
        }
        guard result == 0 else {
            defer { self.lua.settop(self.state, -2) }
            return "ERR Error compiling script (new function): \(String(decoding: self.string(-1), as: UTF8.self))"
        }
        self.lua.setfield(self.state, Lua.registry, hash)
        self.loaded.insert(hash)
        return nil
    }

    func run(_ hash: String, keys: [Bytes], arguments: [Bytes]) -> ServerReply {
        for (name, values) in [("KEYS", keys), ("ARGV", arguments)] {
            self.lua.createtable(self.state, Int32(values.count), 0)
            for (index, value) in values.enumerated() {
                self.push(value)
                self.lua.rawseti(self.state, -2, Int32(index + 1))
            }
            self.lua.setfield(self.state, Lua.globals, name)
        }
        self.lua.getfield(self.state, Lua.registry, hash)
        let result = self.lua.pcall(self.state, 0, 1, 0)
        defer { self.lua.settop(self.state, -2) }
        if result == 0 { return self.reply(at: -1) }
        // An error of redis.call is a table with its text; any other is a text of Lua's.
        if self.lua.type(self.state, -1) == Lua.table { return self.reply(at: -1) }
        return .error("ERR \(String(decoding: self.string(-1), as: UTF8.self)) script: \(hash)")
    }

    // MARK: Values

    private func string(_ index: Int32) -> Bytes {
        var length = 0
        guard let text = self.lua.tolstring(self.state, index, &length) else { return [] }
        return Bytes(UnsafeRawBufferPointer(start: text, count: length))
    }

    private func push(_ bytes: Bytes) {
        bytes.withUnsafeBytes { bytes in
            let start = bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
            if let start {
                self.lua.pushlstring(self.state, start, bytes.count)
            } else {
                "".withCString { self.lua.pushlstring(self.state, $0, 0) }
            }
        }
    }

    private func push(_ reply: ServerReply) {
        switch reply {
        case .integer(let number): self.lua.pushnumber(self.state, Double(number))
        case .bulk(let bytes): self.push(bytes)
        case .null: self.lua.pushboolean(self.state, 0)
        case .status(let text): self.pushTable("ok", text)
        case .error(let text): self.pushTable("err", text)
        case .array(let elements):
            self.lua.createtable(self.state, Int32(elements.count), 0)
            for (index, element) in elements.enumerated() {
                self.push(element)
                self.lua.rawseti(self.state, -2, Int32(index + 1))
            }
        case .map, .push: preconditionFailure("no command of a script answers that")
        }
    }

    private func pushTable(_ field: String, _ text: String) {
        self.lua.createtable(self.state, 0, 1)
        self.push(Bytes(text.utf8))
        self.lua.setfield(self.state, -2, field)
    }

    private func reply(at index: Int32) -> ServerReply {
        switch self.lua.type(self.state, index) {
        case Lua.string: return .bulk(self.string(index))
        case Lua.number: return .integer(Int64(self.lua.tonumber(self.state, index)))
        case Lua.boolean: return self.lua.toboolean(self.state, index) == 0 ? .null : .integer(1)
        case Lua.table: return self.tableReply(at: index)
        case _: return .null
        }
    }

    private func tableReply(at index: Int32) -> ServerReply {
        for field in ["err", "ok"] {
            self.lua.getfield(self.state, index, field)
            defer { self.lua.settop(self.state, -2) }
            guard self.lua.type(self.state, -1) == Lua.string else { continue }
            let text = String(decoding: self.string(-1), as: UTF8.self)
            return field == "ok" ? .status(text) : .error(text)
        }
        var elements: [ServerReply] = []
        while true {
            self.lua.rawgeti(self.state, index, Int32(elements.count + 1))
            defer { self.lua.settop(self.state, -2) }
            guard self.lua.type(self.state, -1) != Lua.null else { return .array(elements) }
            elements.append(self.reply(at: -1))
        }
    }

    // MARK: Calls of scripts

    private func called(_ state: OpaquePointer, isProtected: Bool) -> Int32 {
        // A coroutine would have a state of its own; the scripts have none.
        precondition(state == self.state)
        let count = self.lua.gettop(state)
        let words = (1...count).map { index in
            self.lua.type(state, index) == Lua.number
                ? Self.text(self.lua.tonumber(state, index)) : self.string(index)
        }
        _ = self.lua.checkstack(state, 8)
        let reply = self.execute(words)
        self.push(reply)
        if case .error = reply, !isProtected { return -1 }
        return 1
    }

    /// As Redis turns a number into an argument: `%.17g`, which for whole numbers is their digits.
    private static func text(_ number: Double) -> Bytes {
        if let whole = Int64(exactly: number) { return Bytes("\(whole)".utf8) }
        preconditionFailure("a number with a fraction as an argument is not simulated: \(number)")
    }
}

/// Constants of C, as its functions take them.
private enum Lua {
    static let globals = Int32(CSIM_LUA_GLOBALS)
    static let registry = Int32(CSIM_LUA_REGISTRY)
    static let null = Int32(CSIM_LUA_NIL)
    static let boolean = Int32(CSIM_LUA_BOOLEAN)
    static let number = Int32(CSIM_LUA_NUMBER)
    static let string = Int32(CSIM_LUA_STRING)
    static let table = Int32(CSIM_LUA_TABLE)
}
