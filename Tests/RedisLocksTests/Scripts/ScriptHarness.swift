import Foundation
import TestKit
import Testing

@testable import RedisLocks

/// Calls the scripts as an operator would, on a plain connection.
struct ScriptHarness {
    let server: RedisServer
    let key = "dlock:x"

    static func run(
        _ options: RedisServer.Options = RedisServer.Options(),
        _ body: @Sendable (ScriptHarness) async throws -> Void
    ) async throws {
        try await RedisServer.withServer(options) { server in
            // Each call of a script blocks.
            try await awayFromThePool { try await body(ScriptHarness(server: server)) }
        }
    }

    /// An owner of a client; both have one letter.
    static func owner(_ letter: Character, client: Character = "c") -> String {
        String(repeating: letter, count: 27) + ":" + String(repeating: client, count: 16) + ":1:host:"
    }

    static func channel(_ client: Character = "c") -> String { "dlock.push:" + String(repeating: client, count: 16) }

    @discardableResult
    func call(_ script: RedisScript, _ arguments: String...) throws -> RedisAnswer {
        try self.server.command(["EVAL", script.text, "1", self.key] + arguments)
    }

    func acquire(_ owner: String, lease: Int = 30_000) throws -> RedisAnswer {
        try self.call(.acquire, owner, "\(lease)")
    }

    func queue(_ owner: String, lease: Int = 30_000, registration: Int = 6_000, limit: Int = 100) throws -> RedisAnswer
    {
        try self.call(.acquire, owner, "\(lease)", "\(registration)", "\(limit)")
    }

    func touch(_ owner: String, lease: Int = 30_000, registration: Int = 6_000) throws -> RedisAnswer {
        try self.call(.touch, owner, "\(lease)", "\(registration)")
    }

    func release(_ owner: String) throws -> Int64? { try self.call(.release, owner).integer }
    func cancel(_ owner: String) throws -> Int64? { try self.call(.cancel, owner).integer }

    func get(_ key: String) throws -> String? {
        let answer = try self.server.command("GET", key)
        return answer == .null ? nil : answer.string
    }

    var fence: String { "dlock.fence:{\(self.key)}" }
    var queueKey: String { "dlock.queue:{\(self.key)}" }
    var waitersKey: String { "dlock.waiters:{\(self.key)}" }

    /// The holder without its marks.
    func holder() throws -> String? { try self.get(self.key).map { String($0.prefix { $0 != "+" }) } }

    func waiters() throws -> [String] {
        try self.server.command("LRANGE", self.queueKey, "0", "-1").list?.map(\.string) ?? []
    }

    /// Listens on a client's channel while the body runs.
    func listening(
        _ clients: Character...,
        body: (_ next: () throws -> String) throws -> Void
    ) throws {
        try self.server.withConnection { connection in
            for client in clients { _ = try connection.command("SUBSCRIBE", Self.channel(client)) }
            try body {
                guard let message = try connection.answer().list, message.count == 3 else {
                    throw TestKitError("no message")
                }
                return message[2].string
            }
        }
    }

    /// The server's clock, in the units of tokens.
    func ticks() throws -> Int64 {
        let time = try self.server.command("TIME").list?.map(\.string) ?? []
        let seconds = try #require(Int64(time[0]))
        let microseconds = try #require(Int64(time[1]))
        return (seconds - 1_735_689_600) * 62_500 + microseconds / 16
    }
}
