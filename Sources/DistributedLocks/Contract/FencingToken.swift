/// A number that rises with every grant of a lock name.
///
/// Hand it to the protected resource with every write. A resource that remembers the highest token it has seen, and
/// refuses a lower one, stays correct even when a holder was paused past its lease and wakes up late. Tokens of one name
/// are comparable within one ``TokenDomain``.
///
/// A token is a positive 64-bit integer, so it fits SQL's `BIGINT`. It is compared as a number. In JSON it is written as
/// a decimal string, because JavaScript and Lua lose digits above 2^53.
public struct FencingToken: Hashable, Comparable, Sendable {
    /// The number.
    public let rawValue: Int64

    /// Makes a token of a number; `nil` unless it is positive.
    public init?(rawValue: Int64) {
        guard rawValue > 0 else { return nil }
        self.rawValue = rawValue
    }

    /// Reads a token from its decimal form; `nil` unless it is a positive 64-bit number in plain digits.
    public init?(_ description: String) {
        guard description.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let value = Int64(description) else {
            return nil
        }
        self.init(rawValue: value)
    }

    /// Whether the left one was granted earlier.
    public static func < (left: FencingToken, right: FencingToken) -> Bool {
        left.rawValue < right.rawValue
    }
}

extension FencingToken: CustomStringConvertible {
    /// The token in decimal digits.
    public var description: String { String(self.rawValue) }
}

extension FencingToken: Codable {
    /// Reads the decimal string.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let token = FencingToken(text) else {
            throw DecodingError.dataCorruptedError(
                in: container,
                debugDescription: "a fencing token is a positive 64-bit number in decimal digits"
            )
        }
        self = token
    }

    /// Writes the decimal string.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(self.description)
    }
}

/// Says which tokens can be compared with each other.
///
/// The domain travels with the token. A resource that is moved to a backend of another domain has to be told so.
public struct TokenDomain: Hashable, Sendable, RawRepresentable, CustomStringConvertible {
    /// The domain's name, such as `clock`.
    public let rawValue: String

    /// Names a domain.
    public init(rawValue: String) {
        self.rawValue = rawValue
    }

    /// The longest name that a fence remembers, in bytes.
    public static let maximumLengthInBytes = 128

    /// Whether a fence can remember it: 1 to ``maximumLengthInBytes`` bytes without control characters.
    public var isWellFormed: Bool {
        let bytes = self.rawValue.utf8
        return (1...Self.maximumLengthInBytes).contains(bytes.count) && bytes.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
    }

    /// Tokens that follow a clock: the embedded backend, Redis, Redis under Sentinel and Redlock.
    public static let clock = TokenDomain(rawValue: "clock")

    /// The domain's name.
    public var description: String { self.rawValue }
}
