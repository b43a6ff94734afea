/// Percent-encoding of UTF-8 text (RFC 3986, section 2.1).
package enum Percent {
    @usableFromInline static let sign = UInt8(ascii: "%")

    /// Letters, digits and `-._~`, which stay as they are everywhere (RFC 3986, section 2.3).
    package static func isUnreserved(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "a"..."z", "A"..."Z", "0"..."9", "-", ".", "_", "~": true
        default: false
        }
    }

    /// - Parameters:
    ///   - maximum: no more bytes than this are written: what begins with the first character that has no room is left out.
    ///   - isPlain: whether a character stays as it is. `%` must not.
    @inlinable
    package static func encoded(
        _ text: String,
        atMostBytes maximum: Int = .max,
        plain isPlain: (Unicode.Scalar) -> Bool
    ) -> String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count)
        for scalar in text.unicodeScalars {
            let isPlain = isPlain(scalar)
            // As a rule it is.
            if isPlain, scalar.isASCII {
                guard bytes.count < maximum else { break }
                bytes.append(UInt8(truncatingIfNeeded: scalar.value))
                continue
            }
            let utf8 = UTF8.encode(scalar).unsafelyUnwrapped
            if isPlain {
                guard utf8.count <= maximum - bytes.count else { break }
                bytes.append(contentsOf: utf8)
            } else {
                guard utf8.count * 3 <= maximum - bytes.count else { break }
                for byte in utf8 { Self.append(byte, to: &bytes) }
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    @usableFromInline
    static func append(_ byte: UInt8, to bytes: inout [UInt8]) {
        bytes.append(Self.sign)
        bytes.append(Self.digit(byte >> 4))
        bytes.append(Self.digit(byte & 15))
    }

    private static func digit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "A") + value - 10
    }

    /// The bytes that were encoded; `nil` if a `%` is not followed by two hexadecimal digits. Whatever else there is stays.
    package static func decoded(_ text: some Sequence<UInt8>) -> [UInt8]? {
        var bytes: [UInt8] = []
        var rest = text.makeIterator()
        while let byte = rest.next() {
            guard byte == Self.sign else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.next().flatMap(Self.value), let low = rest.next().flatMap(Self.value) else {
                return nil
            }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    /// The text that was encoded; `nil` also if it is not UTF-8.
    package static func decoded(_ text: some StringProtocol) -> String? {
        guard text.utf8.contains(Self.sign) else { return String(text) }
        return Self.decoded(text.utf8).flatMap { String(validating: $0, as: UTF8.self) }
    }

    private static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
