import DequeModule
import NIOCore

/// What is said on a new connection before it carries requests.
///
/// *greeting*: `HELLO 3` is out, with user, password and client name, and a `PING` behind it. *checking*: the shell asks the
/// configuration whether this server will do. *settingUp*: `SELECT` and the set-up commands are out, all in one write. *done*.
///
/// The `PING` tells whether the server serves requests: one that loads its data greets, selects and subscribes all the same.
///
/// Every reply is awaited in order. A subscription is confirmed by one push for each channel and has no other reply; all
/// other pushes are kept until the connection is announced, because what is published between a subscription and that
/// moment must not be lost.
struct RedisHandshakeStateMachine {
    private enum State {
        case greeting
        case checking(RedisGreeting)
        case settingUp(RedisGreeting)
        case done
    }

    private enum Expectation {
        case reply(to: String)
        case confirmations(kind: String, left: Int, to: String)
        /// The reply to the `PING`. A user need not be allowed to ask.
        case readiness
    }

    enum ReceivedAction {
        case wait
        /// Ask whether this server will do, then call ``checked(refusal:)``.
        case check(RedisGreeting)
        /// The connection can be used. First announce it, then deliver what was pushed meanwhile.
        case finish(RedisGreeting, pushed: [[RESPValue]])
        case fail(RedisError)
    }

    enum CheckedAction {
        case write(ByteBuffer)
        /// There is nothing to set up.
        case wait
        case fail(RedisError)
    }

    /// A server that pushes more than this before set-up is over is not waited for.
    static let maximumHeldPushes = 256
    /// All texts of the held pushes together.
    static let maximumHeldPushesInBytes = 1 << 20

    private var state = State.greeting
    private var expectations: Deque<Expectation> = [.readiness]
    private var pushed: [[RESPValue]] = []
    private var pushedBytes = 0
    private let endpoint: RedisEndpoint
    private let password: String?
    private let credentialsAdvice: String
    /// The first bytes to send.
    let greeting: ByteBuffer
    private let setup: ByteBuffer

    init(_ configuration: RedisClientConfiguration) {
        self.endpoint = configuration.endpoint
        self.password = configuration.password
        self.credentialsAdvice = configuration.credentialsAdvice
        var hello = ["HELLO", "3"]
        if configuration.username != nil || configuration.password != nil {
            // A user without a password exists, too (`nopass`): any will do.
            hello += ["AUTH", configuration.username ?? "default", configuration.password ?? ""]
        }
        if let name = configuration.clientName { hello += ["SETNAME", name] }
        var greeting = RedisCommand(hello).bytes
        greeting.writeImmutableBuffer(RedisCommand("PING").bytes)
        self.greeting = greeting

        var setup = ByteBuffer()
        var commands = configuration.setup
        // Not sent for database 0, where every connection starts: Sentinels do not know it.
        if configuration.database != 0 { commands.insert(RedisCommand("SELECT", "\(configuration.database)"), at: 0) }
        for command in commands {
            setup.writeImmutableBuffer(command.bytes)
            self.expectations.append(Self.expectation(of: command))
        }
        self.setup = setup
    }

    private static func expectation(of command: RedisCommand) -> Expectation {
        guard let words = command.words, let name = words.first?.uppercased() else {
            preconditionFailure("a set-up command is not one encoded command")
        }
        switch name {
        case "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE":
            return .confirmations(kind: name.lowercased(), left: words.count - 1, to: name)
        default:
            return .reply(to: name)
        }
    }

    mutating func received(_ value: RESPValue) -> ReceivedAction {
        switch self.state {
        case .greeting:
            if let text = value.errorText { return .fail(self.refused(text, to: "HELLO")) }
            guard let greeting = RedisGreeting(reply: value) else {
                return .fail(self.unusable("not a Redis server: its reply to HELLO is something else"))
            }
            self.state = .checking(greeting)
            return .check(greeting)
        case .checking:
            return .fail(self.unusable("the server sent something that it was not asked for, after its greeting"))
        case .settingUp(let greeting):
            return self.receivedInSetup(value, greeting)
        case .done:
            preconditionFailure("the handshake is over")
        }
    }

    private mutating func receivedInSetup(_ value: RESPValue, _ greeting: RedisGreeting) -> ReceivedAction {
        guard let expectation = self.expectations.first else {
            preconditionFailure("set-up goes on although nothing is expected")
        }
        if let text = value.errorText {
            switch expectation {
            case .reply(let name), .confirmations(_, _, let name): return .fail(self.refused(text, to: name))
            case .readiness:
                if let error = self.notReady(text) { return .fail(error) }
                return self.fulfilled(greeting)
            }
        }
        if case .push(let elements) = value {
            let kind = elements.first?.string
            if case .confirmations(let awaited, let left, let name) = expectation, kind == awaited {
                if left > 1 {
                    self.expectations[0] = .confirmations(kind: awaited, left: left - 1, to: name)
                    return .wait
                }
                return self.fulfilled(greeting)
            }
            self.pushedBytes += elements.reduce(0) { $0 + Self.textBytes(of: $1) }
            guard self.pushed.count < Self.maximumHeldPushes, self.pushedBytes <= Self.maximumHeldPushesInBytes else {
                return .fail(self.unreachable("the server pushed too much before the connection was set up"))
            }
            self.pushed.append(elements)
            return .wait
        }
        switch expectation {
        case .reply, .readiness: return self.fulfilled(greeting)
        case .confirmations(_, _, let name):
            return .fail(self.unusable("the server answered \(name) with something else than a confirmation"))
        }
    }

