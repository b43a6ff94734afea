import NIOCore
import TestKit

@testable import RedisLocks

/// Any value that can be written and read again, as it is compared: no number that is unequal to itself.
struct RandomValues {
    var generator: SeededGenerator
    let version: RESPVersion

    init(seed: UInt64, version: RESPVersion) {
        self.generator = SeededGenerator(seed: seed)
        self.version = version
    }

    /// A value as it stands at the top level.
    mutating func next() -> RESPValue {
        if self.version == .resp3, Int.random(in: 0..<8, using: &self.generator) == 0 {
            return .push(self.elements(depth: 1))
        }
        return self.value(depth: 0)
    }

    /// `depth` aggregates are around it.
    private mutating func value(depth: Int) -> RESPValue {
        let isAggregate = depth < 4 && Int.random(in: 0..<(depth + 2), using: &self.generator) == 0
        return isAggregate ? self.aggregate(depth: depth + 1) : self.leaf()
    }

    private mutating func aggregate(depth: Int) -> RESPValue {
        guard self.version == .resp3 else { return .array(self.elements(depth: depth)) }
        switch Int.random(in: 0..<3, using: &self.generator) {
        case 0: return .array(self.elements(depth: depth))
        case 1: return .set(self.elements(depth: depth))
        default:
            return .map(self.elements(depth: depth).map { RESPMapEntry(key: $0, value: self.value(depth: depth)) })
        }
    }

    private mutating func elements(depth: Int) -> [RESPValue] {
        (0..<Int.random(in: 0...5, using: &self.generator)).map { _ in self.value(depth: depth) }
    }

    private mutating func leaf() -> RESPValue {
        switch Int.random(in: 0..<(self.version == .resp3 ? 10 : 5), using: &self.generator) {
        case 0: .simpleString(self.line())
        case 1: .simpleError(self.line())
        case 2: .integer(self.integer())
        case 3: .bulkString(self.bytes())
        case 4: .null
        case 5: .boolean(Bool.random(using: &self.generator))
        case 6: .double(self.double())
        case 7: .bigNumber(self.digits())
        case 8: .bulkError(self.bytes())
        default: .verbatimString(format: self.format(), self.bytes())
        }
    }

    private mutating func integer() -> Int64 {
        // Of all lengths alike.
        let number = Int64(bitPattern: self.generator.next()) >> Int.random(in: 0..<64, using: &self.generator)
        return [.min, .max, number, number, number, number].randomElement(using: &self.generator) ?? number
    }

    private mutating func double() -> Double {
        let bits = Double(bitPattern: self.generator.next())
        let short = Double(Int.random(in: -1000...1000, using: &self.generator)) / 8
        let number = [bits, short, .infinity, -.infinity, -0.0, .leastNonzeroMagnitude].randomElement(
            using: &self.generator)
        guard let number, !number.isNaN else { return 0 }
        return number
    }

    private mutating func digits() -> ByteBuffer {
        var text = Bool.random(using: &self.generator) ? "-" : ""
        for _ in 0..<Int.random(in: 1...60, using: &self.generator) {
            text += String(Int.random(in: 0...9, using: &self.generator))
        }
        return ByteBuffer(string: text)
    }

    private mutating func format() -> RESPVerbatimFormat {
        let other = RESPVerbatimFormat(self.byte(), self.byte(), self.byte())
        return [.text, .markdown, other].randomElement(using: &self.generator) ?? other
    }

    private mutating func bytes() -> ByteBuffer {
        let count = [0, 1, 2, 7, 40, 200].randomElement(using: &self.generator) ?? 0
        return ByteBuffer(bytes: (0..<count).map { _ in self.byte() })
    }

    private mutating func line() -> ByteBuffer {
        let breaks: [UInt8] = [0x0D, 0x0A]
        return ByteBuffer(bytes: self.bytes().readableBytesView.filter { !breaks.contains($0) })
    }

    /// Often one that has a meaning in the protocol.
    private mutating func byte() -> UInt8 {
        let known = [UInt8]("\r\n\r\n+-:$*_#,(!=%|~>0123456789?:-".utf8)
        let any = UInt8.random(in: .min ... .max, using: &self.generator)
        return Bool.random(using: &self.generator) ? any : known.randomElement(using: &self.generator) ?? any
    }
}
