import DistributedLocks

/// Where things stand.
struct NodePaths: Sendable {
    let chroot: String

    /// All locks.
    var root: String { self.chroot + "/dlock" }
    /// Nodes by whose writes sessions prove that they live.
    var sessions: String { self.chroot + "/dlock.sessions" }
    /// Names the ensemble's history.
    var ensemble: String { self.chroot + "/dlock.ensemble" }

    func lock(_ name: LockName) -> String { self.root + "/" + NodeName.escaped(name) }
    func session(_ session: ZooKeeperSession) -> String { self.sessions + "/" + session.description }

    /// The nodes of the chroot, the outermost first.
    var chrootNodes: [String] {
        self.chroot.split(separator: "/").reduce(into: []) { paths, part in
            paths.append((paths.last ?? "") + "/" + part)
        }
    }
}
