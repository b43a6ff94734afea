/// What the first byte of a value says it is.
enum RESPType: UInt8 {
    case simpleString = 0x2B  // +
    case simpleError = 0x2D  // -
    case integer = 0x3A  // :
    case bulkString = 0x24  // $
    case array = 0x2A  // *
    case null = 0x5F  // _
    case boolean = 0x23  // #
    case double = 0x2C  // ,
    case bigNumber = 0x28  // (
    case bulkError = 0x21  // !
    case verbatimString = 0x3D  // =
    case map = 0x25  // %
    case attribute = 0x7C  // |
    case set = 0x7E  // ~
    case push = 0x3E  // >

    /// Whether its line is a number: its value, its length or the number of its elements.
    var hasNumber: Bool {
        switch self {
        case .integer, .bulkString, .array, .bulkError, .verbatimString, .map, .attribute, .set, .push: true
        case .simpleString, .simpleError, .null, .boolean, .double, .bigNumber: false
        }
    }
}

/// The line that every value starts with: a type byte, then text or a number, then CRLF.
enum RESPLine {
    enum Found {
        /// The line is not complete. So many bytes were looked at and need not be again.
        case incomplete(scannedBytes: Int)
        /// `lengthInBytes` is that of the text between the type byte and the CRLF.
        case number(RESPType, Int64, lengthInBytes: Int)
        case text(RESPType, lengthInBytes: Int)
        /// The fault shows at this index.
        case fault(RESPError.Code, at: Int)
    }

    private static let carriageReturn = UInt8(ascii: "\r")
    private static let lineFeed = UInt8(ascii: "\n")

    /// Reads the line at the start of `bytes`, of which the first `scannedBytes` were looked at before.
    ///
    /// Whether and where it finds a fault depends on the bytes of the line alone, not on how many of them came at a
    /// time.
    @inline(__always)
    static func read(_ bytes: UnsafeRawBufferPointer, scannedBytes: Int, maximumLengthInBytes: Int) -> Found {
        guard let first = bytes.first else { return .incomplete(scannedBytes: 0) }
        guard let type = RESPType(rawValue: first) else { return .fault(.unknownType, at: 0) }
        if type.hasNumber, let found = Self.readShortNumber(type, bytes) { return found }
        return Self.readAnyLine(type, bytes, scannedBytes: scannedBytes, maximumLengthInBytes: maximumLengthInBytes)
    }

    /// Nearly all numbers. `nil` if the line is incomplete or out of the ordinary: then ``readAnyLine`` judges it.
    @inline(__always)
    private static func readShortNumber(_ type: RESPType, _ bytes: UnsafeRawBufferPointer) -> Found? {
        var index = 1
        // A length has a sign only as the -1 of null.
        let isNegative = type == .integer && bytes.count > 1 && bytes[1] == UInt8(ascii: "-")
        if isNegative { index = 2 }
        let firstDigit = index
        // 18 digits cannot overflow.
        let end = min(bytes.count, firstDigit + 18)
        var number: Int64 = 0
        while index < end {
            let digit = bytes[index] &- UInt8(ascii: "0")
            guard digit <= 9 else { break }
            number = number &* 10 &+ Int64(digit)
            index &+= 1
        }
        guard index > firstDigit, index &+ 1 < bytes.count, bytes[index] == Self.carriageReturn,
            bytes[index &+ 1] == Self.lineFeed
        else { return nil }
        return .number(type, isNegative ? 0 &- number : number, lengthInBytes: index &- 1)
    }

    private static func readAnyLine(
        _ type: RESPType, _ bytes: UnsafeRawBufferPointer, scannedBytes: Int, maximumLengthInBytes: Int
    ) -> Found {
        var index = max(1, scannedBytes)
        // The one byte beyond the longest line must be its CR.
        let end = min(bytes.count, maximumLengthInBytes + 2)
        while index < end {
            let byte = bytes[index]
            if byte == Self.carriageReturn {
                guard index + 1 < bytes.count else { return .incomplete(scannedBytes: index) }
                guard bytes[index + 1] == Self.lineFeed else { return .fault(.bareLineBreak, at: index) }
                return Self.interpret(type, UnsafeRawBufferPointer(rebasing: bytes[1..<index]))
            }
            if byte == Self.lineFeed { return .fault(.bareLineBreak, at: index) }
            index += 1
        }
        guard index < maximumLengthInBytes + 2 else { return .fault(.lineTooLong, at: index - 1) }
        return .incomplete(scannedBytes: index)
    }

    private static func interpret(_ type: RESPType, _ text: UnsafeRawBufferPointer) -> Found {
        guard type.hasNumber else { return .text(type, lengthInBytes: text.count) }
        switch RESPNumber.integer(text) {
        case .value(let number):
            // Of the negative lengths only that of null has a meaning, and `-0` and `-01` are none of its spellings.
            guard type == .integer || text.first != UInt8(ascii: "-") || text.elementsEqual("-1".utf8) else {
                return .fault(.invalidLength, at: text.count)
            }
            return .number(type, number, lengthInBytes: text.count)
        case .overflow:
            return .fault(.numberOverflow, at: text.count)
        case .malformed:
            if type == .integer { return .fault(.invalidInteger, at: text.count) }
            let isStreamed = text.count == 1 && text.first == UInt8(ascii: "?")
            return .fault(isStreamed ? .streamedValue : .invalidLength, at: text.count)
        }
    }
}
