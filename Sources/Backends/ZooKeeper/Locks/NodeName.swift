import DistributedLocks

/// Names of nodes.
enum NodeName {
    /// Whether a server accepts it (`PathUtils.validatePath` of Apache ZooKeeper).
    static func isValid(_ name: some StringProtocol) -> Bool {
        !name.isEmpty && name != "." && name != ".."
            && name.unicodeScalars.allSatisfy { Self.isAllowed($0) && $0 != "/" }
    }

    private static func isAllowed(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        // A server compares UTF-16 units, so what needs two of them counts as surrogates.
        case 0...0x1F, 0x7F...0x9F, 0xD800...0xF8FF, 0xFFF0...0xFFFF, 0x1_0000...: false
        default: true
        }
    }

    /// The node of a lock name: what must not stand in a path is written as `%` and two hexadecimal digits a byte.
    static func escaped(_ name: LockName) -> String {
        if name.rawValue == "." { return "%2E" }
        if name.rawValue == ".." { return "%2E%2E" }
        // As a rule it is ASCII. To go by bytes is a fraction of the work.
        if name.rawValue.utf8.allSatisfy({ $0 < 0x80 }) { return Self.escaped(ascii: name.rawValue.utf8) }
        var text = ""
        for scalar in name.rawValue.unicodeScalars {
            if scalar != "/" && scalar != "%" && Self.isAllowed(scalar) {
                text.unicodeScalars.append(scalar)
            } else {
                for byte in UTF8.encode(scalar)! { text += "%" + Self.hex(byte) }
            }
        }
        return text
    }

    private static func escaped(ascii name: String.UTF8View) -> String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(name.count + 8)
        for byte in name {
            if Self.isPlain(byte) {
                bytes.append(byte)
            } else {
                bytes.append(UInt8(ascii: "%"))
                bytes.append(contentsOf: Self.hex(byte).utf8)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Whether it is an ASCII character that stands in a path as it is.
    private static func isPlain(_ byte: UInt8) -> Bool {
        (0x20..<0x7F).contains(byte) && byte != UInt8(ascii: "/") && byte != UInt8(ascii: "%")
    }

    /// The last part of a path. By bytes, as to look at characters is many times the work.
    static func last(of path: String) -> String {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return path }
        return String(path[path.utf8.index(after: slash)...])
    }

    /// The lock name of a node; `nil` if it is not one of ours.
    static func lockName(of node: String) -> LockName? {
        var bytes: [UInt8] = []
        var rest = Array(node.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else {
                return nil
            }
            rest = rest.dropFirst(2)
            bytes.append(value)
        }
        guard let text = String(validating: bytes, as: UTF8.self), let name = try? LockName(text),
            Self.escaped(name) == node
        else { return nil }
        return name
    }

    private static func hex(_ byte: UInt8) -> String {
        (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
    }
}

/// The node of one contender: `c-<uuid>-<sequence>`.
struct ContenderNode: Hashable, Sendable {
    /// The last part of its path.
    let name: String
    let sequence: Int32

    static let prefix = "c-"
    private static let uuidLength = 32

    /// The name before the server appends the sequence.
    static func stem(uuid: String) -> String { Self.prefix + uuid + "-" }

    /// 128 random bits in hexadecimal digits.
    static func makeUUID(using generator: inout some RandomNumberGenerator) -> String {
        (0..<2).map { _ in
            let digits = String(generator.next() as UInt64, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }

    /// `nil`: not a contender of ours.
    init?(name: String) {
        var name = name
        guard let sequence = name.withUTF8({ Self.sequence(of: $0) }) else { return nil }
        self.name = name
        self.sequence = sequence
    }

    /// Lists are long where many wait, and each newcomer reads one.
    private static func sequence(of bytes: UnsafeBufferPointer<UInt8>) -> Int32? {
        let start = Self.prefix.utf8.count
        let dash = start + Self.uuidLength
        guard bytes.count > dash + 1, bytes.count <= dash + 12, bytes[0] == UInt8(ascii: "c"),
            bytes[1] == UInt8(ascii: "-"), bytes[dash] == UInt8(ascii: "-")
        else { return nil }
        for index in start..<dash {
            switch bytes[index] {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"): continue
            default: return nil
            }
        }
        // Below zero once the counter has gone past its end.
        var index = dash + 1
        let isNegative = bytes[index] == UInt8(ascii: "-")
        if isNegative { index += 1 }
        guard index < bytes.count else { return nil }
        var number: Int64 = 0
        while index < bytes.count {
            guard case UInt8(ascii: "0")...UInt8(ascii: "9") = bytes[index] else { return nil }
            number = number * 10 + Int64(bytes[index] - UInt8(ascii: "0"))
            index += 1
        }
        return Int32(exactly: isNegative ? -number : number)
    }

    var uuid: String {
        String(decoding: self.name.utf8.dropFirst(Self.prefix.utf8.count).prefix(Self.uuidLength), as: UTF8.self)
    }

    /// Contenders in the order in which they came, as seen from one of them. The sequence is the parent's change counter, an
    /// int32 that goes on at -2^31 after 2^31 - 1; contenders that are there at the same time are never 2^31 apart.
    static func ordered(_ nodes: [ContenderNode], around origin: Int32) -> [ContenderNode] {
        nodes.sorted { ($0.sequence &- origin, $0.name) < ($1.sequence &- origin, $1.name) }
    }

    /// Where a contender stands.
    struct Place: Equatable {
        /// How many are ahead.
        var ahead: Int
        /// The one right ahead.
        var predecessor: ContenderNode?
        var first: ContenderNode
    }

    /// Where a contender stands among all contenders of its lock; `nil` if it is not among them.
    static func place(of mine: ContenderNode, among nodes: [ContenderNode]) -> Place? {
        var isThere = false
        var place = Place(ahead: 0, predecessor: nil, first: mine)
        var nearest = Int32.min
        var farthest: Int32 = 0
        for node in nodes {
            let distance = node.sequence &- mine.sequence
            if distance == 0, node.name == mine.name { isThere = true }
            guard distance < 0 else { continue }
            place.ahead += 1
            if distance < farthest { (farthest, place.first) = (distance, node) }
            if distance >= nearest { (nearest, place.predecessor) = (distance, node) }
        }
        return isThere ? place : nil
    }
}
