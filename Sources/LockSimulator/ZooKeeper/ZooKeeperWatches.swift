import ZooKeeperLocks

/// Who wants to hear of which nodes. A watch fires once.
struct ZooKeeperWatches {
    /// In the order in which they came.
    private var ofData: [String: [Int]] = [:]
    private var ofChildren: [String: [Int]] = [:]

    mutating func watchData(_ path: String, by visitor: Int) {
        if self.ofData[path]?.contains(visitor) != true { self.ofData[path, default: []].append(visitor) }
    }

    mutating func watchChildren(_ path: String, by visitor: Int) {
        if self.ofChildren[path]?.contains(visitor) != true { self.ofChildren[path, default: []].append(visitor) }
    }

    mutating func forget(_ visitor: Int) {
        self.ofData = Self.without(visitor, self.ofData)
        self.ofChildren = Self.without(visitor, self.ofChildren)
    }

    private static func without(_ visitor: Int, _ watches: [String: [Int]]) -> [String: [Int]] {
        watches.compactMapValues { visitors in
            let others = visitors.filter { $0 != visitor }
            return others.isEmpty ? nil : others
        }
    }

    /// Whom to tell what.
    mutating func fired(_ event: ZooKeeperTreeEvent) -> [(visitor: Int, event: WatchEvent)] {
        switch event {
        case .changed(let path):
            return self.tell(.dataChanged, path, self.ofData.removeValue(forKey: path) ?? [])
        case .created(let path):
            return self.tell(.created, path, self.ofData.removeValue(forKey: path) ?? []) + self.tellParent(of: path)
        case .deleted(let path):
            let told = self.ofData.removeValue(forKey: path) ?? []
            let others = (self.ofChildren.removeValue(forKey: path) ?? []).filter { !told.contains($0) }
            return self.tell(.deleted, path, told + others) + self.tellParent(of: path)
        }
    }

    private mutating func tellParent(of path: String) -> [(visitor: Int, event: WatchEvent)] {
        guard let (parent, _) = ZooKeeperTree.split(path) else { return [] }
        let name = parent.isEmpty ? "/" : parent
        return self.tell(.childrenChanged, name, self.ofChildren.removeValue(forKey: name) ?? [])
    }

    private func tell(
        _ kind: WatchEvent.Kind, _ path: String, _ visitors: [Int]
    ) -> [(visitor: Int, event: WatchEvent)] {
        visitors.map { ($0, WatchEvent(kind: kind, path: path)) }
    }
}
