import DistributedLocks
import NIOCore

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// An owner as it stands in Redis: `secret:client:pid:host:label`.
///
/// The secret has 27 characters (160 bits, base64url), the client 16 (96 bits): the scripts take them apart by position.
/// The rest is for people, without the `+` that begins a mark (see Scripts/base.lua). The client names the channel by
/// which the owner is told of its grant.
struct OwnerText {
    static let secretLength = 27
    static let clientLength = 16

    /// What follows the secret: the same for all owners of one client.
    static func suffix(client: String, metadata: OwnerMetadata) -> [UInt8] {
        precondition(client.utf8.count == Self.clientLength)
        var text = ":\(client):\(metadata.pid):\(Self.escaped(metadata.host)):"
        if let label = metadata.label { text += Self.escaped(label) }
        return Array(text.utf8)
    }

    /// Names a client: 96 random bits.
    static func randomClient(using generator: inout some RandomNumberGenerator) -> String {
        var bytes: [UInt8] = []
        for _ in 0..<12 { bytes.append(UInt8.random(in: 0...255, using: &generator)) }
        var text: [UInt8] = []
        bytes.withUnsafeBytes { Base64URL.encode($0) { text.append($0) } }
        return String(decoding: text, as: UTF8.self)
    }

    /// What people may see of a holder or waiter; `nil` if another library wrote the text.
    static func metadata(of text: String) -> OwnerMetadata? {
        var fields = text.split(separator: ":", maxSplits: 4, omittingEmptySubsequences: false)
        guard fields.count == 5, fields[0].utf8.count == Self.secretLength, fields[1].utf8.count == Self.clientLength,
            let pid = Int32(fields[2])
        else { return nil }
        if let mark = fields[4].firstIndex(of: "+") { fields[4] = fields[4][..<mark] }
        guard let host = Self.unescaped(fields[3]), let label = Self.unescaped(fields[4]) else { return nil }
        return OwnerMetadata(host: host, pid: pid, label: label.isEmpty ? nil : label)
    }

    /// Whether it is a holder that hears messages on its channel: see `isOurs` in Scripts/base.lua.
    static func isOurs(_ text: String) -> Bool {
        let bytes = Array(text.utf8.prefix(Self.secretLength + Self.clientLength + 2))
        guard bytes.count == Self.secretLength + Self.clientLength + 2 else { return false }
        return bytes.enumerated().allSatisfy { index, byte in
            index == Self.secretLength || index == bytes.count - 1
                ? byte == UInt8(ascii: ":") : Base64URL.value(of: byte) != nil
        }
    }

    /// Whether an operator has broken the lock and the holder has not released it yet.
    static func isBroken(_ text: String) -> Bool {
        Self.isMarked(text, "r")
    }

    /// Whether an instance of a Redlock keeps the lock for this waiter, whose turn it is.
    static func isReserved(_ text: String) -> Bool {
        Self.isMarked(text, "t")
    }

    /// As the scripts look: marks are a `+` and a letter each, come in any order, and stand behind the owner.
    private static func isMarked(_ text: String, _ letter: Character) -> Bool {
        guard Self.metadata(of: text) != nil, let first = text.firstIndex(of: "+") else { return false }
        return text[first...].split(separator: "+").contains { $0 == String(letter) }
    }

    /// At most this many bytes of a host's name or a label are kept.
    private static let maximumFieldLengthInBytes = 128

    private static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            let isPlain = scalar.properties.isAlphabetic || "0123456789-._".unicodeScalars.contains(scalar)
            let part =
                isPlain
                ? String(scalar)
                : String(scalar).utf8.map { byte in
                    "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
                }.joined()
            guard result.utf8.count + part.utf8.count <= Self.maximumFieldLengthInBytes else { break }
            result += part
        }
        return result
    }

    private static func unescaped(_ text: Substring) -> String? {
        guard text.utf8.contains(UInt8(ascii: "%")) else { return String(text) }
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}

/// The secret of an owner as a key to look it up by.
struct OwnerKey: Hashable, Sendable {
    private let high: UInt64
    private let middle: UInt64
    private let low: UInt32

    init(_ secret: LockOwner.Secret) {
        (self.high, self.middle, self.low) = secret.withUnsafeBytes { bytes in
            (
                UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
                UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)),
                UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt32.self))
            )
        }
    }

    /// Reads the 27 characters that a message names an owner by.
    init?(text: some Collection<UInt8>) {
        guard text.count == OwnerText.secretLength else { return nil }
        var bits: [UInt8] = []
        bits.reserveCapacity(21)
        var pending: UInt32 = 0
        var pendingBits = 0
        for character in text {
            guard let value = Base64URL.value(of: character) else { return nil }
            pending = pending << 6 | UInt32(value)
            pendingBits += 6
            if pendingBits >= 8 {
                pendingBits -= 8
                bits.append(UInt8(truncatingIfNeeded: pending >> UInt32(pendingBits)))
            }
        }
        self.high = bits[0..<8].reduce(0) { $0 << 8 | UInt64($1) }
        self.middle = bits[8..<16].reduce(0) { $0 << 8 | UInt64($1) }
        self.low = bits[16..<20].reduce(0) { $0 << 8 | UInt32($1) }
    }
}

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
