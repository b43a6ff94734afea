/// What is read out of an answer.
extension ZooKeeperAnswer {
    /// Why nothing of a `multi` was carried out; `nil` if it was.
    static func refusal(of parts: [MultiResult]) -> ZooKeeperCode? {
        var refusal: ZooKeeperCode?
        for case .failed(let code) in parts {
            refusal = refusal ?? code
            if code != .ok && code != .runtimeInconsistency { return code }
        }
        return refusal
    }

    /// What the parts of a `multi` answer; `nil` if one failed: then none was carried out.
    static func answers(of parts: [MultiResult]) -> [ZooKeeperAnswer]? {
        var answers: [ZooKeeperAnswer] = []
        answers.reserveCapacity(parts.count)
        for part in parts {
            switch part {
            case .created(let path, let stat?): answers.append(.created(path: path, stat: stat))
            // ZooKeeper 3.8 answers a create2 within a multi as if it were a create.
            case .created(let path, nil): answers.append(.path(path))
            case .done: answers.append(.done)
            case .stat, .failed: return nil
            }
        }
        return answers
    }

    var nodeStat: NodeStat? { if case .stat(let stat) = self { stat } else { nil } }

    /// What stands in a node.
    var bytes: [UInt8]? { if case .data(let bytes, _) = self { bytes } else { nil } }

    /// The names of a node's children.
    var names: [String]? { if case .children(let names, _) = self { names } else { nil } }
}
