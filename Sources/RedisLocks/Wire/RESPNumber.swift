/// The numbers and booleans of the protocol. Numbers are decimal, with a minus sign if negative and never with a plus
/// sign: Redis' description of the protocol would allow one, but no server writes it.
enum RESPNumber {
    enum Parsed {
        case value(Int64)
        case malformed
        case overflow
    }

    /// Digits after an optional minus sign.
    static func integer(_ text: UnsafeRawBufferPointer) -> Parsed {
        let isNegative = text.first == UInt8(ascii: "-")
        let digits = UnsafeRawBufferPointer(rebasing: text.dropFirst(isNegative ? 1 : 0))
        guard Self.areDigits(digits) else { return .malformed }
        let significant = digits.drop { $0 == UInt8(ascii: "0") }
        // 19 digits always fit 64 bits without sign.
        guard significant.count <= 19 else { return .overflow }
        var magnitude: UInt64 = 0
        for digit in significant { magnitude = magnitude &* 10 &+ UInt64(digit &- UInt8(ascii: "0")) }
        guard magnitude <= (isNegative ? Int64.min.magnitude : Int64.max.magnitude) else { return .overflow }
        return .value(Int64(truncatingIfNeeded: isNegative ? 0 &- magnitude : magnitude))
    }

    /// `nil` if it is neither `t` nor `f`.
    static func boolean(_ text: UnsafeRawBufferPointer) -> Bool? {
        if text.elementsEqual("t".utf8) { return true }
        return text.elementsEqual("f".utf8) ? false : nil
    }

    /// Digits after an optional minus sign, of any length.
    static func isBigNumber(_ text: UnsafeRawBufferPointer) -> Bool {
        Self.areDigits(UnsafeRawBufferPointer(rebasing: text.dropFirst(text.first == UInt8(ascii: "-") ? 1 : 0)))
    }

    /// `nil` if it is no double. One that is too large is infinite, as `Double` has it.
    static func double(_ text: UnsafeRawBufferPointer) -> Double? {
        var unsigned = text[...]
        let isNegative = unsigned.first == UInt8(ascii: "-")
        if isNegative { unsigned.removeFirst() }
        if unsigned.elementsEqual("inf".utf8) { return isNegative ? -.infinity : .infinity }
        // Redis before 7.2 writes what the C library does, so there is a negative one.
        if unsigned.elementsEqual("nan".utf8) { return .nan }
        // `Double` itself would accept hexadecimal digits, spaces and more.
        guard Self.takeDigits(&unsigned) else { return nil }
        if unsigned.first == UInt8(ascii: ".") {
            unsigned.removeFirst()
            guard Self.takeDigits(&unsigned) else { return nil }
        }
        if let exponent = unsigned.first, exponent | 0x20 == UInt8(ascii: "e") {
            unsigned.removeFirst()
            if let sign = unsigned.first, sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") {
                unsigned.removeFirst()
            }
            guard Self.takeDigits(&unsigned) else { return nil }
        }
        guard unsigned.isEmpty else { return nil }
        return Double(String(decoding: text, as: UTF8.self))
    }

    /// What ``double(_:)`` reads as the same number.
    static func text(_ double: Double) -> String {
        if double.isNaN { return "nan" }
        if double.isInfinite { return double < 0 ? "-inf" : "inf" }
        return double.description
    }

    private static func areDigits(_ text: UnsafeRawBufferPointer) -> Bool {
        guard !text.isEmpty else { return false }
        for byte in text where byte &- UInt8(ascii: "0") > 9 { return false }
        return true
    }

    /// Drops the digits at the start. False if there are none.
    private static func takeDigits(_ text: inout Slice<UnsafeRawBufferPointer>) -> Bool {
        let rest = text.drop { $0 &- UInt8(ascii: "0") <= 9 }
        defer { text = rest }
        return rest.startIndex != text.startIndex
    }
}
