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

    struct News {
        let visitor: Int
        let event: WatchEvent
        /// It is told to nobody else; the watch has fired all the same.
        let permission: ZooKeeperTree.Permission
    }

    /// Whom to tell what.
    mutating func fired(_ event: ZooKeeperTreeEvent) -> [News] {
        let path = event.path
        let told = self.ofData.removeValue(forKey: path) ?? []
        switch event.kind {
        case .changed: return self.tell(.dataChanged, path, told, event.permission)
        case .created: return self.tell(.created, path, told, event.permission) + self.tellParent(event)
        case .deleted:
            let others = (self.ofChildren.removeValue(forKey: path) ?? []).filter { !told.contains($0) }
            return self.tell(.deleted, path, told + others, event.permission) + self.tellParent(event)
        }
    }

    private mutating func tellParent(_ event: ZooKeeperTreeEvent) -> [News] {
        guard let (parent, _) = ZooKeeperTree.split(event.path) else { return [] }
        let name = parent.isEmpty ? "/" : parent
        return self.tell(
            .childrenChanged, name, self.ofChildren.removeValue(forKey: name) ?? [], event.parentPermission)
    }

    private func tell(
        _ kind: WatchEvent.Kind, _ path: String, _ visitors: [Int], _ permission: ZooKeeperTree.Permission
    ) -> [News] {
        visitors.map { News(visitor: $0, event: WatchEvent(kind: kind, path: path), permission: permission) }
    }
}
