import DistributedLocks

/// What a server answers when it does not let a request through: the body of an `application/problem+json`
/// (RFC 9457).
public struct FencingProblem: Hashable, Sendable {
    /// The media type of ``json``.
    public static let contentType = "application/problem+json"

    /// The status code of the response.
    public var status: Int
    /// The status in words.
    public var title: String
    /// What happened, for people.
    public var detail: String
    /// The refusal, if it is one.
    public var refusal: FenceRefusal?

    private init(status: Int, title: String, detail: String, refusal: FenceRefusal? = nil) {
        self.status = status
        self.title = title
        self.detail = detail
        self.refusal = refusal
    }

    /// 409: the token was refused.
    public static func refused(_ refusal: FenceRefusal) -> FencingProblem {
        FencingProblem(status: 409, title: "Conflict", detail: refusal.description, refusal: refusal)
    }

    /// 400: the header fields make no sense.
    public static func malformed(_ error: FencingHeaders.Malformed) -> FencingProblem {
        FencingProblem(status: 400, title: "Bad Request", detail: error.description)
    }

    /// 400: the request does not say what it writes to.
    public static let resourceRequired = FencingProblem(
        status: 400,
        title: "Bad Request",
        detail: "the header field \(FencingHeaders.resourceField) is missing"
    )

    /// 400: what the request writes to cannot be the name of a resource.
    public static let resourceInvalid = FencingProblem(
        status: 400,
        title: "Bad Request",
        detail: "the resource has no name of 1 to \(LockName.maximumLengthInBytes) bytes without control characters"
    )

    /// 428: the request needs a token and has none (RFC 6585).
    public static let tokenRequired = FencingProblem(
        status: 428,
        title: "Precondition Required",
        detail: "this request needs a fencing token in the header field \(FencingHeaders.tokenField)"
    )

    /// 503: more is going on than the server allows.
    public static func overloaded(_ error: ProcessFences.Overload) -> FencingProblem {
        FencingProblem(status: 503, title: "Service Unavailable", detail: error.description)
    }

    /// The body. Of a refusal it also tells `reason` (`stale` or `otherDomain`), `resource`, the `token` and `domain` that
    /// were presented, and the `highestToken` and `highestDomain` that the resource remembers; tokens are strings.
    public var json: String {
        var members = [
            ("type", "\"about:blank\""), ("title", Self.quoted(self.title)), ("status", "\(self.status)"),
            ("detail", Self.quoted(self.detail)),
        ]
        if let refusal = self.refusal {
            members += [
                ("reason", Self.quoted(refusal.reason.rawValue)),
                ("resource", Self.quoted(refusal.resource.rawValue)),
                ("token", Self.quoted(refusal.presented.token.description)),
                ("domain", Self.quoted(refusal.presented.domain.rawValue)),
                ("highestToken", Self.quoted(refusal.highest.token.description)),
                ("highestDomain", Self.quoted(refusal.highest.domain.rawValue)),
            ]
        }
        return "{" + members.map { "\"\($0.0)\":\($0.1)" }.joined(separator: ",") + "}"
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            case _: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
