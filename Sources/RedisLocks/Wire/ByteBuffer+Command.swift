package import NIOCore

/// Writing commands: arrays of bulk strings, which both versions of the protocol have. Nothing makes a `String` or an
/// array on its way.
extension ByteBuffer {
    /// Writes a command, whose name is the first argument.
    package mutating func writeRESPCommand(_ arguments: [String]) {
        self.reserveCapacity(
            minimumWritableBytes: arguments.reduce(RESPWriter.maximumLengthInBytes) {
                $0 + RESPWriter.bulkRoom($1.utf8.count)
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
        self.writeWithUnsafeMutableBytes(minimumWritableBytes: RESPWriter.numberRoom) { bytes in
            var writer = RESPWriter(bytes)
            writer.writeBulk(isNegative: isNegative, magnitude)
            return writer.lengthInBytes
        }
    }

    /// Writes only the digits of a number, after a minus sign if it is negative. It must have at most 64 bits.
    package mutating func writeDecimal(_ number: some FixedWidthInteger) {
        let isNegative = number < 0
        let magnitude = UInt64(number.magnitude)
        self.writeWithUnsafeMutableBytes(minimumWritableBytes: RESPWriter.maximumLengthInBytes) { bytes in
            var line = RESPWriter(bytes)
            if isNegative { line.write(UInt8(ascii: "-")) }
            line.writeDecimal(magnitude)
            return line.lengthInBytes
        }
    }

    /// Writes a line that is a number.
    mutating func writeRESPLine(_ type: RESPType, isNegative: Bool = false, _ magnitude: UInt64) {
        self.writeWithUnsafeMutableBytes(minimumWritableBytes: RESPWriter.maximumLengthInBytes) { bytes in
            var line = RESPWriter(bytes)
            line.write(type.rawValue)
            if isNegative { line.write(UInt8(ascii: "-")) }
            line.writeDecimal(magnitude)
            line.writeLineBreak()
            return line.lengthInBytes
        }
    }

    /// Writes a value that is a length and so many bytes. All at once, as checking for room is most of the work.
    mutating func writeRESPPayload(_ type: RESPType, _ payload: UnsafeRawBufferPointer) {
        self.writeWithUnsafeMutableBytes(minimumWritableBytes: RESPWriter.bulkRoom(payload.count)) { bytes in
            var line = RESPWriter(bytes)
            line.write(type.rawValue)
            line.writeDecimal(UInt64(payload.count))
            line.writeLineBreak()
            line.write(payload)
            line.writeLineBreak()
            return line.lengthInBytes
        }
    }
}

/// Writes into memory that has room enough: whoever makes it counts before.
package struct RESPWriter {
    /// Of a line that is a number: its type, a sign, 20 digits, CRLF.
    static let maximumLengthInBytes = 24

    private let bytes: UnsafeMutableRawBufferPointer
    package private(set) var lengthInBytes = 0

    package init(_ bytes: UnsafeMutableRawBufferPointer) {
        self.bytes = bytes
    }

    /// The room that a bulk string of so many bytes takes at most.
    package static func bulkRoom(_ lengthInBytes: Int) -> Int { Self.maximumLengthInBytes + lengthInBytes + 2 }
    /// And a number as a bulk string.
    package static var numberRoom: Int { 2 * Self.maximumLengthInBytes }

    package mutating func writeBulk(_ text: String) {
        var text = text
        text.withUTF8 { bytes in
            self.writeBulkHead(lengthInBytes: bytes.count)
            self.write(UnsafeRawBufferPointer(bytes))
        }
        self.writeLineBreak()
    }

    package mutating func writeBulk(_ number: Int64) {
        self.writeBulk(isNegative: number < 0, number.magnitude)
    }

    mutating func writeBulk(isNegative: Bool, _ magnitude: UInt64) {
        self.writeBulkHead(lengthInBytes: Self.digitCount(magnitude) + (isNegative ? 1 : 0))
        if isNegative { self.write(UInt8(ascii: "-")) }
        self.writeDecimal(magnitude)
        self.writeLineBreak()
    }

    /// So many bytes have to follow, and a line break.
    package mutating func writeBulkHead(lengthInBytes: Int) {
        self.write(UInt8(ascii: "$"))
        self.writeDecimal(UInt64(lengthInBytes))
        self.writeLineBreak()
    }

    package mutating func write(_ byte: UInt8) {
        self.bytes[self.lengthInBytes] = byte
        self.lengthInBytes += 1
    }

    package mutating func writeLineBreak() {
        self.write(UInt8(ascii: "\r"))
        self.write(UInt8(ascii: "\n"))
    }

    package mutating func write(_ payload: UnsafeRawBufferPointer) {
        precondition(payload.count <= self.bytes.count - self.lengthInBytes, "no room for \(payload.count) bytes")
        guard let target = self.bytes.baseAddress, let source = payload.baseAddress else { return }
        (target + self.lengthInBytes).copyMemory(from: source, byteCount: payload.count)
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
