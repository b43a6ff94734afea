import DistributedLocks

/// What stands in a contender's node: who it is, for people, and whether an operator has broken its lock.
struct ContenderData: Hashable, Sendable {
    var metadata: OwnerMetadata
    var isBroken = false

    private static let version = "dlock 1"
    private static let broken = "revoked"
    /// At most this many bytes of a host's name or a label are kept.
    private static let maximumFieldBytes = 256

    init(metadata: OwnerMetadata) {
        self.metadata = metadata
    }

    /// One line for each field.
    var bytes: [UInt8] {
        var lines = [Self.version + (self.isBroken ? " " + Self.broken : "")]
        lines.append(String(self.metadata.pid))
        lines.append(Self.line(self.metadata.host))
        lines.append(Self.line(self.metadata.label ?? ""))
        return Array(lines.joined(separator: "\n").utf8)
    }

    /// `nil`: not ours.
    init?(bytes: [UInt8]) {
        // By bytes, as to look at characters is many times the work.
        let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            .compactMap { String(validating: $0, as: UTF8.self) }
        guard lines.count == 4, let pid = Int32(lines[1]) else { return nil }
        let words = lines[0].split(separator: " ")
        guard words.prefix(2).joined(separator: " ") == Self.version else { return nil }
        self.metadata = OwnerMetadata(host: lines[2], pid: pid, label: lines[3].isEmpty ? nil : lines[3])
        self.isBroken = words.dropFirst(2).contains(Self.broken[...])
    }

    private static func line(_ text: String) -> String {
        var line = ""
        for scalar in text.unicodeScalars {
            let shown: Unicode.Scalar = scalar.properties.generalCategory == .control ? " " : scalar
            guard line.utf8.count + UTF8.width(shown) <= Self.maximumFieldBytes else { break }
            line.unicodeScalars.append(shown)
        }
        return line
    }
}
