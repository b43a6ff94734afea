import LockKernel
import LockTransport
import NIOCore

@testable import RedisLocks

/// A connection machine to talk to in words: each method is an event, and returns what is to be done about it.
final class ConnectionTalk {
    typealias Instant = BootInstant

    private var machine: RedisConnectionStateMachine<String>
    let start: Instant
    var now: Instant
    private var ids: [String: RequestID] = [:]
    /// For what the timer is armed, as the shell would have it.
    private(set) var timer: Duration?
    /// Whether a call is made again, as the shell would ask.
    var isWanted: (String) -> Bool = { _ in true }

    init(
        _ configure: (inout RedisClientConfiguration) -> Void = { _ in },
        connectTimeout: Duration = .seconds(5)
    ) {
        var configuration = RedisClientConfiguration(endpoint: .tcp(host: "h", port: 1))
        configuration.connectTimeout = connectTimeout
        configure(&configuration)
        self.start = .now
        self.now = self.start
        self.machine = RedisConnectionStateMachine(
            id: RedisConnectionID(rawValue: 1),
            configuration: configuration,
            connectDeadline: self.start + connectTimeout,
            now: self.start
        )
        self.armTimer()
    }

    /// One that is active.
    static func active(_ configure: (inout RedisClientConfiguration) -> Void = { _ in }) -> ConnectionTalk {
        let talk = ConnectionTalk(configure)
        _ = talk.server(.hello())
        _ = talk.check(nil)
        _ = talk.server(.text("PONG"))
        return talk
    }

    var greeting: String { self.words(self.machine.greeting) }
    var inFlightCount: Int { self.machine.inFlightCount }

    func wait(_ duration: Duration) { self.now += duration }

    func send(_ name: String, within limit: Duration = .seconds(1)) -> String {
        let id = RequestID(rawValue: UInt64(self.ids.count))
        self.ids[name] = id
        defer { self.armTimer() }
        return self.send(
            RedisRequest(id: id, command: RedisCommand(name), deadline: self.now + limit, completion: name))
    }

    private func send(_ request: RedisRequest<String>) -> String {
        switch self.machine.sent(request, now: self.now) {
        case .write: "write \(request.completion)"
        case .fail(let error): "\(request.completion): \(error)"
        }
    }

    /// A script that calls are made of: one for each name.
    static func script(_ name: String) -> StoredScript {
        StoredScript(text: "return '\(name)'", hash: String(repeating: String(name.first!), count: 40))
    }

    /// Calls a script by its hash. The call's name is its only argument.
    func call(_ script: StoredScript, _ name: String, within limit: Duration = .seconds(1)) -> String {
        let id = RequestID(rawValue: UInt64(self.ids.count))
        self.ids[name] = id
        defer { self.armTimer() }
        var bytes = ByteBuffer()
        bytes.writeRESPCommand(["EVALSHA", script.hash, "0", name])
        return self.send(
            RedisRequest(
                id: id, command: RedisCommand(bytes: bytes, calling: script), deadline: self.now + limit,
                completion: name))
    }

    func server(_ value: RESPValue) -> String {
        self.machine.heard(now: self.now)
        return switch self.machine.received(value) {
        case .nothing: "nothing"
        case .complete(let name, let outcome): "\(name): \(self.text(outcome))"
        case .sendAgain(let request, _) where !self.isWanted(request.completion): "\(request.completion) is not wanted"
        case .sendAgain(let request, _):
            self.send(request) + " as " + (request.command.words ?? []).joined(separator: " ")
        case .push(let elements): "push \(self.text(elements))"
        case .check(let greeting): "check \(greeting.server) \(greeting.version)"
        case .activate(_, let pushed): "active" + pushed.map { ", push \(self.text($0))" }.joined()
        case .close(let error): "close: \(error)"
        }
    }

    func check(_ refusal: String?) -> String {
        switch self.machine.checked(refusal: refusal) {
        case .write(let bytes): "write \(self.words(bytes))"
        case .nothing: "nothing"
        case .close(let error): "close: \(error)"
        }
    }

    func cancel(_ names: String...) -> String {
        self.machine.cancelled(Set(names.compactMap { self.ids[$0] })).joined(separator: ", ")
    }

    func fire() -> String {
        self.timer = nil
        switch self.machine.timerFired(now: self.now) {
        case .idle: return "idle"
        case .arm(let instant):
            self.timer = instant - self.start
            return "arm \(instant - self.now)"
        case .expire(let names, let error, let instant):
            self.timer = instant.map { $0 - self.start }
            return "\(names.joined(separator: ", ")): \(error)" + (instant.map { ", arm \($0 - self.now)" } ?? "")
        case .close(let error): return "close: \(error)"
        }
    }

    /// The timer fires and finds something due, which still is due after the grace turn.
    func fireTwice() -> String {
        let first = self.fire()
        guard first == "arm 0.001 seconds" else { return "no grace turn: \(first)" }
        self.now += .milliseconds(1)
        return self.fire()
    }

    func lost(_ reason: String = "reset", isRefusal: Bool = false) -> String {
        let error = self.machine.transportEnded(reason, isRefusal: isRefusal)
        guard let action = self.machine.closed(error) else { return "nothing" }
        return ([error.description] + action.outstanding.map { "\($0): \(action.error.code.rawValue)" })
            .joined(separator: "; ")
    }

    func garbled(_ head: String) -> String {
        self.machine.garbled("bad type", head: Array(head.utf8)).description
    }

    private func armTimer() {
        if let instant = self.machine.timerToArm() { self.timer = instant - self.start }
    }

    private func text(_ outcome: Result<RedisReply, RedisError>) -> String {
        switch outcome {
        case .success(let reply): reply.value.string ?? reply.value.description
        case .failure(let error): error.description
        }
    }

    private func text(_ elements: [RESPValue]) -> String {
        elements.map { $0.string ?? $0.int.map(String.init) ?? $0.description }.joined(separator: " ")
    }

    private func words(_ bytes: ByteBuffer) -> String {
        var bytes = bytes
        var decoder = RESPDecoder()
        var commands: [String] = []
        while let command = try? decoder.next(from: &bytes) { commands.append(self.text(command.elements ?? [])) }
        return commands.joined(separator: " | ")
    }
}

extension RESPValue {
    static func text(_ text: String) -> RESPValue { .bulkString(ByteBuffer(string: text)) }
    static func refusal(_ text: String) -> RESPValue { .simpleError(ByteBuffer(string: text)) }
    static func push(_ words: String...) -> RESPValue { .push(words.map { .text($0) }) }

    static func hello(version: String = "7.0.15", proto: Int64 = 3) -> RESPValue {
        .map([
            RESPMapEntry(key: .text("server"), value: .text("redis")),
            RESPMapEntry(key: .text("version"), value: .text(version)),
            RESPMapEntry(key: .text("proto"), value: .integer(proto)),
            RESPMapEntry(key: .text("id"), value: .integer(7)),
            RESPMapEntry(key: .text("mode"), value: .text("standalone")),
            RESPMapEntry(key: .text("role"), value: .text("master")),
            RESPMapEntry(key: .text("modules"), value: .array([])),
        ])
    }
}
