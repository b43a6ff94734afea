public import DistributedLocks
import LockKernel

/// The header fields by which a fencing token travels with an HTTP request.
///
/// | field | value |
/// |---|---|
/// | `Fencing-Token` | the token in decimal digits |
/// | `Fencing-Resource` | the resource's name, percent-encoded |
/// | `Fencing-Domain` | the token's domain, percent-encoded; `clock` if the field is absent |
public struct FencingHeaders: Hashable, Sendable {
    /// `Fencing-Token`.
    public static let tokenField = "Fencing-Token"
    /// `Fencing-Resource`.
    public static let resourceField = "Fencing-Resource"
    /// `Fencing-Domain`.
    public static let domainField = "Fencing-Domain"
    /// The longest domain, in bytes.
    public static let maximumDomainLengthInBytes = TokenDomain.maximumLengthInBytes

    /// What is written to; `nil` if the request does not say it.
    public var resource: LockName?
    /// The token and its domain.
    public var stamp: FencingStamp

    /// What a client sends.
    public init(resource: LockName?, stamp: FencingStamp) {
        self.resource = resource
        self.stamp = stamp
    }

    /// The fields that a client adds to its request, whatever HTTP client it uses.
    ///
    /// ```swift
    /// for field in FencingHeaders(resource: held.name, stamp: held.stamp).fields {
    ///     request.setValue(field.value, forHTTPHeaderField: field.name)  // URLRequest
    /// }
    /// ```
    public var fields: [(name: String, value: String)] {
        var fields = [(name: Self.tokenField, value: self.stamp.token.description)]
        if let resource = self.resource {
            fields.append((name: Self.resourceField, value: Self.encoded(resource.rawValue)))
        }
        fields.append((name: Self.domainField, value: Self.encoded(self.stamp.domain.rawValue)))
        return fields
    }

    /// Reads the fields of a request.
    ///
    /// - Parameter values: All values of the field with a name, which is compared without regard to case.
    /// - Returns: `nil` if the request has no token.
    /// - Throws: ``Malformed`` if a field is there twice or is not what it should be.
    public init?(_ values: (_ field: String) -> [String]) throws(Malformed) {
        guard let token = try Self.single(Self.tokenField, values) else {
            guard try Self.single(Self.resourceField, values) == nil else {
                throw Malformed(description: "\(Self.resourceField) without \(Self.tokenField)")
            }
            return nil
        }
        guard let token = FencingToken(token) else {
            throw Malformed(description: "\(Self.tokenField) is not a positive 64-bit number in decimal digits")
        }
        var domain = TokenDomain.clock
        if let text = try Self.single(Self.domainField, values) {
            guard let decoded = Self.decoded(text).map(TokenDomain.init(rawValue:)), decoded.isWellFormed
            else {
                throw Malformed(
                    description: "\(Self.domainField) is not a percent-encoded name of 1 to "
                        + "\(Self.maximumDomainLengthInBytes) bytes without control characters")
            }
            domain = decoded
        }
        self.stamp = FencingStamp(token, domain: domain)
        guard let text = try Self.single(Self.resourceField, values) else {
            self.resource = nil
            return
        }
        guard let decoded = Self.decoded(text), let name = try? LockName(decoded) else {
            throw Malformed(
                description: "\(Self.resourceField) is not a percent-encoded name of 1 to "
                    + "\(LockName.maximumLengthInBytes) bytes without control characters")
        }
        self.resource = name
    }

    /// The fields of a request make no sense.
    public struct Malformed: Error, Hashable, Sendable, CustomStringConvertible {
        /// What is wrong, without the values.
        public let description: String
    }

    /// A field holds visible ASCII only. What is common in names stays as it is.
    private static func encoded(_ text: String) -> String {
        Percent.encoded(text) { Percent.isUnreserved($0) || $0 == "/" || $0 == ":" }
    }

    private static func decoded(_ text: String) -> String? {
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { return nil }
        return Percent.decoded(text)
    }

    private static func single(
        _ field: String,
        _ values: (String) -> [String]
    ) throws(Malformed) -> String? {
        let all = values(field)
        guard all.count <= 1 else { throw Malformed(description: "\(field) is there \(all.count) times") }
        return all.first
    }
}
