package import NIOCore

/// What a client asks.
package enum ZooKeeperRequest: Hashable, Sendable {
    /// Creates a node, and answers its path and stat.
    case create(path: String, data: [UInt8], access: NodeAccess, mode: NodeMode)
    /// - version: of its data; -1 is any.
    case delete(path: String, version: Int32 = -1)
    case exists(path: String, watch: Bool = false)
    /// The watch, if it is set, fires when the data changes or the node is deleted. A node that is not there leaves none.
    case getData(path: String, watch: Bool = false)
    case setData(path: String, data: [UInt8], version: Int32 = -1)
    case getChildren(path: String, watch: Bool = false)
    /// Brings the server up to what the leader has committed.
    case sync(path: String)
    /// All or nothing. Only ``create(path:data:access:mode:)``, ``delete(path:version:)``,
    /// ``setData(path:data:version:)`` and ``check(path:version:)``.
    case multi([ZooKeeperRequest])
    /// Only within ``multi(_:)``.
    case check(path: String, version: Int32)
    /// Sets watches on the data of nodes again, as of a transaction: those that have changed since then fire at once.
    case setDataWatches(paths: [String], relativeZxid: Int64)
    case authenticate(scheme: String, credentials: [UInt8])
    case ping
    case closeSession

    /// The number of the operation (`ZooDefs.OpCode`).
    package var operation: Int32 {
        switch self {
        case .create(_, _, _, .container): 19
        case .create: 15
        case .delete: 2
        case .exists: 3
        case .getData: 4
        case .setData: 5
        case .getChildren: 12
        case .sync: 9
        case .multi: 14
        case .check: 13
        case .setDataWatches: 105
        case .authenticate: 100
        case .ping: 11
        case .closeSession: -11
        }
    }

    /// Those that the protocol gives a number of their own; the others are counted.
    package var fixedXid: Int32? {
        switch self {
        case .ping: -2
        case .authenticate: -4
        case .setDataWatches: -8
        default: nil
        }
    }

    /// The number of watch events, which nobody asked for.
    package static var watchXid: Int32 { -1 }

    package func writeFrame(xid: Int32, into buffer: inout ByteBuffer) {
        buffer.writeJuteFrame { buffer in
            buffer.writeInteger(self.fixedXid ?? xid)
            buffer.writeInteger(self.operation)
            self.writeBody(into: &buffer)
        }
    }

    private func writeBody(into buffer: inout ByteBuffer) {
        switch self {
        case .create(let path, let data, let access, let mode):
            buffer.writeJuteString(path)
            buffer.writeJuteBytes(data)
            access.write(into: &buffer)
            buffer.writeInteger(mode.rawValue)
        case .delete(let path, let version), .check(let path, let version):
            buffer.writeJuteString(path)
            buffer.writeInteger(version)
        case .exists(let path, let watch), .getData(let path, let watch), .getChildren(let path, let watch):
            buffer.writeJuteString(path)
            buffer.writeJuteBool(watch)
        case .setData(let path, let data, let version):
            buffer.writeJuteString(path)
            buffer.writeJuteBytes(data)
            buffer.writeInteger(version)
        case .sync(let path):
            buffer.writeJuteString(path)
        case .multi(let requests):
            for request in requests {
                Self.writeMultiHeader(operation: request.operation, isDone: false, into: &buffer)
                request.writeBody(into: &buffer)
            }
            Self.writeMultiHeader(operation: -1, isDone: true, into: &buffer)
        case .setDataWatches(let paths, let zxid):
            buffer.writeInteger(zxid)
            buffer.writeJuteList(paths) { $0.writeJuteString($1) }
            // Of the kinds exist, child, persistent and persistent recursive there are none.
            for _ in 0..<4 { buffer.writeInteger(Int32(0)) }
        case .authenticate(let scheme, let credentials):
            buffer.writeInteger(Int32(0))
            buffer.writeJuteString(scheme)
            buffer.writeJuteBytes(credentials)
        case .ping, .closeSession:
            break
        }
    }

    private static func writeMultiHeader(operation: Int32, isDone: Bool, into buffer: inout ByteBuffer) {
        buffer.writeInteger(operation)
        buffer.writeJuteBool(isDone)
        buffer.writeInteger(Int32(-1))
    }
}

extension ZooKeeperRequest: CustomStringConvertible {
    /// Its kind and path; never data or credentials.
    package var description: String {
        switch self {
        case .create(let path, _, _, let mode): "create \(mode) \(path)"
        case .delete(let path, _): "delete \(path)"
        case .exists(let path, _): "exists \(path)"
        case .getData(let path, _): "getData \(path)"
        case .setData(let path, _, _): "setData \(path)"
        case .getChildren(let path, _): "getChildren \(path)"
        case .sync(let path): "sync \(path)"
        case .check(let path, _): "check \(path)"
        case .multi(let requests): "multi of \(requests.count)"
        case .setDataWatches(let paths, _): "setWatches of \(paths.count)"
        case .authenticate(let scheme, _): "auth \(scheme)"
        case .ping: "ping"
        case .closeSession: "closeSession"
        }
    }
}
