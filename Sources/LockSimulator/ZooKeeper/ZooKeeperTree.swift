import ZooKeeperLocks

/// The nodes of a ZooKeeper, and what it keeps of each (`DataTree`, `DataNode` of Apache ZooKeeper 3.8).
struct ZooKeeperTree {
    /// Who may do anything with a node. Nobody else may do anything, but see that it is there.
    enum Permission: Hashable {
        case everybody
        /// By the scheme `digest`: user and password.
        case users([String])

        func isGiven(to users: [String]) -> Bool {
            switch self {
            case .everybody: true
            case .users(let permitted): users.contains { permitted.contains($0) }
            }
        }
    }

    struct Node {
        var data: [UInt8]
        let permission: Permission
        /// Its `cversion` counts the children that were ever made; what is told is computed from that.
        var stat: NodeStat
        var children: Set<String> = []

        var told: NodeStat {
            var stat = self.stat
            stat.cversion = stat.cversion &* 2 &- Int32(self.children.count)
            if stat.ephemeralOwner == ZooKeeperTree.containerOwner { stat.ephemeralOwner = 0 }
            stat.dataLength = Int32(self.data.count)
            stat.childCount = Int32(self.children.count)
            return stat
        }

        /// A node that ends with a session has no children.
        var mayHaveChildren: Bool {
            self.stat.ephemeralOwner == 0 || self.stat.ephemeralOwner == ZooKeeperTree.containerOwner
        }
    }

    /// What stands in the place of a session with a container.
    static let containerOwner = Int64.min
    /// The server's own.
    private static let specialPaths: Set<String> = ["", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"]

    private var nodes: [String: Node] = [:]
    private var ephemerals: [Int64: Set<String>] = [:]

    init() {
        for (path, children) in [
            ("", ["zookeeper"]), ("/zookeeper", ["quota", "config"]), ("/zookeeper/quota", []),
            ("/zookeeper/config", []),
        ] {
            self.nodes[path] = Node(data: [], permission: .everybody, stat: NodeStat(), children: Set(children))
        }
    }

    // MARK: Paths

    static func isSpecial(_ path: String) -> Bool { path == "/" || self.specialPaths.contains(path) }

    /// The path of a node's parent, and its name there; `nil`: that is no path.
    static func split(_ path: String) -> (parent: String, name: String)? {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return nil }
        return (String(path[..<slash]), String(path[path.index(after: slash)...]))
    }

    /// As `PathUtils.validatePath` judges.
    static func isValid(_ path: String) -> Bool {
        guard path.hasPrefix("/") else { return false }
        if path == "/" { return true }
        let isPlain = path.utf16.allSatisfy { unit in
            switch unit {
            case 0...0x1F, 0x7F...0x9F, 0xD800...0xF8FF, 0xFFF0...0xFFFF: false
            case _: true
            }
        }
        return isPlain
            && path.dropFirst().split(separator: "/", omittingEmptySubsequences: false).allSatisfy {
                !$0.isEmpty && $0 != "." && $0 != ".."
            }
    }

    // MARK: Reading

    subscript(path: String) -> Node? { self.nodes[path == "/" ? "" : path] }

    /// The nodes that end with a session.
    func ephemerals(of session: Int64) -> [String] { self.ephemerals[session, default: []].sorted() }

    /// All nodes that end with their sessions.
    func allEphemerals() -> [String] { self.ephemerals.values.flatMap { $0 }.sorted() }

    /// Containers that had children and have none.
    func emptyContainers() -> [String] {
        self.nodes.filter {
            $0.value.stat.ephemeralOwner == Self.containerOwner && $0.value.stat.cversion > 0
                && $0.value.children.isEmpty
        }.keys.sorted()
    }

    /// For people who look for what went wrong.
    func paths() -> [String] { self.nodes.keys.filter { !Self.isSpecial($0) }.sorted() }

    // MARK: Writing

    /// A node is made. Its parent is there, and it is not.
    ///
    /// - Parameter count: how many children its parent has had then.
    mutating func create(
        _ path: String, data: [UInt8], permission: Permission, owner: Int64, count: Int32, zxid: Int64, time: Int64
    ) -> NodeStat {
        guard let (parent, name) = Self.split(path), self.nodes[parent] != nil else {
            preconditionFailure("\(path) is made where nothing is")
        }
        let stat = NodeStat(
            czxid: zxid, mzxid: zxid, ctime: time, mtime: time, ephemeralOwner: owner, pzxid: zxid)
        let node = Node(data: data, permission: permission, stat: stat)
        self.nodes[parent]?.children.insert(name)
        // The counter does not go past 2^31 - 1, and then nothing is noted.
        if let known = self.nodes[parent]?.stat.cversion, count > known {
            self.nodes[parent]?.stat.cversion = count
            self.nodes[parent]?.stat.pzxid = zxid
        }
        self.nodes[path] = node
        if owner != 0, owner != Self.containerOwner { self.ephemerals[owner, default: []].insert(path) }
        return node.told
    }

    mutating func delete(_ path: String, zxid: Int64) {
        guard let (parent, name) = Self.split(path), let node = self.nodes.removeValue(forKey: path) else {
            preconditionFailure("\(path) is deleted, and is not there")
        }
        self.nodes[parent]?.children.remove(name)
        if let known = self.nodes[parent]?.stat.pzxid { self.nodes[parent]?.stat.pzxid = max(known, zxid) }
        let owner = node.stat.ephemeralOwner
        self.ephemerals[owner]?.remove(path)
        if self.ephemerals[owner]?.isEmpty == true { self.ephemerals[owner] = nil }
    }

    mutating func setData(_ path: String, _ data: [UInt8], version: Int32, zxid: Int64, time: Int64) -> NodeStat {
        let path = path == "/" ? "" : path
        guard var node = self.nodes.removeValue(forKey: path) else {
            preconditionFailure("\(path) is changed, and is not there")
        }
        node.data = data
        node.stat.version = version
        node.stat.mzxid = zxid
        node.stat.mtime = time
        self.nodes[path] = node
        return node.told
    }
}
