/// The nodes under which the others stand.
extension ZooKeeperLockCore {
    /// Makes nodes that vanish when nothing is under them any more, the outermost first.
    func makeContainers(_ paths: [String], then: @escaping (ZooKeeperError?) -> Void) {
        self.make(paths[...], mode: .container, mayMakeChroot: true, then: then)
    }

    private func make(
        _ paths: ArraySlice<String>,
        mode: NodeMode,
        mayMakeChroot: Bool,
        then: @escaping (ZooKeeperError?) -> Void
    ) {
        guard let path = paths.first else { return then(nil) }
        self.submit(.create(path: path, data: [], access: self.access, mode: mode)) { result in
            switch result {
            case .success:
                self.make(paths.dropFirst(), mode: mode, mayMakeChroot: mayMakeChroot, then: then)
            case .failure(let error):
                switch error.serverCode {
                case .nodeExists:
                    self.make(paths.dropFirst(), mode: mode, mayMakeChroot: mayMakeChroot, then: then)
                case .unimplemented where mode == .container:
                    // A server before 3.5.
                    self.make(paths, mode: .persistent, mayMakeChroot: mayMakeChroot, then: then)
                case .noNode where mayMakeChroot && !self.paths.chroot.isEmpty:
                    self.make(self.paths.chrootNodes[...], mode: .persistent, mayMakeChroot: false) { error in
                        if let error { return then(error) }
                        self.make(paths, mode: mode, mayMakeChroot: false, then: then)
                    }
                default:
                    then(error)
                }
            }
        }
    }

    func makeChroot(then: @escaping (ZooKeeperError?) -> Void) {
        self.make(self.paths.chrootNodes[...], mode: .persistent, mayMakeChroot: false, then: then)
    }
}
