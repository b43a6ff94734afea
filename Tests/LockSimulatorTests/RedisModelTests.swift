import TestKit
import Testing

@testable import LockSimulator

/// The simulated Redis against a real one: the same commands, the same answers.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(5))) struct RedisModelTests {
    private struct Commands {
        var generator: SeededGenerator

        private mutating func pick<Element>(_ elements: [Element]) -> Element {
            elements[Int.random(in: 0..<elements.count, using: &self.generator)]
        }

        private mutating func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self.generator) }

        private static let script = """
            local answer = redis.pcall(unpack(ARGV))
            if type(answer) == 'table' and answer.err then return redis.error_reply(answer.err) end
            return { KEYS[1], 7.9, true, false, answer, #ARGV }
            """
        private static let failing = "return { redis.call(unpack(ARGV)), 'done' }"

        mutating func next() -> [String] {
            let command = self.plain()
            switch self.number(0...9) {
            case 0: return ["EVAL", Self.script, "1", "key"] + command
            case 1: return ["EVAL", Self.failing, "0"] + command
            case _: return command
            }
        }

        private mutating func plain() -> [String] {
            let key = self.pick(["a", "b", "c", "d"])
            func value() -> String { self.pick(["x", "y", "ünï", "12", ""]) }
            func end() -> String { self.pick(["100000", "900000"]) }
            switch self.number(0...20) {
            case 0: return ["GET", key]
            case 1: return ["SET", key, value()]
            case 2: return ["SET", key, value(), "PX", end()]
            case 3: return ["SET", key, value(), "NX", "GET", "PX", end()]
            case 4: return ["SET", key, value(), "NX"]
            case 5: return ["SET", key, value(), "KEEPTTL", "GET"]
            case 6: return ["APPEND", key, value()]
            case 7: return ["EXISTS", key]
            case 8: return ["DEL", key, self.pick(["a", "b"])]
            case 9: return ["TYPE", key]
            case 10: return ["PTTL", key]
            case 11: return ["PEXPIRE", key, self.pick(["0", "100000", "-5"])]
            case 12: return ["HSET", key, value(), value(), value(), "z"]
            case 13: return ["HGET", key, value()]
            case 14: return ["HDEL", key, value(), value()]
            case 15: return [self.pick(["RPUSH", "LPUSH"]), key, value(), value()]
            case 16: return ["LRANGE", key, "\(self.number(-3...3))", "\(self.number(-3...3))"]
            case 17: return self.number(0...1) == 0 ? ["LPOP", key] : ["LPOP", key, "\(self.number(1...3))"]
            case 18: return ["LREM", key, "1", value()]
            case 19: return ["LPOS", key, value()]
            case _: return ["LLEN", key]
            }
        }
    }

    /// As it is told in RESP2.
    private func plain(_ reply: ServerReply) -> RedisAnswer {
        switch reply {
        case .status(let text): .text(text)
        case .error(let text): .error(text)
        case .integer(let number): .integer(number)
        case .bulk(let bytes): .text(String(decoding: bytes, as: UTF8.self))
        case .null: .null
        case .array(let elements): .list(elements.map { self.plain($0) })
        case .map, .push: .error("not in RESP2")
        }
    }

    /// Of an error its code, and of a time that is left its seconds: a real server takes time, and adds where in a script it was.
    private func comparable(_ answer: RedisAnswer) -> RedisAnswer {
        switch answer {
        case .error(let text): .error(String(text.prefix { $0 != " " }))
        case .integer(let number) where number > 1_000: .integer((number + 50_000) / 100_000 * 100_000)
        case .list(let elements): .list(elements.map { self.comparable($0) })
        case .text, .integer, .null: answer
        }
    }

    @Test(arguments: 1...4 as ClosedRange<UInt64>)
    func `random commands and scripts are answered as by a real server`(seed: UInt64) async throws {
        try await RedisServer.withServer { server in
            let difference = try await onThread { try self.difference(seed: seed, steps: 5_000, port: server.port) }
            #expect(difference == nil)
        }
    }

    private func difference(seed: UInt64, steps: Int, port: Int) throws -> String? {
        let connection = try PlainRedisConnection(port: port)
        defer { connection.close() }
        let model = try RedisData()
        var commands = Commands(generator: SeededGenerator(seed: seed))
        // Some later: the model's time passes with each step, the server's by itself.
        model.keyspace.now = 1_780_000_000_000_000
        for step in 0..<steps {
            let command = commands.next()
            let expected = self.comparable(try connection.command(command))
            model.keyspace.now += 10
            let words = command.map { Bytes($0.utf8) }
            let found = model.execute(words).map { self.comparable(self.plain($0)) }
            guard found == expected else { return "step \(step), \(command): \(found as Any) instead of \(expected)" }
        }
        return nil
    }

    @Test func `a script's hash is the server's`() async throws {
        try await RedisServer.withServer { server in
            for text in ["return 1", "", String(repeating: "-- long\n", count: 100)] {
                let hash = try server.command("SCRIPT", "LOAD", text).string
                #expect(hash == SHA1.hex(Bytes(text.utf8)))
            }
        }
    }
}
