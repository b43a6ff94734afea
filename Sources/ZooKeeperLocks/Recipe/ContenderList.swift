/// Who stands in a lock's folder, as a server answered.
enum ContenderList {
    case contenders([ContenderNode], NodeStat)
    /// There is no folder.
    case noFolder
    case failed(ZooKeeperError)
    /// That was no list.
    case unreadable

    init(_ result: Result<ZooKeeperReply, ZooKeeperError>) {
        switch result {
        case .success(let reply):
            if case .children(let children, let stat) = reply.answer {
                self = .contenders(children.map { ContenderNode(name: $0) }, stat)
            } else {
                self = .unreadable
            }
        case .failure(let error): self = error.serverCode == .noNode ? .noFolder : .failed(error)
        }
    }

    /// Whether whoever comes now gets a number that is used up. Where nothing is known that stays as it was: true.
    var isUsedUp: Bool {
        switch self {
        case .contenders(let nodes, let stat):
            stat.createdCount >= ContenderNode.firstUsedUpRank || nodes.contains { $0.isUsedUp }
        case .noFolder: false
        case .failed, .unreadable: true
        }
    }
}

extension NodeStat {
    /// How many children have been made in it, below 2^31: what the next number is. What a server tells as `cversion` is twice
    /// that, less the number of children that are there (`DataNode.copyStat`).
    var createdCount: Int64 { Int64(UInt32(bitPattern: self.cversion &+ self.childCount) >> 1) }
}
