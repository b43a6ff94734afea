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
