import DistributedLocks
import LockKernel

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
        return Percent.encoded(name.rawValue) { Self.isAllowed($0) && $0 != "/" && $0 != "%" }
    }

    /// The last part of a path. By bytes, as to look at characters is many times the work.
    static func last(of path: String) -> String {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return path }
        return String(path[path.utf8.index(after: slash)...])
    }

    /// The lock name of a node; `nil` if it is not one of ours.
    static func lockName(of node: String) -> LockName? {
        guard let text = Percent.decoded(node), let name = try? LockName(text), Self.escaped(name) == node else {
            return nil
        }
        return name
    }
}
