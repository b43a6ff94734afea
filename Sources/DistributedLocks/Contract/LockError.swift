/// What went wrong with a lock.
///
/// Switch over ``code``. The message is for people and may change. No error ever holds a password or an owner's secret.
public struct LockError: Error, Sendable {
    /// A stable name for each kind of failure.
    public struct Code: Hashable, Sendable, RawRepresentable, CustomStringConvertible {
        /// The name, as it stands in logs and JSON.
        public let rawValue: String

        /// Names a code.
        public init(rawValue: String) { self.rawValue = rawValue }

        /// Somebody else holds the lock, and the call was not to wait.
        public static let busy = Code(rawValue: "busy")
        /// The lock was not granted in the time given.
        public static let timedOut = Code(rawValue: "timedOut")
        /// The caller was cancelled. Backends use this code; every call of a client throws `CancellationError` instead.
        public static let cancelled = Code(rawValue: "cancelled")
        /// The backend did not answer in time or could not be reached.
        public static let unreachable = Code(rawValue: "unreachable")
        /// Too few nodes answered.
        public static let noQuorum = Code(rawValue: "noQuorum")
        /// The grant ended before it was released.
        public static let lost = Code(rawValue: "lost")
        /// A request was sent and no reply came: it may have been carried out. It is cleaned up in the background.
        public static let outcomeUnknown = Code(rawValue: "outcomeUnknown")
        /// The owner does not hold the lock.
        public static let notHeld = Code(rawValue: "notHeld")
        /// The same task tree holds the lock already, so that waiting for it would never end. A `Task { }` that a body starts
        /// counts as part of it; `Task.detached { }` does not.
        public static let wouldDeadlock = Code(rawValue: "wouldDeadlock")
        /// The nodes were set up with another policy than this client's.
        public static let policyMismatch = Code(rawValue: "policyMismatch")
        /// The name is empty, too long or has control characters.
        public static let invalidName = Code(rawValue: "invalidName")
        /// A URL, lease or option makes no sense.
        public static let invalidConfiguration = Code(rawValue: "invalidConfiguration")
        /// The client's `run()` has not started in time, or has ended.
        public static let clientNotRunning = Code(rawValue: "clientNotRunning")
        /// The backend answered, and refused: out of memory, no permission, a damaged file, a full queue.
        public static let serverRefused = Code(rawValue: "serverRefused")

        /// The name.
        public var description: String { self.rawValue }
    }

    /// Why a grant ended before it was released.
    public struct LossReason: Hashable, Sendable, RawRepresentable, CustomStringConvertible {
        /// The name, as it stands in logs.
        public let rawValue: String

        /// Names a reason.
        public init(rawValue: String) { self.rawValue = rawValue }

        /// Its validity deadline passed without a renewal.
        public static let leaseExpired = LossReason(rawValue: "leaseExpired")
        /// The backend answered that the owner no longer holds the lock.
        public static let notOwner = LossReason(rawValue: "notOwner")
        /// An operator broke the lock.
        public static let broken = LossReason(rawValue: "broken")
        /// The session that the grant belonged to has ended.
        public static let sessionEnded = LossReason(rawValue: "sessionEnded")
        /// It was held for as long as `holdingAtMost` allows.
        public static let holdLimitReached = LossReason(rawValue: "holdLimitReached")
        /// The client's `run()` ended.
        public static let clientStopped = LossReason(rawValue: "clientStopped")

        /// What happened, in words.
        public var description: String {
            switch self {
            case .leaseExpired: "its lease ran out before it could be renewed"
            case .notOwner: "the backend says that it is not held any more"
            case .broken: "it was broken by an operator"
            case .sessionEnded: "the session with the backend ended"
            case .holdLimitReached: "it was held for as long as allowed"
            case .clientStopped: "the lock client was stopped"
            default: self.rawValue
            }
        }
    }

    /// What one node of a backend had to say.
    public struct NodeFailure: Sendable, CustomStringConvertible {
        /// The node, without credentials.
        public var node: String
        /// What went wrong there.
        public var message: String

        /// Describes a failure.
        public init(node: String, message: String) {
            self.node = node
            self.message = message
        }

