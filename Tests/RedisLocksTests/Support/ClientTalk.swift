import LockKernel
import LockTransport
import NIOCore

@testable import RedisLocks

/// A client machine to talk to in words: each method is an event, and returns what is to be done about it.
final class ClientTalk {
    typealias Instant = BootInstant

    private var machine: RedisClientStateMachine<String, String>
    let start = Instant.now
    var now: Instant
    private var ids: [String: RequestID] = [:]
    private(set) var timer: Duration?

    init(_ configure: (inout RedisClientConfiguration) -> Void = { _ in }) {
        var configuration = RedisClientConfiguration(endpoint: .tcp(host: "h", port: 1))
        configuration.backoffBase = .milliseconds(100)
        configuration.backoffCap = .seconds(1)
        configure(&configuration)
        self.machine = RedisClientStateMachine(configuration)
        self.now = self.start
    }

    var state: RedisClientState { self.machine.summary }
    var waitingCount: Int { self.machine.waitingCount }

    func wait(_ duration: Duration) { self.now += duration }

    func run() -> String { self.machine.started().map { "connect \($0)" } ?? "finish" }

    /// The attempt knows where to connect to.
    func attempt() { self.machine.attemptStarted(now: self.now) }

    func accepted() { self.machine.accepted(now: self.now) }

    func hurry() -> String {
        defer { self.armTimer() }
        return self.machine.hurried().map { "connect \($0)" } ?? "nothing"
    }

    func submit(_ name: String, within limit: Duration = .seconds(1), onlyOn connection: UInt64? = nil) -> String {
        let id = RequestID(rawValue: UInt64(self.ids.count))
        self.ids[name] = id
        defer { self.armTimer() }
        let request = RedisRequest(
            id: id,
            command: RedisCommand("PING"),
            deadline: self.now + limit,
            completion: name,
            onlyOn: connection.map { RedisConnectionID(rawValue: $0) }
        )
        return switch self.machine.submitted(request, now: self.now) {
        case .send(let connection): "send on \(connection)"
        case .wait: "wait"
        case .fail(let error): "\(name): \(error)" + (error.serverCode.map { " [\($0)]" } ?? "")
        }
    }

    func connected(_ name: String) -> String {
        guard self.machine.connected(name, now: self.now) else { return "close" }
        return "announce, send \(self.machine.takeWaiting().map(\.completion).joined(separator: ", "))"
    }

    func ended(
        _ code: RedisError.Code,
        _ reason: String,
        serverCode: String? = nil,
        isGivenUp: Bool = false,
        random: Double = 0.5
    ) -> String {
        let error = RedisError(code, serverCode: serverCode, endpoint: .tcp(host: "h", port: 1), reason)
        defer { self.armTimer() }
        switch self.machine.ended(error, isGivenUp: isGivenUp, now: self.now, random: random) {
        case .retry(let failed): return "retry" + self.text(failed)
        case .finish: return "finish"
        }
    }

    func cancel(_ names: String...) -> String {
        self.text(self.machine.cancelled(Set(names.compactMap { self.ids[$0] })))
    }

    func fire() -> String {
        self.timer = nil
        let action = self.machine.timerFired(now: self.now)
        self.armTimer()
        return (action.connect.map { "connect \($0)" } ?? "") + self.text(action.expired)
    }

    func stop() -> String {
        switch self.machine.stopped() {
        case .closeConnection(let connection, let waiting): "close \(connection)" + self.text(waiting)
        case .abandonAttempt(let waiting): "abandon" + self.text(waiting)
        case .finish(let waiting): "finish" + self.text(waiting)
        case .nothing: "nothing"
        }
    }

    private func armTimer() {
        if let instant = self.machine.timerToArm(now: self.now) { self.timer = instant - self.start }
    }

    private func text(_ failed: RedisClientStateMachine<String, String>.Failed?) -> String {
        guard let failed, !failed.completions.isEmpty else { return "" }
        return "; \(failed.completions.joined(separator: ", ")): \(failed.error)"
    }
}