    /// What the texts of a value take; an estimate for numbers and aggregates.
    private static func textBytes(of value: RESPValue) -> Int {
        switch value {
        case .simpleString(let text), .simpleError(let text), .bulkString(let text), .bulkError(let text),
            .bigNumber(let text), .verbatimString(_, let text):
            text.readableBytes
        case .integer, .null, .boolean, .double: MemoryLayout<RESPValue>.size
        case .array(let elements), .set(let elements), .push(let elements):
            elements.reduce(MemoryLayout<RESPValue>.size) { $0 + Self.textBytes(of: $1) }
        case .map(let entries):
            entries.reduce(MemoryLayout<RESPValue>.size) {
                $0 + Self.textBytes(of: $1.key) + Self.textBytes(of: $1.value)
            }
        }
    }

    private mutating func fulfilled(_ greeting: RedisGreeting) -> ReceivedAction {
        self.expectations.removeFirst()
        guard self.expectations.isEmpty else { return .wait }
        self.state = .done
        return .finish(greeting, pushed: self.pushed)
    }

    /// The configuration has looked at the greeting; `refusal` says why this server must not be used, `notNow` why it must
    /// not be used for now.
    mutating func checked(refusal: String?, notNow: String? = nil) -> CheckedAction {
        guard case .checking(let greeting) = self.state else {
            preconditionFailure("a greeting was checked that nobody asked about")
        }
        if let refusal { return .fail(self.unusable(refusal)) }
        if let notNow { return .fail(self.unreachable(notNow)) }
        self.state = .settingUp(greeting)
        return self.setup.readableBytes > 0 ? .write(self.setup) : .wait
    }

    /// What was sent last and has no answer, for the message of a timeout or a lost connection.
    var awaited: String {
        switch self.state {
        case .greeting: return "HELLO"
        case .checking: return "HELLO"
        case .settingUp:
            switch self.expectations.first {
            case .reply(let name), .confirmations(_, _, let name): return name
            case .readiness: return "PING"
            case nil: preconditionFailure("set-up goes on although nothing is expected")
            }
        case .done: preconditionFailure("the handshake is over")
        }
    }

    /// True until the server has said anything that makes sense.
    var isUngreeted: Bool {
        switch self.state {
        case .greeting: true
        case .checking, .settingUp, .done: false
        }
    }

    // MARK: Errors

    private func unusable(_ reason: String, serverCode: String? = nil) -> RedisError {
        RedisError(.unusableServer, serverCode: serverCode, endpoint: self.endpoint, reason)
    }

    private func unreachable(_ reason: String, serverCode: String? = nil) -> RedisError {
        RedisError(.notSent, serverCode: serverCode, endpoint: self.endpoint, reason)
    }

    /// Nil if this error does not say that the server is going to serve later.
    private func notReady(_ text: String) -> RedisError? {
        let code = RedisError.serverCode(of: text)
        return switch code {
        case "LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN":
            self.unreachable("not ready: \(RedisError.presentable(text))", serverCode: code)
        default: nil
        }
    }

    /// The server answered a command of the handshake with an error.
    private func refused(_ text: String, to command: String) -> RedisError {
        var text = text
        // What refuses a password may quote it.
        if let password, !password.isEmpty { text = text.replacing(password, with: "…") }
        if let error = self.notReady(text) { return error }
        let code = RedisError.serverCode(of: text)
        // It is full now; later it may not be.
        if text.contains("max number of clients") {
            return self.unreachable(RedisError.presentable(text), serverCode: code)
        }
        if command == "HELLO", text.contains("unknown command") {
            return self.unusable("the server does not know HELLO: Redis 6 or later is needed", serverCode: code)
        }
        switch code {
        case "NOAUTH":
            return self.unusable("the server asks for a password (NOAUTH): \(self.credentialsAdvice)", serverCode: code)
        case "WRONGPASS":
            let given = self.password == nil ? ", and none was given" : ""
            return self.unusable(
                "the server does not know this user with this password (WRONGPASS)\(given): \(self.credentialsAdvice)",
                serverCode: code
            )
        case "NOPERM":
            return self.unusable(
                "\(command) was refused: \(RedisError.presentable(text)) (docs/redis.md lists what a user for locks needs)",
                serverCode: code
            )
        default:
            return self.unusable("\(command) was refused: \(RedisError.presentable(text))", serverCode: code)
        }
    }
}
