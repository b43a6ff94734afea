import Foundation
import TestKit
import Testing

@testable import RedisLocks

/// Scripts in a server, some of them with a change that a test has to find.
struct LoadedScripts {
    /// A line or part of it that is replaced in one script.
    struct Mutant: Sendable, CustomTestStringConvertible {
        let script: String
        let text: String
        let replacement: String

        init(_ script: String, _ text: String, _ replacement: String) {
            self.script = script
            self.text = text
            self.replacement = replacement
        }

        var testDescription: String { "\(self.script): '\(self.text)' -> '\(self.replacement)'" }
    }

    private let hashes: [String: String]

    init(_ scripts: [RedisScript], _ mutant: Mutant? = nil, on connection: PlainRedisConnection) throws {
        var hashes: [String: String] = [:]
        for script in scripts {
            var text = script.text
            if let mutant, mutant.script == script.name {
                guard text.contains(mutant.text) else {
                    throw TestKitError("'\(mutant.text)' is not in \(script.name)")
                }
                text = text.replacing(mutant.text, with: mutant.replacement)
            }
            hashes[script.name] = try connection.command("SCRIPT", "LOAD", text).string
        }
        self.hashes = hashes
    }

    func call(
        _ script: String, key: String, _ arguments: [String], on connection: PlainRedisConnection
    ) throws -> RedisAnswer {
        try connection.command(["EVALSHA", self.hashes[script] ?? "", "1", key] + arguments)
    }
}

/// What a random sequence did wrong.
struct Violation: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// How long random sequences are: a few seconds' worth, or what `DLOCK_RANDOM_STEPS` says; from a seed that is drawn, or is
/// `DLOCK_RANDOM_SEED`.
enum RandomSequences {
    private static func number<Number: FixedWidthInteger>(_ variable: String) -> Number? {
        ProcessInfo.processInfo.environment[variable].flatMap { Number($0) }
    }

    static var steps: Int { self.number("DLOCK_RANDOM_STEPS") ?? 3_000 }
    static var seed: UInt64 { self.number("DLOCK_RANDOM_SEED") ?? .random(in: 0 ... .max) }
}

/// Everything that one master keeps of a lock.
struct StoredLock {
    var holder: String?
    var lease: Int64
    var fence: String?
    var fenceLife: Int64
    var queue: [String]
    var queueLife: Int64
    var registrations: [String: String]
    var registrationsLife: Int64
    var milliseconds: Int64
    /// The server's clock, in the units of tokens.
    var ticks: Int64

    private static let script = """
        local k = KEYS[1]
        local time = redis.call('TIME')
        local q, w, f = 'dlock.queue:{' .. k .. '}', 'dlock.waiters:{' .. k .. '}', 'dlock.fence:{' .. k .. '}'
        return {
            redis.call('GET', k), redis.call('PTTL', k), redis.call('GET', f), redis.call('PTTL', f),
            redis.call('LRANGE', q, 0, -1), redis.call('PTTL', q), redis.call('HGETALL', w), redis.call('PTTL', w),
            time[1] * 1000 + math.floor(time[2] / 1000),
            (time[1] - 1735689600) * 62500 + math.floor(time[2] / 16),
        }
        """

    init(key: String, on connection: PlainRedisConnection) throws {
        guard let parts = try connection.command("EVAL", Self.script, "1", key).list, parts.count == 10 else {
            throw TestKitError("no answer")
        }
        func text(_ answer: RedisAnswer) -> String? { answer == .null ? nil : answer.string }
        self.holder = text(parts[0])
        self.lease = parts[1].integer ?? 0
        self.fence = text(parts[2])
        self.fenceLife = parts[3].integer ?? 0
        self.queue = parts[4].list?.map(\.string) ?? []
        self.queueLife = parts[5].integer ?? 0
        let pairs = parts[6].list?.map(\.string) ?? []
        self.registrations = [:]
        for index in stride(from: 0, to: pairs.count - 1, by: 2) { self.registrations[pairs[index]] = pairs[index + 1] }
        self.registrationsLife = parts[7].integer ?? 0
        self.milliseconds = parts[8].integer ?? 0
        self.ticks = parts[9].integer ?? 0
    }

    /// The holder without its marks.
    var owner: String? { self.holder.map { String($0.prefix { $0 != "+" }) } }
    var isMarked: Bool { self.holder?.dropFirst(45).contains("+q") ?? false }
    var token: Int64 { self.fence.flatMap { Int64($0.prefix { $0.isNumber }) } ?? 0 }

    func isRegistered(_ owner: String) -> Bool {
        guard let entry = self.registrations[owner], let end = Int64(entry.prefix(13)) else { return false }
        return end >= self.milliseconds
    }

    /// Keys that would stay, or that would not last.
    func checkLives(lease: Int64) throws(Violation) {
        let day: Int64 = 86_400_000
        if self.holder != nil, !(1...lease).contains(self.lease) { throw Violation("the lock lives \(self.lease) ms") }
        if self.fence != nil, self.fenceLife < day - 3_600_000 {
            throw Violation("the fence lives \(self.fenceLife) ms")
        }
        if !self.queue.isEmpty, !(day - 3_600_000...day).contains(self.queueLife) {
            throw Violation("the queue lives \(self.queueLife) ms")
        }
        if !self.registrations.isEmpty, !(day - 3_600_000...day).contains(self.registrationsLife) {
            throw Violation("the registrations live \(self.registrationsLife) ms")
        }
    }
}
