import DistributedLocks
import LockKernel
import NIOCore

/// An owner as it stands in Redis: `secret:client:pid:host:label`.
///
/// The secret has 27 characters (160 bits, base64url), the client 16 (96 bits): the scripts take them apart by position.
/// The rest is for people, without the `+` that begins a mark (see Scripts/Lua/base.lua). The client names the channel by
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
        guard let host = Percent.decoded(fields[3]), let label = Percent.decoded(fields[4]) else { return nil }
        return OwnerMetadata(host: host, pid: pid, label: label.isEmpty ? nil : label)
    }

    /// Who holds a lock, by what its key says, as far as people may see it.
    static func holders(in text: String) -> [OwnerMetadata] { Self.metadata(of: text).map { [$0] } ?? [] }

    /// Whether it is a holder that hears messages on its channel: see `isOurs` in Scripts/Lua/base.lua.
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

    /// Whether an earlier version has reserved the lock on an instance of a Redlock for this waiter.
    static func isReserved(_ text: String) -> Bool {
        Self.isMarked(text, "t")
    }

    /// Whether the owner of a turn and that of a round belong to one claim: see `LockOwner.Secret.next(using:)`.
    static func isOfSameClaim(_ text: String, _ other: String) -> Bool {
        text.utf8.prefix(Self.claimLength).elementsEqual(other.utf8.prefix(Self.claimLength))
    }

    /// The characters of a secret that the 64 bits of its claim fill.
    private static let claimLength = 10

    /// As the scripts look: marks are a `+` and a letter each, come in any order, and stand behind the owner.
    private static func isMarked(_ text: String, _ letter: Character) -> Bool {
        guard Self.metadata(of: text) != nil, let first = text.firstIndex(of: "+") else { return false }
        return text[first...].split(separator: "+").contains { $0 == String(letter) }
    }

    /// At most this many bytes of a host's name or a label are kept.
    private static let maximumFieldLengthInBytes = 128

    private static func escaped(_ text: String) -> String {
        Percent.encoded(text, atMostBytes: Self.maximumFieldLengthInBytes) {
            $0.properties.isAlphabetic || "0"..."9" ~= $0 || $0 == "-" || $0 == "." || $0 == "_"
        }
    }
}

extension LockOwner.Secret {
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
        self.init(bytes: bits)
    }
}
