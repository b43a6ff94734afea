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
        let utf8 = name.utf8
        guard utf8.count > Self.prefix.utf8.count + Self.uuidLength + 1, name.hasPrefix(Self.prefix) else { return nil }
        let uuidStart = utf8.index(utf8.startIndex, offsetBy: Self.prefix.utf8.count)
        let uuidEnd = utf8.index(uuidStart, offsetBy: Self.uuidLength)
        guard utf8[uuidEnd] == UInt8(ascii: "-"),
            utf8[uuidStart..<uuidEnd].allSatisfy({
                ($0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9"))
                    || ($0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "f"))
            }),
            // Below zero once the counter has gone past its end.
            let sequence = Int32(name[utf8.index(after: uuidEnd)...])
        else { return nil }
        self.name = name
        self.sequence = sequence
    }

    func has(uuid: String) -> Bool { self.name.hasPrefix(Self.stem(uuid: uuid)) }

    /// Contenders in the order in which they came, as seen from one of them. The sequence is the parent's change counter, an
    /// int32 that goes on at -2^31 after 2^31 - 1; contenders that are there at the same time are never 2^31 apart.
    static func ordered(_ nodes: [ContenderNode], around origin: Int32) -> [ContenderNode] {
        nodes.sorted { ($0.sequence &- origin, $0.name) < ($1.sequence &- origin, $1.name) }
    }

    /// Where a contender stands among the children of its lock.
    ///
    /// - Returns: how many are ahead, the one right ahead and the first; `nil` if it is not among them. Nodes of others
    ///   do not count.
    static func place(of mine: ContenderNode, among children: [String]) -> (
        ahead: Int, predecessor: ContenderNode?, first: ContenderNode
    )? {
        var ahead = 0
        var isThere = false
        var predecessor: ContenderNode?
        var first = mine
        for child in children {
            guard let node = ContenderNode(name: child) else { continue }
            if node.name == mine.name {
                isThere = true
                continue
            }
            let distance = node.sequence &- mine.sequence
            guard distance < 0 else { continue }
            ahead += 1
            if distance < first.sequence &- mine.sequence { first = node }
            if predecessor.map({ distance > $0.sequence &- mine.sequence }) ?? true { predecessor = node }
        }
        return isThere ? (ahead, predecessor, first) : nil
    }
}
