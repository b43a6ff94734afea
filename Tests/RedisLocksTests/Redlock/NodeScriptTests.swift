import Foundation
import NIOCore
import TestKit
import Testing

@testable import RedisLocks

/// How the script changes the policy of an instance, called as an operator would.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(1)))
struct NodeScriptTests {
    private static let first = "abc 3 2 60000 10000"
    private static let second = "abc/2/abcd,abc 4 3 60000 10000"
    private static let third = "abc/3/abd,abcd,abc 3 2 60000 10000"

    struct Node {
        let server: RedisServer

        /// - Parameters:
        ///   - run: of the server.
        ///   - others: what a change says besides.
        @discardableResult
        func call(_ mode: String, _ policy: String, _ others: String..., run: String = "abc") throws
            -> InstanceNodeReply
        {
            let answer = try self.server.command(
                ["EVAL", RedisScript.instanceNode.text, "1", "dlock.node", run, policy, "60602", "625000", mode]
                    + others)
            let list = try #require(answer.list, "\(answer)")
            return try #require(
                InstanceNodeReply(
                    .array([
                        .bulkString(.init(string: list[0].string)), .bulkString(.init(string: list[1].string)),
                        .integer(list[2].integer ?? -1), .integer(list[3].integer ?? -1),
                    ])))
        }
    }

    private static func run(_ body: (Node) throws -> Void) async throws {
        try await RedisServer.withServer { server in try body(Node(server: server)) }
    }

    @Test func `a member goes on with the next generation: it is not closed, and knows since when it has it`()
        async throws
    {
        try await Self.run { node in
            let before = try node.call("init", Self.first)
            #expect(before.hasHadPolicyFor == nil)
            let after = try node.call("step", Self.second, Self.first, "\(before.floor + 5)")
            #expect(after.policy == Self.second && after.opensIn == .zero)
            #expect(after.floor == before.floor + 5)
            let age = try #require(after.hasHadPolicyFor)
            #expect((.zero...Duration.milliseconds(4)).contains(age + .milliseconds(2)))
            // The same again changes nothing, and a floor is never lowered.
            #expect(try node.call("step", Self.second, Self.first, "1").node == after.node)
            #expect(try node.call("step", Self.third, Self.second, "1").floor == after.floor)
        }
    }

    @Test(arguments: ["step", "join", "remove"])
    func `nothing is changed where something else stands than is expected`(mode: String) async throws {
        try await Self.run { node in
            #expect(try node.call(mode, Self.second, Self.first, "1").node == "")
            let before = try node.call("init", Self.first)
            #expect(try node.call(mode, Self.third, Self.second, "1").node == before.node)
            #expect(try node.call(mode, Self.third, "", "1").node == before.node)
            #expect(try node.call("adopt", Self.second).node == before.node)
        }
    }

    @Test func `one that has restarted is closed by a change as by anything else`() async throws {
        try await Self.run { node in
            try node.call("init", Self.first)
            let after = try node.call("step", Self.second, Self.first, "1", run: "def")
            #expect(after.policy == Self.second && after.opensIn > .seconds(60))
            // That it has had its policy for a while is not forgotten.
            let later = try node.call("check", Self.second, run: "123")
            #expect(later.opensIn > .seconds(60) && later.hasHadPolicyFor != nil)
        }
    }

    @Test func `a new member is open at once, and only once`() async throws {
        try await Self.run { node in
            let after = try node.call("join", Self.second, "", "77")
            #expect(after.policy == Self.second && after.opensIn == .zero && after.floor == 77)
            // By then it may have granted something.
            #expect(try node.call("join", Self.second, "", "77", run: "def").opensIn > .seconds(60))
        }
    }

    @Test func `a removed one stays removed, also when it restarts, until it is added again`() async throws {
        try await Self.run { node in
            try node.call("init", Self.first)
            try node.call("remove", Self.second, Self.first, "1")
            for run in ["abc", "def"] {
                let after = try node.call("check", Self.second, run: run)
                #expect(after.isRemoved && after.policy == Self.second && after.opensIn == .zero)
            }
            for mode in ["check", "adopt", "init"] { #expect(try node.call(mode, Self.first).isRemoved) }
            let again = try node.call("join", Self.third, Self.second, "1", run: "def")
            #expect(!again.isRemoved && again.opensIn == .zero && again.policy == Self.third)
        }
    }

    @Test func `one that was removed by a change that did not come about is closed when it is taken back`() async throws
    {
        try await Self.run { node in
            try node.call("init", Self.first)
            // It has restarted, and is closed; that it was is forgotten by then.
            let closed = try node.call("check", Self.first, run: "def")
            #expect(closed.opensIn > .seconds(60))
            try node.call("remove", "abc/2/bcd,abc 3 2 60000 10000", Self.first, "1", run: "def")
            let back = try node.call("step", Self.second, "abc/2/bcd,abc 3 2 60000 10000", "1", run: "def")
            #expect(back.policy == Self.second && !back.isRemoved && back.opensIn > .seconds(60))
            #expect(back.floor >= closed.floor)
        }
    }

    @Test func `after a shorter lease the time for the next change begins later`() async throws {
        try await Self.run { node in
            try node.call("init", Self.first)
            let after = try node.call("step", Self.second, Self.first, "1", "30000")
            let age = try #require(after.hasHadPolicyFor)
            #expect((.seconds(-31)...(.milliseconds(-29_990))).contains(age))
        }
    }

    @Test func `one that was removed renews nothing, also by the policy that removed it`() async throws {
        try await Self.run { node in
            let first = try node.call("init", Self.first)
            let owner = ScriptHarness.owner("a")
            func renew(_ policy: String) throws -> Int64? {
                try node.server.command([
                    "EVAL", RedisScript.instanceRenew.text, "1", "dlock:x", owner, "30000", policy,
                ]).integer
            }
            let acquired = try node.server.command([
                "EVAL", RedisScript.instanceAcquire.text, "1", "dlock:x", owner, "\(first.floor + 1)", "9000",
                first.node,
            ])
            #expect(acquired.integer == 1)
            #expect(try renew(Self.first) == 1)
            try node.call("remove", Self.second, Self.first, "1")
            #expect(try renew(Self.second) == -9)
            try node.call("join", Self.third, Self.second, "1")
            #expect(try renew(Self.third) == 1)
        }
    }

    @Test func `a renewal by an earlier generation is refused, and changes nothing`() async throws {
        try await Self.run { node in
            let first = try node.call("init", Self.first)
            let owner = ScriptHarness.owner("a")
            let server = node.server
            func renew(_ policy: String?) throws -> Int64? {
                try server.command(
                    ["EVAL", RedisScript.instanceRenew.text, "1", "dlock:x", owner, "30000"]
                        + (policy.map { [$0] } ?? [])
                ).integer
            }
            let acquired = try server.command([
                "EVAL", RedisScript.instanceAcquire.text, "1", "dlock:x", owner, "\(first.floor + 1)", "9000",
                first.node,
            ])
            #expect(acquired.integer == 1)
            #expect(try renew(Self.second) == -9)
            #expect(try server.command("PTTL", "dlock:x").integer ?? 0 <= 9_000)
            #expect(try renew(Self.first) == 1)
            try node.call("step", Self.second, Self.first, "1")
            #expect(try renew(Self.first) == -9)
            #expect(try renew(Self.second) == 1)
            // Versions without generations do not say.
            #expect(try renew(nil) == 1)
            try server.command("DEL", "dlock.node")
            #expect(try renew(Self.second) == -9)
            try server.command("DEL", "dlock:x")
            #expect(try renew(Self.second) == 0)
        }
    }
}
