package import NIOCore

/// Writes commands: arrays of bulk strings, straight into a buffer.
extension ByteBuffer {
    /// The start of a command with this many words.
    package mutating func writeRESPArrayHeader(count: Int) {
        self.writeInteger(UInt8(ascii: "*"))
        self.writeDecimal(count)
        self.writeStaticString("\r\n")
    }

    /// One word of a command.
    package mutating func writeRESPBulk(_ text: String) {
        self.writeInteger(UInt8(ascii: "$"))
        self.writeDecimal(text.utf8.count)
        self.writeStaticString("\r\n")
        self.writeString(text)
        self.writeStaticString("\r\n")
    }

    /// A number as one word of a command, in decimal digits.
    package mutating func writeRESPBulk(_ number: Int64) {
        self.writeInteger(UInt8(ascii: "$"))
        self.writeDecimal(Self.decimalLength(number))
        self.writeStaticString("\r\n")
        self.writeDecimal(number)
        self.writeStaticString("\r\n")
    }

    /// A whole command.
    package mutating func writeRESPCommand(_ arguments: [String]) {
        self.writeRESPArrayHeader(count: arguments.count)
        for argument in arguments { self.writeRESPBulk(argument) }
    }

    package mutating func writeDecimal(_ number: some FixedWidthInteger) {
        // Without a String: this runs several times for each command.
        self.writeWithUnsafeMutableBytes(minimumWritableBytes: 20) { target in
            var magnitude = UInt64(number.magnitude)
            var length = Self.digitCount(magnitude)
            if number < 0 {
                target[0] = UInt8(ascii: "-")
                length += 1
            }
            var index = length
            repeat {
                index -= 1
                target[index] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: magnitude % 10)
                magnitude /= 10
            } while magnitude > 0
            return length
        }
    }

    private static func decimalLength(_ number: Int64) -> Int {
        Self.digitCount(number.magnitude) + (number < 0 ? 1 : 0)
    }

    private static func digitCount(_ magnitude: UInt64) -> Int {
        var count = 1
        var rest = magnitude
        while rest >= 10 {
            rest /= 10
            count += 1
        }
        return count
    }
}
