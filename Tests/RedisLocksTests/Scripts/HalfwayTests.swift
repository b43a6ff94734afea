import Foundation
import TestKit
import Testing

@testable import RedisLocks

/// A script that fails leaves no lock that nobody holds, and loses no waiter.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(2)))
struct HalfwayTests {
    private static let a = ScriptHarness.owner("A")
    private static let b = ScriptHarness.owner("B")
    private static let d = ScriptHarness.owner("D", client: "e")

    enum Side: String, CaseIterable, Sendable { case fence, queue, waiters }

    /// What cannot be used: a key of another type, or one that this user has no right to; or the channels.
    enum Trouble: Sendable, CaseIterable, CustomTestStringConvertible {
        case fenceOfAnotherType, queueOfAnotherType, waitersOfAnotherType
        case noRightToFence, noRightToQueue, noRightToWaiters, noRightToChannels

        var testDescription: String { "\(self)" }

        var side: Side? {
            switch self {
            case .fenceOfAnotherType, .noRightToFence: .fence
            case .queueOfAnotherType, .noRightToQueue: .queue
            case .waitersOfAnotherType, .noRightToWaiters: .waiters
            case .noRightToChannels: nil
            }
        }

        var isOfType: Bool {
            switch self {
            case .fenceOfAnotherType, .queueOfAnotherType, .waitersOfAnotherType: true
            case .noRightToFence, .noRightToQueue, .noRightToWaiters, .noRightToChannels: false
            }
        }

        func begin(_ redis: ScriptHarness) throws {
            let keys = [Side.fence: redis.fence, .queue: redis.queueKey, .waiters: redis.waitersKey]
            if self.isOfType, let side {
                _ = try redis.server.command("DEL", keys[side]!)
                _ = try redis.server.command(side == .queue ? ["SET", keys[side]!, "x"] : ["RPUSH", keys[side]!, "x"])
                return
            }
            var rules = ["ACL", "SETUSER", "poor", "on", "nopass", "resetkeys", "resetchannels", "+@all", "~dlock:*"]
            for other in Side.allCases where other != self.side { rules.append("~dlock.\(other.rawValue):*") }
            if self != .noRightToChannels { rules.append("&*") }
            #expect(try redis.server.command(rules) == .text("OK"))
        }
    }

    private enum Start: CaseIterable { case free, held, waitedFor, diedAndWaitedFor }

    private static func start(_ redis: ScriptHarness, _ start: Start) throws {
        _ = try redis.server.command("FLUSHALL")
        if start == .free { return }
        _ = try redis.acquire(Self.a)
        if start == .held { return }
        _ = try redis.queue(Self.b)
        if start == .diedAndWaitedFor { _ = try redis.server.command("DEL", redis.key) }
    }

    private static let calls: [(RedisScript, [String])] = [
        (.acquire, [Self.d, "30000"]), (.acquire, [Self.d, "30000", "6000", "100"]),
        (.acquire, [Self.a, "30000", "6000", "100"]), (.touch, [Self.b, "30000", "6000"]), (.release, [Self.a]),
        (.cancel, [Self.a]), (.cancel, [Self.b]), (.renew, [Self.a, "30000"]), (.break, ["0"]), (.break, ["1"]),
    ]

