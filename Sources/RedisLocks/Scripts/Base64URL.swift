/// Base64 with the URL alphabet and without padding (RFC 4648, section 5).
enum Base64URL {
    private static let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

    @inline(__always)
    static func encode(_ bytes: UnsafeRawBufferPointer, _ write: (UInt8) -> Void) {
        let alphabet = Self.alphabet.utf8Start
        var index = 0
        while index + 3 <= bytes.count {
            let bits = Int(bytes[index]) << 16 | Int(bytes[index + 1]) << 8 | Int(bytes[index + 2])
            write(alphabet[bits >> 18])
            write(alphabet[bits >> 12 & 63])
            write(alphabet[bits >> 6 & 63])
            write(alphabet[bits & 63])
            index += 3
        }
        switch bytes.count - index {
        case 1:
            let bits = Int(bytes[index]) << 4
            write(alphabet[bits >> 6])
            write(alphabet[bits & 63])
        case 2:
            let bits = Int(bytes[index]) << 10 | Int(bytes[index + 1]) << 2
            write(alphabet[bits >> 12])
            write(alphabet[bits >> 6 & 63])
            write(alphabet[bits & 63])
        default: break
        }
    }

    static func value(of character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): character - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): character - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0") + 52
        case UInt8(ascii: "-"): 62
        case UInt8(ascii: "_"): 63
        default: nil
        }
    }
}
