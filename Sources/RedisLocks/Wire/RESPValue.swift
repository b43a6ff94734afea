package import NIOCore

/// A value of the Redis protocol, version 2 or 3.
///
/// Texts and payloads of a decoded value are slices of the buffer that was read: as long as one is kept, so is that
/// buffer's memory. Numbers that are not a number are unequal to themselves, as `Double` has it.
package enum RESPValue: Sendable, Hashable {
    /// A text without line breaks, without the type byte and the CRLF.
    case simpleString(ByteBuffer)
    /// An error's text without line breaks, without the type byte and the CRLF.
    case simpleError(ByteBuffer)
    case integer(Int64)
    case bulkString(ByteBuffer)
    case bulkError(ByteBuffer)
    /// Also what version 2 writes as a string or an array of length -1.
    case null
    case boolean(Bool)
    case double(Double)
    /// Decimal digits, after a minus sign if it is negative.
    case bigNumber(ByteBuffer)
    // Boxed because it is rare and would make every value of every array a third larger.
    indirect case verbatimString(format: RESPVerbatimFormat, ByteBuffer)
    case array([RESPValue])
    case set([RESPValue])
    /// What the server sends unasked. Only at the top level.
    case push([RESPValue])
    /// Version 3 only: the same in version 2 is an array of keys and values in turn.
    case map([RESPMapEntry])
}

/// One key of a map with its value.
package struct RESPMapEntry: Sendable, Hashable {
    package var key: RESPValue
    package var value: RESPValue

    package init(key: RESPValue, value: RESPValue) {
        self.key = key
        self.value = value
    }
}

/// Three bytes that tell how a verbatim string is meant to be shown.
package struct RESPVerbatimFormat: Sendable, Hashable {
    /// `txt`: plain text.
    package static let text = Self(UInt8(ascii: "t"), UInt8(ascii: "x"), UInt8(ascii: "t"))
    /// `mkd`: Markdown.
    package static let markdown = Self(UInt8(ascii: "m"), UInt8(ascii: "k"), UInt8(ascii: "d"))

    let first: UInt8
    let second: UInt8
    let third: UInt8

    package init(_ first: UInt8, _ second: UInt8, _ third: UInt8) {
        self.first = first
        self.second = second
        self.third = third
    }
}

// Payloads may be secrets, as the owner of a lock is: descriptions tell the shape of a value only.
extension RESPValue: CustomStringConvertible, CustomReflectable {
    package var description: String {
        switch self {
        case .simpleString(let text): "simple string of \(text.readableBytes) bytes"
        case .simpleError(let text): "simple error of \(text.readableBytes) bytes"
        case .integer(let number): "integer \(number)"
        case .bulkString(let payload): "bulk string of \(payload.readableBytes) bytes"
        case .bulkError(let payload): "bulk error of \(payload.readableBytes) bytes"
        case .null: "null"
        case .boolean(let boolean): "boolean \(boolean)"
        case .double(let number): "double \(number)"
        case .bigNumber(let digits): "big number of \(digits.readableBytes) bytes"
        case .verbatimString(_, let payload): "verbatim string of \(payload.readableBytes) bytes"
        case .array(let elements): "array \(elements)"
        case .set(let elements): "set \(elements)"
        case .push(let elements): "push \(elements)"
        case .map(let entries): "map [\(entries.map { "\($0.key): \($0.value)" }.joined(separator: ", "))]"
        }
    }

    package var customMirror: Mirror { Mirror(self, children: ["shape": self.description]) }
}
