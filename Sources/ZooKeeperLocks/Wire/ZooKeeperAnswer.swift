/// What a server answers to a request that it has carried out.
package enum ZooKeeperAnswer: Hashable, Sendable {
    case created(path: String, stat: NodeStat)
    case stat(NodeStat)
    case data([UInt8], NodeStat)
    case children([String], NodeStat)
    case path(String)
    case multi([MultiResult])
    case done

    /// What became of one part of a `multi`.
    package enum MultiResult: Hashable, Sendable {
        case created(path: String, stat: NodeStat?)
        case stat(NodeStat)
        case done
        /// The part that failed has the reason; those beside it have `runtimeInconsistency`, and `ok` if they came before.
        case failed(ZooKeeperCode)
    }

    /// Reads what follows the header of a reply without error.
    package init(to request: ZooKeeperRequest, from reader: inout JuteReader) throws(JuteError) {
        switch request {
        case .create:
            let path = try reader.string("a created node's path")
            self = .created(path: path, stat: try NodeStat(from: &reader))
        case .exists, .setData:
            self = .stat(try NodeStat(from: &reader))
        case .getData:
            let data = try reader.bytes("a node's data")
            self = .data(data, try NodeStat(from: &reader))
        case .getChildren:
            let children = try reader.strings("a list of children")
            self = .children(children, try NodeStat(from: &reader))
        case .sync:
            self = .path(try reader.string("a path"))
        case .multi:
            self = .multi(try Self.multi(from: &reader))
        case .delete, .check, .setDataWatches, .authenticate, .ping, .closeSession:
            self = .done
        }
        try reader.finish("the reply to \(request.kind)")
    }

    /// A `multi` that failed is answered with its parts, too.
    private static func multi(from reader: inout JuteReader) throws(JuteError) -> [MultiResult] {
        var results: [MultiResult] = []
        while true {
            let operation = try reader.int32("a multi's result")
            let isDone = try reader.bool("a multi's result")
            let error = try reader.int32("a multi's result")
            if isDone { return results }
            guard results.count < reader.limits.multiResults else {
                throw .tooLong("a multi's result", results.count + 1, limit: reader.limits.multiResults)
            }
            switch operation {
            case -1:
                // The error stands in the header and again as a record.
                _ = try reader.int32("a multi's error")
                results.append(.failed(ZooKeeperCode(rawValue: error)))
            case 1:
                results.append(.created(path: try reader.string("a created node's path"), stat: nil))
            case 15, 19, 21:
                let path = try reader.string("a created node's path")
                results.append(.created(path: path, stat: try NodeStat(from: &reader)))
            case 5:
                results.append(.stat(try NodeStat(from: &reader)))
            case 2, 13:
                results.append(.done)
            default:
                throw JuteError("a multi's result of the unknown kind \(operation)")
            }
        }
    }
}

extension ZooKeeperRequest {
    /// Its kind alone.
    package var kind: String {
        String(self.description.prefix { $0 != " " })
    }
}
