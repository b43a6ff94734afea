#if Embedded
import EmbeddedLocks
import LockKernel

/// The disk of a simulated machine: its names, and what a power cut leaves of them.
///
/// Changes of names become durable in order, as with a journal: those that were made before a folder was synced survive a power cut,
/// and of the later ones the first so many.
final class VirtualDisk {
    /// Something that names lead to.
    final class Node {
        enum Kind {
            case file(DiskFile)
            case folder
            case socket
        }

        let kind: Kind
        let number: UInt64
        var group: UInt32 = 0
        var permissions: UInt32
        /// Who listens there.
        weak var socket: SimulatedSocket?
        /// SQLite's locks on it, and what its users share in memory.
        let locks = FileLocks()

        init(_ kind: Kind, number: UInt64, permissions: UInt32) {
            self.kind = kind
            self.number = number
            self.permissions = permissions
        }
    }

    private var names: [String: Node] = [:]
    /// What a power cut leaves of the names.
    private var durable: [String: Node] = [:]
    /// What was done with names since.
    private var changes: [(name: String, node: Node?)] = []
    private var lastNumber: UInt64 = 1
    /// Writes that need room fail.
    var isFull = false

    init() {}

    func makeFolder(atRoot path: String) {
        self.names[path] = self.makeNode(.folder, permissions: 0o777)
        self.durable = self.names
    }

    func node(_ path: String) -> Node? { self.names[path] }

    func file(_ path: String) -> DiskFile? {
        guard case .file(let file) = self.names[path]?.kind else { return nil }
        return file
    }

    private func makeNode(_ kind: Node.Kind, permissions: UInt32) -> Node {
        self.lastNumber += 1
        return Node(kind, number: self.lastNumber, permissions: permissions)
    }

    /// Something without a name.
    func makeNamelessFile() -> Node { self.makeNode(.file(DiskFile()), permissions: 0o600) }

    func make(_ kind: Node.Kind, at path: String, permissions: UInt32 = 0o644) throws(HostFailure) -> Node {
        guard self.names[path] == nil else { throw HostFailure(EEXIST) }
        guard case .folder = self.names[Self.folder(of: path)]?.kind else { throw HostFailure(ENOENT) }
        guard !self.isFull else { throw HostFailure(ENOSPC) }
        let node = self.makeNode(kind, permissions: permissions)
        self.set(path, node)
        return node
    }

    /// False if there is no such name.
    func remove(_ path: String) -> Bool {
        guard self.names[path] != nil else { return false }
        self.set(path, nil)
        return true
    }

    func rename(_ old: String, to new: String) throws(HostFailure) {
        guard let node = self.names[old] else { throw HostFailure(ENOENT) }
        self.set(new, node)
        self.set(old, nil)
    }

    private func set(_ path: String, _ node: Node?) {
        self.names[path] = node
        self.changes.append((path, node))
    }

    private static func folder(of path: String) -> String {
        let folder = path.prefix(upTo: path.lastIndex(of: "/") ?? path.startIndex)
        return folder.isEmpty ? "/" : String(folder)
    }

    /// The names in a folder, without it.
    func names(in folder: String) -> [String] {
        self.names.keys.filter { Self.folder(of: $0) == folder }.sorted().map { String($0.dropFirst(folder.count + 1)) }
    }

    /// All names survive a power cut from now on.
    func syncNames() {
        self.durable = self.names
        self.changes = []
    }

    // MARK: Deaths

    /// A process has no file open any more.
    func close(_ user: any DiskUser) {
        for path in self.names.keys.sorted() { self.names[path]?.locks.close(user) }
    }

    /// Whoever had files open is dead.
    func losePower(_ generator: inout SimulationGenerator) {
        for change in self.changes.prefix(Int(generator.next(upTo: UInt64(self.changes.count + 1)))) {
            self.durable[change.name] = change.node
        }
        self.names = self.durable
        self.changes = []
        for path in self.names.keys.sorted() {
            if case .file(let file) = self.names[path]?.kind { file.losePower(&generator) }
        }
    }
}
#endif