    @Test(arguments: Trouble.allCases)
    func `an error of one master's scripts leaves no key behind and drops nobody`(trouble: Trouble) async throws {
        try await ScriptHarness.run { redis async throws in
            var failures = 0
            for start in Start.allCases {
                for (script, arguments) in Self.calls {
                    try Self.start(redis, start)
                    let token = try redis.get(redis.fence).flatMap { Int64($0.prefix { $0.isNumber }) }
                    let before = try redis.holder()
                    let waiting = try redis.waiters()
                    try trouble.begin(redis)
                    let answer = try redis.server.withConnection { connection in
                        if !trouble.isOfType { _ = try connection.command("AUTH", "poor", "x") }
                        return try connection.command(["EVAL", script.text, "1", redis.key] + arguments)
                    }
                    guard answer.isError else { continue }
                    failures += 1
                    let what: Comment = "\(start), \(script.name) \(arguments.count): \(answer)"
                    // Nobody has it who had it not; and who gives it away has not kept it.
                    let after = try redis.holder()
                    let givesAway = ["release", "cancel", "break"].contains(script.name) && arguments.first != Self.b
                    // Who may not tell the holder does not break its lock.
                    let isUntold = script.name == "break" && trouble == .noRightToChannels
                    if givesAway, before != nil, arguments != ["0"], !isUntold {
                        #expect(after == nil, what)
                    } else {
                        #expect(after == before, what)
                    }
                    if trouble.side != .queue, arguments.first != Self.b || script.name == "touch" {
                        #expect(try redis.waiters() == waiting, what)
                    }
                    if trouble != .fenceOfAnotherType, let token {
                        let now = try redis.get(redis.fence).flatMap { Int64($0.prefix { $0.isNumber }) }
                        #expect(now ?? 0 >= token, what)
                    }
                    for key in try redis.server.command("KEYS", "*").list?.map(\.string) ?? [] {
                        let isTrouble = trouble.isOfType && key.hasPrefix("dlock.\(trouble.side?.rawValue ?? ""):")
                        let left = try redis.server.command("PTTL", key).integer ?? 0
                        #expect(isTrouble || left > 0, "\(what) \(key)")
                    }
                }
            }
            // Otherwise it would say nothing.
            #expect(failures >= 4)
        }
    }

    // Who waits stands with the turn, which is served by one master's scripts.
    @Test(arguments: [Trouble.fenceOfAnotherType, .noRightToFence, .noRightToChannels])
    func `an error of an instance's scripts leaves no key behind and drops nobody`(trouble: Trouble) async throws {
        try await ScriptHarness.run { redis async throws in
            var failures = 0
            let floor = try redis.ticks() + 100
            let calls: [(RedisScript, [String])] = [
                (.instanceAcquire, [Self.d, "\(floor + 9)", "30000", "n"]),
                (.instanceAcquire, [Self.d, "\(floor + 9)", "30000", "625000", Self.b, "n"]),
                (.instanceRelease, [Self.a]),
                (.instanceRenew, [Self.a, "30000"]),
                (.instanceBreak, ["1"]),
            ]
            for start in Start.allCases {
                for (script, arguments) in calls {
                    _ = try redis.server.command("FLUSHALL")
                    _ = try redis.server.command("SET", "dlock.node", "n", "PX", "60000")
                    if start != .free { try redis.call(.instanceAcquire, Self.a, "\(floor + 1)", "30000", "n") }
                    if start == .waitedFor || start == .diedAndWaitedFor {
                        try redis.call(.instanceAcquire, Self.d, "\(floor + 2)", "30000", "625000", Self.b, "n")
                    }
                    if start == .diedAndWaitedFor { _ = try redis.server.command("DEL", redis.key) }
                    let before = try redis.holder()
                    let fence = try redis.get(redis.fence)
                    try trouble.begin(redis)
                    if !trouble.isOfType { _ = try redis.server.command("ACL", "SETUSER", "poor", "~dlock.node") }
                    let answer = try redis.server.withConnection { connection in
                        if !trouble.isOfType { _ = try connection.command("AUTH", "poor", "x") }
                        return try connection.command(["EVAL", script.text, "1", redis.key] + arguments)
                    }
                    guard answer.isError else { continue }
                    failures += 1
                    let what: Comment = "\(start), \(script.name) \(arguments.count): \(answer)"
                    let after = try redis.holder()
                    // Who may not tell the holder does not break its lock.
                    let isUntold = script.name == "instance-break" && trouble == .noRightToChannels
                    if ["instance-release", "instance-break"].contains(script.name), before != nil, !isUntold {
                        #expect(after == nil, what)
                    } else {
                        #expect(after == before, what)
                    }
                    if trouble.side != .fence {
                        #expect(try redis.get(redis.fence)?.prefix(13) == fence?.prefix(13), what)
                    }
                }
            }
            #expect(failures >= 2)
        }
    }
}
