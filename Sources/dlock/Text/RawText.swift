/// Arguments that are not text, as strings: the argument parser takes nothing else.
///
/// On Linux arguments are bytes, and a file's name need not be UTF-8. Each byte that is no part of UTF-8 text becomes one
/// character of a range that nobody uses (U+10FF80 to U+10FFFF), and comes out again as that byte. Those characters
/// themselves are taken apart into their bytes, so that no two arguments give one string.
enum RawText {
    private static let firstEscape: UInt32 = 0x10FF00

    static func string(_ bytes: [UInt8]) -> String {
        if let text = String(validating: bytes, as: UTF8.self), !Self.hasEscapes(text) { return text }
        var text = String.UnicodeScalarView()
        var rest = bytes[...]
        while let byte = rest.first {
            if let (scalar, length) = Self.scalar(at: rest), !Self.isEscape(scalar) {
                text.append(scalar)
                rest = rest.dropFirst(length)
            } else {
                text.append(Unicode.Scalar(byte < 0x80 ? UInt32(byte) : Self.firstEscape + UInt32(byte))!)
                rest = rest.dropFirst()
            }
        }
        return String(text)
    }

    static func bytes(_ text: String) -> [UInt8] {
        guard Self.hasEscapes(text) else { return Array(text.utf8) }
        return text.unicodeScalars.flatMap { scalar in
            Self.isEscape(scalar) ? [UInt8(scalar.value - Self.firstEscape)] : Array(String(scalar).utf8)
        }
    }

    /// Whether the argument was not UTF-8 text.
    static func hasEscapes(_ text: String) -> Bool { text.unicodeScalars.contains(where: Self.isEscape) }

    /// For people: a byte that is no text is shown as `\xE9`.
    static func shown(_ text: String) -> String {
        guard Self.hasEscapes(text) else { return text }
        return text.unicodeScalars.map { scalar in
            guard Self.isEscape(scalar) else { return String(scalar) }
            return "\\x" + String(scalar.value - Self.firstEscape, radix: 16, uppercase: true)
        }.joined()
    }

    private static func isEscape(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value >= Self.firstEscape + 0x80 && scalar.value <= Self.firstEscape + 0xFF
    }

    private static func scalar(at bytes: ArraySlice<UInt8>) -> (Unicode.Scalar, length: Int)? {
        guard let first = bytes.first else { return nil }
        let length =
            switch first {
            case 0x00...0x7F: 1
            case 0xC2...0xDF: 2
            case 0xE0...0xEF: 3
            case 0xF0...0xF4: 4
            default: 0
            }
        guard length > 0, bytes.count >= length,
            let scalar = String(validating: bytes.prefix(length), as: UTF8.self)?.unicodeScalars.first
        else { return nil }
        return (scalar, length)
    }
}
