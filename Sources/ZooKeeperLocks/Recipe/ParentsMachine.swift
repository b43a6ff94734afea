/// Makes nodes under which others stand, the outermost first. They vanish when nothing is under them any more, but for those of
/// the chroot, which are made once if they are missing.
///
/// States: what is still to be made. It is asked for ``next``, and told what the server answered. Pure.
struct ParentsMachine: Equatable {
    /// Nodes of the chroot that come first.
    private var chroot: ArraySlice<String>
    private var paths: ArraySlice<String>
    private var mode = NodeMode.container
    /// The nodes of the chroot, as long as nobody has missed them.
    private var spare: [String]

    /// - Parameter chroot: the nodes of the chroot; they are made if the first of the others finds nothing to stand under.
    init(_ paths: [String], chroot: [String]) {
        self.chroot = []
        self.paths = paths[...]
        self.spare = chroot
    }

    /// Makes the chroot itself.
    init(chroot: [String]) {
        self.chroot = chroot[...]
        self.paths = []
        self.spare = []
    }

    /// What is to be made now; `nil`: nothing is left.
    var next: (path: String, mode: NodeMode)? {
        if let path = self.chroot.first { return (path, .persistent) }
        return self.paths.first.map { ($0, self.mode) }
    }

    /// - Parameter refusal: why the server did not make it; `nil`: it did.
    /// - Returns: false if the rest cannot be made.
    mutating func answered(_ refusal: ZooKeeperCode?) -> Bool {
        switch refusal {
        case nil, .nodeExists?:
            if self.chroot.isEmpty { self.paths.removeFirst() } else { self.chroot.removeFirst() }
            return true
        case .unimplemented? where self.chroot.isEmpty && self.mode == .container:
            // A server before 3.5.
            self.mode = .persistent
            return true
        case .noNode? where self.chroot.isEmpty && !self.spare.isEmpty:
            self.chroot = self.spare[...]
            self.spare = []
            return true
        case .some:
            return false
        }
    }
}
