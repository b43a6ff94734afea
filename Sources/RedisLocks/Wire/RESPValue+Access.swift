package import NIOCore

/// What a client asks of a reply.
extension RESPValue {
    /// Whether the server refused what was asked.
    package var isError: Bool {
        switch self {
        case .simpleError, .bulkError: true
        case .simpleString, .integer, .bulkString, .null, .boolean, .double, .bigNumber, .verbatimString, .array, .set,
            .push,
            .map:
            false
        }
    }

    /// The text of an error, with what is not UTF-8 replaced. Nil if it is none.
    package var errorText: String? {
        switch self {
        case .simpleError(let text), .bulkError(let text): String(buffer: text)
        case .simpleString, .integer, .bulkString, .null, .boolean, .double, .bigNumber, .verbatimString, .array, .set,
            .push,
            .map:
            nil
        }
    }

    /// The bytes of a simple, bulk or verbatim string. Nil for other values.
    package var bytes: ByteBuffer? {
        switch self {
        case .simpleString(let text), .bulkString(let text), .verbatimString(_, let text): text
        case .simpleError, .integer, .bulkError, .null, .boolean, .double, .bigNumber, .array, .set, .push, .map: nil
        }
    }

    /// The text of a simple, bulk or verbatim string, with what is not UTF-8 replaced. Nil for other values.
    package var string: String? { self.bytes.map { String(buffer: $0) } }

    /// An integer, or a bulk string of decimal digits (after a minus sign if it is negative) that fits 64 bits.
    package var int: Int64? {
        switch self {
        case .integer(let number):
            return number
        case .bulkString(let payload):
            let parsed = payload.withUnsafeReadableBytes { RESPNumber.integer($0) }
            return switch parsed {
            case .value(let number): number
            case .malformed, .overflow: nil
            }
        case .simpleString, .simpleError, .bulkError, .null, .boolean, .double, .bigNumber, .verbatimString, .array,
            .set,
            .push, .map:
            return nil
        }
    }

    /// The elements of an array, a set or a push. Nil for other values.
    package var elements: [RESPValue]? {
        switch self {
        case .array(let elements), .set(let elements), .push(let elements): elements
        case .simpleString, .simpleError, .integer, .bulkString, .bulkError, .null, .boolean, .double, .bigNumber,
            .verbatimString, .map:
            nil
        }
    }

    /// The value of the first key with this text, in a map or in an array of keys and values in turn (what version 2
    /// has for a map). Nil if there is none. Takes time in proportion to the number of keys.
    package subscript(key: String) -> RESPValue? {
        switch self {
        case .map(let entries):
            return entries.first { $0.key.isText(key) }?.value
        case .array(let elements) where elements.count.isMultiple(of: 2):
            for index in stride(from: 0, to: elements.count, by: 2) where elements[index].isText(key) {
                return elements[index + 1]
            }
            return nil
        case .array, .simpleString, .simpleError, .integer, .bulkString, .bulkError, .null, .boolean, .double,
            .bigNumber,
            .verbatimString, .set, .push:
            return nil
        }
    }

    /// Whether this is a simple, bulk or verbatim string of exactly this text. Makes no `String`.
    package func isText(_ text: String) -> Bool {
        guard let bytes = self.bytes, bytes.readableBytes == text.utf8.count else { return false }
        return bytes.readableBytesView.elementsEqual(text.utf8)
    }
}
