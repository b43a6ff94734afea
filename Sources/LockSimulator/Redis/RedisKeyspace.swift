/// The data of a simulated Redis, and the commands on it that the shipped scripts and clients call. Any other is a mistake of whoever
/// runs the simulator, and ends it: nothing is guessed.
struct RedisKeyspace {
    private enum Value {
        case string(Bytes)
        case list([Bytes])
        case hash([Bytes: Bytes])

        var type: String {
            switch self {
            case .string: "string"
            case .list: "list"
            case .hash: "hash"
            }
        }
    }

    private struct Entry {
        var value: Value
        /// Milliseconds since 1970.
        var expiresAt: Int64?
    }

    private var entries: [Bytes: Entry] = [:]
    /// Microseconds since 1970. Stands still while a script runs.
    var now: Int64 = 0

    private var milliseconds: Int64 { self.now / 1_000 }

    /// Keys that are there, in order.
    mutating func keys() -> [Bytes] {
        for key in Array(self.entries.keys) { self.expire(key) }
        return self.entries.keys.sorted { $0.lexicographicallyPrecedes($1) }
    }

    /// The fields and values of a hash, in the order of the fields.
    func fields(of key: Bytes) -> [(field: Bytes, value: Bytes)] {
        guard case .hash(let hash)? = self.entries[key]?.value else { return [] }
        return hash.map { ($0.key, $0.value) }.sorted { $0.0.lexicographicallyPrecedes($1.0) }
    }

    private static let wrongType = ServerReply.error(
        "WRONGTYPE Operation against a key holding the wrong kind of value")

    static let writingCommands: Set<String> = [
        "SET", "APPEND", "DEL", "HSET", "HDEL", "LPUSH", "RPUSH", "LPOP", "LREM", "PEXPIRE", "FLUSHALL",
    ]

    /// What a server may do that has no memory left (the others have the flag `denyoom`).
    static let allowedWithoutMemory: Set<String> = ["DEL", "HDEL", "LPOP", "LREM", "PEXPIRE", "FLUSHALL"]

    private mutating func expire(_ key: Bytes) {
        if let end = self.entries[key]?.expiresAt, end <= self.milliseconds { self.entries[key] = nil }
    }

    private mutating func string(_ key: Bytes) throws(Refused) -> Bytes? {
        switch self.entries[key]?.value {
        case .string(let bytes): return bytes
        case nil: return nil
        case .list, .hash: throw Refused()
        }
    }

    private mutating func list(_ key: Bytes) throws(Refused) -> [Bytes] {
        switch self.entries[key]?.value {
        case .list(let list): return list
        case nil: return []
        case .string, .hash: throw Refused()
        }
    }

    private mutating func hash(_ key: Bytes) throws(Refused) -> [Bytes: Bytes] {
        switch self.entries[key]?.value {
        case .hash(let hash): return hash
        case nil: return [:]
        case .string, .list: throw Refused()
        }
    }

    private mutating func put(_ value: Value, at key: Bytes) {
        let isEmpty =
            switch value {
            case .string: false
            case .list(let list): list.isEmpty
            case .hash(let hash): hash.isEmpty
            }
        if isEmpty {
            self.entries[key] = nil
        } else if self.entries[key] != nil {
            self.entries[key]?.value = value
        } else {
            self.entries[key] = Entry(value: value)
        }
    }

    private struct Refused: Error {}

    /// `nil`: this command is none of the data.
    mutating func execute(_ name: String, _ words: [Bytes]) -> ServerReply? {
        if words.count > 1 { self.expire(words[1]) }
        do throws(Refused) {
            return try self.carryOut(name, words)
        } catch {
            return Self.wrongType
        }
    }

