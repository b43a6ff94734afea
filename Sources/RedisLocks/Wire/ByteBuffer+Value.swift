package import NIOCore

/// The two versions of the protocol that servers speak.
package enum RESPVersion: Sendable, Hashable, CaseIterable {
    case resp2
    case resp3
}

/// Writing any value, as a server does.
extension ByteBuffer {
    /// Writes a value.
    ///
    /// Version 2 has simple strings, errors, integers, bulk strings, arrays and null only. Other values become what a
    /// server writes for them to a client of version 2: maps an array of keys and values in turn, booleans 1 and 0,
    /// doubles, big numbers and verbatim strings a bulk string, bulk errors a simple error.
    ///
    /// Line breaks in what must be one line become spaces: they would end the value early and shift all that follows.
    package mutating func writeRESP(_ value: RESPValue, version: RESPVersion = .resp3) {
        switch version {
        case .resp2: self.writeRESP2(value)
        case .resp3: self.writeRESP3(value)
        }
    }

    private mutating func writeRESP3(_ value: RESPValue) {
        switch value {
        case .simpleString(let text): self.writeRESPText(.simpleString, text)
        case .simpleError(let text): self.writeRESPText(.simpleError, text)
        case .integer(let number):
            self.writeRESPLine(.integer, isNegative: number < 0, number.magnitude)
        case .bulkString(let payload): payload.withUnsafeReadableBytes { self.writeRESPPayload(.bulkString, $0) }
        case .bulkError(let payload): payload.withUnsafeReadableBytes { self.writeRESPPayload(.bulkError, $0) }
        case .null: self.writeStaticString("_\r\n")
        case .boolean(let boolean): self.writeStaticString(boolean ? "#t\r\n" : "#f\r\n")
        case .double(let number):
            self.writeInteger(RESPType.double.rawValue)
            self.writeString(RESPNumber.text(number))
            self.writeStaticString("\r\n")
        case .bigNumber(let digits): self.writeRESPText(.bigNumber, digits)
        case .verbatimString(let format, let text):
            self.writeRESPCount(.verbatimString, text.readableBytes + 4)
            self.writeMultipleIntegers(format.first, format.second, format.third, UInt8(ascii: ":"))
            self.writeImmutableBuffer(text)
            self.writeStaticString("\r\n")
        case .array(let elements): self.writeRESP3Aggregate(.array, elements)
        case .set(let elements): self.writeRESP3Aggregate(.set, elements)
        case .push(let elements): self.writeRESP3Aggregate(.push, elements)
        case .map(let entries):
            self.writeRESPCount(.map, entries.count)
            for entry in entries {
                self.writeRESP3(entry.key)
                self.writeRESP3(entry.value)
            }
        }
    }

    private mutating func writeRESP2(_ value: RESPValue) {
        switch value {
        case .simpleString, .simpleError, .integer, .bulkString: self.writeRESP3(value)
        case .bulkError(let payload): self.writeRESPText(.simpleError, payload)
        case .null: self.writeStaticString("$-1\r\n")
        case .boolean(let boolean): self.writeStaticString(boolean ? ":1\r\n" : ":0\r\n")
        case .double(let number): self.writeRESPBulk(RESPNumber.text(number))
        case .bigNumber(let text), .verbatimString(_, let text): self.writeRESPBulk(text)
        case .array(let elements), .set(let elements), .push(let elements):
            self.writeRESPCount(.array, elements.count)
            for element in elements { self.writeRESP2(element) }
        case .map(let entries):
            self.writeRESPCount(.array, entries.count * 2)
            for entry in entries {
                self.writeRESP2(entry.key)
                self.writeRESP2(entry.value)
            }
        }
    }

    private mutating func writeRESP3Aggregate(_ type: RESPType, _ elements: [RESPValue]) {
        self.writeRESPCount(type, elements.count)
        for element in elements { self.writeRESP3(element) }
    }

    private mutating func writeRESPCount(_ type: RESPType, _ count: Int) {
        self.writeRESPLine(type, UInt64(count))
    }

    private mutating func writeRESPText(_ type: RESPType, _ text: ByteBuffer) {
        self.writeInteger(type.rawValue)
        self.writeBytes(
            text.readableBytesView.lazy.map { byte in
                byte == UInt8(ascii: "\r") || byte == UInt8(ascii: "\n") ? UInt8(ascii: " ") : byte
            })
        self.writeStaticString("\r\n")
    }
}
