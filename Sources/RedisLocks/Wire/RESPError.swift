/// Why bytes cannot be decoded. Nothing that comes after them can be, either: the connection is of no more use.
package struct RESPError: Error, Sendable, Hashable {
    package enum Code: String, Sendable, Hashable, CaseIterable {
        /// The first byte of a value is none that the protocol knows. Such bytes are not the protocol's at all.
        case unknownType
        /// A CR without LF after it, or a LF without CR before it.
        case bareLineBreak
        /// An integer is empty or has something in it that is no digit.
        case invalidInteger
        /// A length is empty, negative (other than the -1 that stands for null) or has something in it that is no
        /// digit.
        case invalidLength
        /// An integer or a length does not fit 64 bits.
        case numberOverflow
        case invalidDouble
        case invalidBigNumber
        case invalidBoolean
        case invalidNull
        /// A verbatim string does not start with three bytes and a colon.
        case invalidVerbatimString
        /// A payload is not followed by CRLF.
        case missingTerminator
        /// The length `?`, which announces a value in parts. No server sends it, and it has no bound.
        case streamedValue
        /// A push within another value.
        case nestedPush
        /// See ``RESPLimits/maximumLineLengthInBytes``.
        case lineTooLong
        /// See ``RESPLimits/maximumBulkLengthInBytes``.
        case bulkTooLong
        /// See ``RESPLimits/maximumNestingDepth``.
        case nestingTooDeep
        /// See ``RESPLimits/maximumElementCount``.
        case tooManyElements
        /// See ``RESPLimits/maximumPendingBytes``.
        case valueTooLarge
    }

    package let code: Code
    /// Where it went wrong, first byte lowest. Few, as they may be of a secret.
    private let excerpt: UInt64
    private let excerptLengthInBytes: UInt8

    /// `bytes` is the start of what was wrong; at most 8 of them are kept.
    init(_ code: Code, _ bytes: UnsafeRawBufferPointer) {
        var excerpt: UInt64 = 0
        let kept = bytes.prefix(8)
        for byte in kept.reversed() { excerpt = excerpt << 8 | UInt64(byte) }
        self.code = code
        self.excerpt = excerpt
        self.excerptLengthInBytes = UInt8(kept.count)
    }

    /// Whether the bytes may have been right, and a limit of ours was too low for them.
    package var isLimit: Bool {
        switch self.code {
        case .lineTooLong, .bulkTooLong, .nestingTooDeep, .tooManyElements, .valueTooLarge: true
        case .unknownType, .bareLineBreak, .invalidInteger, .invalidLength, .numberOverflow, .invalidDouble,
            .invalidBigNumber, .invalidBoolean, .invalidNull, .invalidVerbatimString, .missingTerminator,
            .streamedValue,
            .nestedPush:
            false
        }
    }
}

extension RESPError: CustomStringConvertible {
    /// One line of printable ASCII, with at most 8 of the bytes, escaped.
    package var description: String { "\(self.reason): \"\(self.escapedExcerpt)\"" }

    private var reason: String {
        switch self.code {
        case .unknownType: "a value of no known type"
        case .bareLineBreak: "a line break that is not CRLF"
        case .invalidInteger: "an integer that is no decimal number"
        case .invalidLength: "a length that is no decimal number"
        case .numberOverflow: "a number of more than 64 bits"
        case .invalidDouble: "a double that is no decimal number"
        case .invalidBigNumber: "a big number that is no decimal number"
        case .invalidBoolean: "a boolean that is neither t nor f"
        case .invalidNull: "a null that is not empty"
        case .invalidVerbatimString: "a verbatim string without a format"
        case .missingTerminator: "a payload that does not end with CRLF"
        case .streamedValue: "a value in parts, which is not supported"
        case .nestedPush: "a push within another value"
        case .lineTooLong: "a line longer than allowed"
        case .bulkTooLong: "a payload longer than allowed"
        case .nestingTooDeep: "aggregates nested deeper than allowed"
        case .tooManyElements: "more elements than allowed"
        case .valueTooLarge: "a value of more bytes than allowed"
        }
    }

    private var escapedExcerpt: String {
        var text = ""
        for index in 0..<Int(self.excerptLengthInBytes) {
            let byte = UInt8(truncatingIfNeeded: self.excerpt >> (8 * index))
            switch byte {
            case UInt8(ascii: "\r"): text += "\\r"
            case UInt8(ascii: "\n"): text += "\\n"
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): text += "\\" + String(UnicodeScalar(byte))
            case 0x20..<0x7F: text.unicodeScalars.append(UnicodeScalar(byte))
            default: text += "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
            }
        }
        return text
    }
}