        /// The node and what went wrong.
        public var description: String { "\(self.node): \(self.message)" }
    }

    /// How the body of `withLock` ended when its grant was lost. There may be more cases later: have a `default`.
    public enum BodyOutcome: Sendable {
        /// It returned: what it did may be done, and without the protection of the lock from some instant on.
        case completed
        /// It threw; most often a `CancellationError`.
        case failed(any Error)
    }

    private final class Storage: Sendable {
        let code: Code
        let message: String
        let details: Details
        let file: String
        let line: Int

        init(code: Code, message: String, details: Details, file: String, line: Int) {
            self.code = code
            self.message = message
            self.details = details
            self.file = file
            self.line = line
        }
    }

    struct Details: Sendable {
        var holder: OwnerMetadata?
        var nodes: [NodeFailure] = []
        var lossReason: LossReason?
        var token: FencingToken?
        var bodyOutcome: BodyOutcome?
        var cause: (any Error)?
    }

    private let storage: Storage

    init(code: Code, message: String, details: Details, file: String, line: Int) {
        self.storage = Storage(code: code, message: message, details: details, file: file, line: line)
    }

    /// Makes an error.
    ///
    /// - Parameters:
    ///   - code: What kind of failure.
    ///   - message: One line for people, without secrets.
    ///   - holder: Who holds the lock, where that is known.
    ///   - nodes: What each node had to say, where there are nodes.
    ///   - cause: The error underneath.
    ///   - file: Where the error was made.
    ///   - line: Where the error was made.
    public init(
        _ code: Code,
        _ message: String,
        holder: OwnerMetadata? = nil,
        nodes: [NodeFailure] = [],
        cause: (any Error)? = nil,
        file: String = #fileID,
        line: Int = #line
    ) {
        self.init(
            code: code,
            message: message,
            details: Details(holder: holder, nodes: nodes, cause: cause),
            file: file,
            line: line
        )
    }

    /// What kind of failure this is.
    public var code: Code { self.storage.code }
    /// One line for people.
    public var message: String { self.storage.message }
    /// Who holds the lock, where that is known. With ``Code-swift.struct/timedOut``: as the store told it last.
    public var holder: OwnerMetadata? { self.storage.details.holder }
    /// What each node had to say, where there are nodes.
    public var nodes: [NodeFailure] { self.storage.details.nodes }
    /// Why the grant was lost; only with ``Code-swift.struct/lost``.
    public var lossReason: LossReason? { self.storage.details.lossReason }
    /// The token of the lost grant; only with ``Code-swift.struct/lost``.
    public var token: FencingToken? { self.storage.details.token }
    /// How the body ended; only when `withLock` threw ``Code-swift.struct/lost``. `nil` if the body did not run, because the
    /// grant had ended by the time that it came.
    public var bodyOutcome: BodyOutcome? { self.storage.details.bodyOutcome }
    /// The error underneath.
    public var cause: (any Error)? { self.storage.details.cause }
    /// Where in the package's sources the error was made.
    public var location: String { "\(self.storage.file):\(self.storage.line)" }

    /// Whether the same call may succeed later without anything being changed.
    ///
    /// A `lost` grant is not retriable in itself: whether the body can be run again is for its author to say.
    public var isRetriable: Bool {
        switch self.code {
        case .busy, .timedOut, .unreachable, .noQuorum, .outcomeUnknown: true
        default: false
        }
    }

    static func lost(
        _ reason: LossReason,
        name: LockName,
        token: FencingToken,
        body: BodyOutcome? = nil,
        file: String = #fileID,
        line: Int = #line
    ) -> LockError {
        var cause: (any Error)?
        if case .failed(let error) = body { cause = error }
        return LockError(
            code: .lost,
            message: "lost the lock '\(name)' (token \(token)): \(reason)",
            details: Details(lossReason: reason, token: token, bodyOutcome: body, cause: cause),
            file: file,
            line: line
        )
    }
}

extension LockError: CustomStringConvertible {
    /// The code, the message, and what each node had to say.
    public var description: String {
        let nodes = self.nodes.isEmpty ? "" : " [" + self.nodes.map(\.description).joined(separator: "; ") + "]"
        return "\(self.code): \(self.message)\(nodes)"
    }
}