    private mutating func carryOut(_ name: String, _ words: [Bytes]) throws(Refused) -> ServerReply? {
        let key = words.count > 1 ? words[1] : []
        switch name {
        case "GET": return try self.string(key).map { .bulk($0) } ?? .null
        case "SET": return try self.set(words)
        case "APPEND":
            let bytes = (try self.string(key) ?? []) + words[2]
            self.put(.string(bytes), at: key)
            return .integer(Int64(bytes.count))
        case "EXISTS": return .integer(self.entries[key] == nil ? 0 : 1)
        case "DEL":
            var count: Int64 = 0
            for key in words.dropFirst() {
                self.expire(key)
                if self.entries.removeValue(forKey: key) != nil { count += 1 }
            }
            return .integer(count)
        case "TYPE": return .status(self.entries[key]?.value.type ?? "none")
        case "PTTL":
            guard let entry = self.entries[key] else { return .integer(-2) }
            return .integer(entry.expiresAt.map { $0 - self.milliseconds } ?? -1)
        case "PEXPIRE":
            guard self.entries[key] != nil else { return .integer(0) }
            let end = self.milliseconds + Self.number(words[2])
            self.entries[key]?.expiresAt = end
            self.expire(key)
            return .integer(1)
        case "TIME":
            return .array([.bulk("\(self.now / 1_000_000)"), .bulk("\(self.now % 1_000_000)")])
        case "HGET": return try self.hash(key)[words[2]].map { .bulk($0) } ?? .null
        case "HSET":
            var hash = try self.hash(key)
            var count: Int64 = 0
            for index in stride(from: 2, to: words.count, by: 2) {
                if hash.updateValue(words[index + 1], forKey: words[index]) == nil { count += 1 }
            }
            self.put(.hash(hash), at: key)
            return .integer(count)
        case "HDEL":
            var hash = try self.hash(key)
            let count = words.dropFirst(2).count { hash.removeValue(forKey: $0) != nil }
            self.put(.hash(hash), at: key)
            return .integer(Int64(count))
        case "LLEN", "LPOS", "LRANGE", "RPUSH", "LPUSH", "LPOP", "LREM": return try self.listCommand(name, words)
        case "FLUSHALL":
            self.entries = [:]
            return .status("OK")
        case _: return nil
        }
    }

    private mutating func set(_ words: [Bytes]) throws(Refused) -> ServerReply {
        var options = words.dropFirst(3).map { String(decoding: $0, as: UTF8.self).uppercased() }[...]
        var (isNew, returns, keepsEnd, expiresAt): (Bool, Bool, Bool, Int64?) = (false, false, false, nil)
        while let option = options.popFirst() {
            switch option {
            case "NX": isNew = true
            case "GET": returns = true
            case "KEEPTTL": keepsEnd = true
            case "PX": expiresAt = self.milliseconds + (options.popFirst().flatMap { Int64($0) } ?? 0)
            case _: preconditionFailure("SET \(option) is not simulated")
            }
        }
        let old = returns ? try self.string(words[1]) : nil
        let isThere = self.entries[words[1]] != nil
        if keepsEnd { expiresAt = self.entries[words[1]]?.expiresAt }
        if !isNew || !isThere { self.entries[words[1]] = Entry(value: .string(words[2]), expiresAt: expiresAt) }
        if returns { return old.map { .bulk($0) } ?? .null }
        return isNew && isThere ? .null : .status("OK")
    }

    private mutating func listCommand(_ name: String, _ words: [Bytes]) throws(Refused) -> ServerReply {
        var list = try self.list(words[1])
        defer { self.put(.list(list), at: words[1]) }
        switch name {
        case "LLEN": return .integer(Int64(list.count))
        case "LPOS": return list.firstIndex(of: words[2]).map { .integer(Int64($0)) } ?? .null
        case "LRANGE":
            func place(_ word: Bytes) -> Int {
                let number = Int(Self.number(word))
                return number < 0 ? list.count + number : number
            }
            let (first, last) = (max(place(words[2]), 0), min(place(words[3]), list.count - 1))
            return .array(first <= last ? list[first...last].map { .bulk($0) } : [])
        case "RPUSH":
            list += words.dropFirst(2)
            return .integer(Int64(list.count))
        case "LPUSH":
            for word in words.dropFirst(2) { list.insert(word, at: 0) }
            return .integer(Int64(list.count))
        case "LPOP":
            if words.count == 2 { return list.isEmpty ? .null : .bulk(list.removeFirst()) }
            guard !list.isEmpty else { return .null }
            let count = min(Int(Self.number(words[2])), list.count)
            let taken = list.prefix(count).map { ServerReply.bulk($0) }
            list.removeFirst(count)
            return .array(taken)
        case "LREM":
            precondition(Self.number(words[2]) == 1, "LREM of more than one is not simulated")
            guard let index = list.firstIndex(of: words[3]) else { return .integer(0) }
            list.remove(at: index)
            return .integer(1)
        case _: preconditionFailure("\(name) is no command on lists")
        }
    }

    private static func number(_ word: Bytes) -> Int64 {
        guard let number = Int64(String(decoding: word, as: UTF8.self)) else {
            preconditionFailure("'\(String(decoding: word, as: UTF8.self))' is no number")
        }
        return number
    }
}
