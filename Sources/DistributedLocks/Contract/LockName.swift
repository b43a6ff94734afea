import LockKernel

/// What is locked: a name chosen by the user, such as `inventory/42`.
///
/// A name is 1 to 512 bytes of UTF-8 without control characters. Two names are the same lock exactly when their bytes
/// are the same: nothing is trimmed, folded or normalised. Each backend escapes what its own key space forbids.
public struct LockName: Sendable {
    /// The longest name, in bytes of UTF-8.
    public static let maximumLengthInBytes = 512

    /// The name as it was given.
    public let rawValue: String

    /// Checks a name.
    ///
    /// - Throws: ``LockError`` with ``LockError/Code-swift.struct/invalidName`` if the name is empty, too long or has a
    ///   control character (Unicode category Cc, NUL among them).
    public init(_ rawValue: String) throws(LockError) {
        var length = 0
        var previous: UInt8 = 0
        for byte in rawValue.utf8 {
            length += 1
            // C0 controls and DEL are single bytes; C1 controls are U+0080 to U+009F: 0xC2 followed by 0x80 to 0x9F.
            if byte < 0x20 || byte == 0x7F || (previous == 0xC2 && byte >= 0x80 && byte <= 0x9F) {
                throw LockError(
                    .invalidName,
                    "a lock name must not have control characters (byte \(length) is one)"
                )
            }
            previous = byte
        }
        guard length > 0 else {
            throw LockError(.invalidName, "a lock name must not be empty")
        }
        guard length <= Self.maximumLengthInBytes else {
            throw LockError(
                .invalidName,
                "a lock name has at most \(Self.maximumLengthInBytes) bytes of UTF-8, this one has \(length)"
            )
        }
        self.rawValue = rawValue
    }
}

extension LockName: Hashable {
    // String's own equality is by canonical equivalence, which would make one lock of two different keys.
    /// Whether the bytes are the same.
    public static func == (left: LockName, right: LockName) -> Bool {
        let same = left.rawValue.utf8.withContiguousStorageIfAvailable { left in
            right.rawValue.utf8.withContiguousStorageIfAvailable { right in
                // A name has at least one byte, so there are addresses.
                left.count == right.count && memcmp(left.baseAddress!, right.baseAddress!, left.count) == 0
            }
        }
        return (same ?? nil) ?? left.rawValue.utf8.elementsEqual(right.rawValue.utf8)
    }

    /// Hashes the bytes.
    public func hash(into hasher: inout Hasher) {
        var text = self.rawValue
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}

extension LockName: CustomStringConvertible {
    /// The name as it was given.
    public var description: String { self.rawValue }
}

/// A value that can be used as a lock name: a `String`, which is checked when the call is made, or a ``LockName``, which
/// was checked before.
public protocol LockNameConvertible: Sendable {
    /// The checked name.
    ///
    /// - Throws: ``LockError`` with ``LockError/Code-swift.struct/invalidName``.
    func lockName() throws(LockError) -> LockName
}

extension LockName: LockNameConvertible {
    /// The name itself.
    public func lockName() throws(LockError) -> LockName { self }
}

extension String: LockNameConvertible {
    /// The string as a checked lock name.
    public func lockName() throws(LockError) -> LockName { try LockName(self) }
}
