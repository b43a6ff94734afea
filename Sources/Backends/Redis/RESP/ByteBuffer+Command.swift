package import NIOCore

/// Writing commands: arrays of bulk strings, which both versions of the protocol have. Nothing makes a `String` or an
/// array on its way.
extension ByteBuffer {
    /// Writes a command, whose name is the first argument.
    package mutating func writeRESPCommand(_ arguments: [String]) {
        self.reserveCapacity(
            minimumWritableBytes: arguments.reduce(RESPLineWriter.maximumLengthInBytes) {
                $0 + RESPLineWriter.maximumLengthInBytes + $1.utf8.count + 2
            }
        )
        self.writeRESPArrayHeader(count: arguments.count)
        for argument in arguments { self.writeRESPBulk(argument) }
    }

    /// `count` bulk strings have to follow.
    package mutating func writeRESPArrayHeader(count: Int) {
        precondition(count >= 0, "an array of \(count) elements")
        self.writeRESPLine(.array, UInt64(count))
    }

    package mutating func writeRESPBulk(_ text: String) {
        var text = text
        text.withUTF8 { self.writeRESPBulk(UnsafeRawBufferPointer($0)) }
    }

    package mutating func writeRESPBulk(_ text: StaticString) {
        text.withUTF8Buffer { self.writeRESPBulk(UnsafeRawBufferPointer($0)) }
    }

    package mutating func writeRESPBulk(_ bytes: ByteBuffer) {
        bytes.withUnsafeReadableBytes { self.writeRESPBulk($0) }
    }

    package mutating func writeRESPBulk(_ bytes: some Collection<UInt8>) {
        let done: Void? = bytes.withContiguousStorageIfAvailable { self.writeRESPBulk(UnsafeRawBufferPointer($0)) }
        guard done == nil else { return }
        self.writeRESPLine(.bulkString, UInt64(bytes.count))
        self.writeBytes(bytes)
        self.writeStaticString("\r\n")
    }

    package mutating func writeRESPBulk(_ bytes: UnsafeRawBufferPointer) {
        self.writeRESPPayload(.bulkString, bytes)
    }

    /// Writes the number in decimal, as a bulk string. It must have at most 64 bits.
    package mutating func writeRESPBulk(_ integer: some FixedWidthInteger) {
        self.writeRESPBulk(isNegative: integer < 0, UInt64(integer.magnitude))
    }

    // Three times as fast as the generic one, which nothing specialises for another module.
    package mutating func writeRESPBulk(_ integer: Int64) {
        self.writeRESPBulk(isNegative: integer < 0, integer.magnitude)
    }

    private mutating func writeRESPBulk(isNegative: Bool, _ magnitude: UInt64) {
        self.writeWithUnsafeMutableBytes(minimumWritableBytes: 2 * RESPLineWriter.maximumLengthInBytes) { bytes in
            var line = RESPLineWriter(bytes)
            line.write(UInt8(ascii: "$"))
            line.writeDecimal(UInt64(RESPLineWriter.digitCount(magnitude) + (isNegative ? 1 : 0)))
            line.writeLineBreak()
            if isNegative { line.write(UInt8(ascii: "-")) }
            line.writeDecimal(magnitude)
            line.writeLineBreak()
            return line.lengthInBytes
        }
    }

    /// Writes only the digits of a number, after a minus sign if it is negative. It must have at most 64 bits.
    package mutating func writeDecimal(_ number: some FixedWidthInteger) {
        let isNegative = number < 0
        let magnitude = UInt64(number.magnitude)
        self.writeWithUnsafeMutableBytes(minimumWritableBytes: RESPLineWriter.maximumLengthInBytes) { bytes in
            var line = RESPLineWriter(bytes)
            if isNegative { line.write(UInt8(ascii: "-")) }
            line.writeDecimal(magnitude)
            return line.lengthInBytes
        }
    }

    /// Writes a line that is a number.
    mutating func writeRESPLine(_ type: RESPType, isNegative: Bool = false, _ magnitude: UInt64) {
        self.writeWithUnsafeMutableBytes(minimumWritableBytes: RESPLineWriter.maximumLengthInBytes) { bytes in
            var line = RESPLineWriter(bytes)
            line.write(type.rawValue)
            if isNegative { line.write(UInt8(ascii: "-")) }
            line.writeDecimal(magnitude)
            line.writeLineBreak()
            return line.lengthInBytes
        }
    }

    /// Writes a value that is a length and so many bytes. All at once, as checking for room is most of the work.
    mutating func writeRESPPayload(_ type: RESPType, _ payload: UnsafeRawBufferPointer) {
        let room = RESPLineWriter.maximumLengthInBytes + payload.count + 2
        self.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { bytes in
            var line = RESPLineWriter(bytes)
            line.write(type.rawValue)
            line.writeDecimal(UInt64(payload.count))
            line.writeLineBreak()
            line.write(payload)
            line.writeLineBreak()
            return line.lengthInBytes
        }
    }
}

/// Writes into memory that has room enough.
private struct RESPLineWriter {
    /// Of a line that is a number: its type, a sign, 20 digits, CRLF.
    static let maximumLengthInBytes = 24

    private let bytes: UnsafeMutableRawBufferPointer
    private(set) var lengthInBytes = 0

    init(_ bytes: UnsafeMutableRawBufferPointer) {
        self.bytes = bytes
    }

    mutating func write(_ byte: UInt8) {
        self.bytes[self.lengthInBytes] = byte
        self.lengthInBytes += 1
    }

    mutating func writeLineBreak() {
        self.write(UInt8(ascii: "\r"))
        self.write(UInt8(ascii: "\n"))
    }

    mutating func write(_ payload: UnsafeRawBufferPointer) {
        UnsafeMutableRawBufferPointer(rebasing: self.bytes[self.lengthInBytes...]).copyMemory(from: payload)
        self.lengthInBytes += payload.count
    }

    mutating func writeDecimal(_ number: UInt64) {
        let end = self.lengthInBytes + Self.digitCount(number)
        var rest = number
        for index in stride(from: end - 1, through: self.lengthInBytes, by: -1) {
            self.bytes[index] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
        self.lengthInBytes = end
    }

    /// How many decimal digits a number has: 1 to 20.
    static func digitCount(_ number: UInt64) -> Int {
        var count = 1
        var rest = number / 10
        while rest > 0 {
            count += 1
            rest /= 10
        }
        return count
    }
}
