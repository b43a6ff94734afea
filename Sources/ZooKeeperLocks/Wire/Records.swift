package import NIOCore

/// What the server knows of a node.
package struct NodeStat: Hashable, Sendable {
    /// The transaction that created the node.
    package var czxid: Int64
    /// The transaction that last changed its data.
    package var mzxid: Int64
    /// When it was created, in milliseconds since 1970 by the leader's clock.
    package var ctime: Int64
    /// When its data was last changed, in milliseconds since 1970 by the leader's clock.
    package var mtime: Int64
    /// How often its data was changed.
    package var version: Int32
    /// How often its children were changed.
    package var cversion: Int32
    /// How often its ACL was changed.
    package var aversion: Int32
    /// The session that it ends with; 0 if it is not ephemeral.
    package var ephemeralOwner: Int64
    /// The length of its data.
    package var dataLength: Int32
    /// How many children it has.
    package var childCount: Int32
    /// The transaction that last changed its children.
    package var pzxid: Int64

    package init(
        czxid: Int64 = 0, mzxid: Int64 = 0, ctime: Int64 = 0, mtime: Int64 = 0, version: Int32 = 0, cversion: Int32 = 0,
        aversion: Int32 = 0, ephemeralOwner: Int64 = 0, dataLength: Int32 = 0, childCount: Int32 = 0, pzxid: Int64 = 0
    ) {
        self.czxid = czxid
        self.mzxid = mzxid
        self.ctime = ctime
        self.mtime = mtime
        self.version = version
        self.cversion = cversion
        self.aversion = aversion
        self.ephemeralOwner = ephemeralOwner
        self.dataLength = dataLength
        self.childCount = childCount
        self.pzxid = pzxid
    }

    package init(from reader: inout JuteReader) throws(JuteError) {
        self.czxid = try reader.int64("a node's stat")
        self.mzxid = try reader.int64("a node's stat")
        self.ctime = try reader.int64("a node's stat")
        self.mtime = try reader.int64("a node's stat")
        self.version = try reader.int32("a node's stat")
        self.cversion = try reader.int32("a node's stat")
        self.aversion = try reader.int32("a node's stat")
        self.ephemeralOwner = try reader.int64("a node's stat")
        self.dataLength = try reader.int32("a node's stat")
        self.childCount = try reader.int32("a node's stat")
        self.pzxid = try reader.int64("a node's stat")
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.writeInteger(self.czxid)
        buffer.writeInteger(self.mzxid)
        buffer.writeInteger(self.ctime)
        buffer.writeInteger(self.mtime)
        buffer.writeInteger(self.version)
        buffer.writeInteger(self.cversion)
        buffer.writeInteger(self.aversion)
        buffer.writeInteger(self.ephemeralOwner)
        buffer.writeInteger(self.dataLength)
        buffer.writeInteger(self.childCount)
        buffer.writeInteger(self.pzxid)
    }
}

/// Who may do what with a node.
package enum NodeAccess: Hashable, Sendable {
    /// Anybody may do anything.
    case open
    /// Whoever is authenticated as the creator may do anything, and nobody else.
    case creator

    private static var all: Int32 { 31 }

    package func write(into buffer: inout ByteBuffer) {
        buffer.writeInteger(Int32(1))
        buffer.writeInteger(Self.all)
        switch self {
        case .open:
            buffer.writeJuteString("world")
            buffer.writeJuteString("anyone")
        case .creator:
            buffer.writeJuteString("auth")
            buffer.writeJuteString("")
        }
    }
}

/// How a node lives.
package enum NodeMode: Int32, Hashable, Sendable {
    case persistent = 0
    /// Ends with its session.
    case ephemeral = 1
    /// Ends with its session; the server appends a number of ten digits to its name.
    case ephemeralSequential = 3
    /// Removed by the server some time after its last child is gone.
    case container = 4
}

/// Asks for a session, or for one that there is.
package struct ConnectRequest: Hashable, Sendable {
    package var lastZxidSeen: Int64
    package var timeoutMilliseconds: Int32
    /// 0: a new one.
    package var sessionID: Int64
    package var password: [UInt8]

    package init(lastZxidSeen: Int64, timeoutMilliseconds: Int32, sessionID: Int64, password: [UInt8]) {
        self.lastZxidSeen = lastZxidSeen
        self.timeoutMilliseconds = timeoutMilliseconds
        self.sessionID = sessionID
        self.password = password
    }

    package func writeFrame(into buffer: inout ByteBuffer) {
        buffer.writeJuteFrame { buffer in
            buffer.writeInteger(Int32(0))
            buffer.writeInteger(self.lastZxidSeen)
            buffer.writeInteger(self.timeoutMilliseconds)
            buffer.writeInteger(self.sessionID)
            buffer.writeJuteBytes(self.password)
            // A server that is cut off from the quorum must not take us.
            buffer.writeJuteBool(false)
        }
    }

    package init(from reader: inout JuteReader) throws(JuteError) {
        _ = try reader.int32("a connect request")
        self.lastZxidSeen = try reader.int64("a connect request")
        self.timeoutMilliseconds = try reader.int32("a connect request")
        self.sessionID = try reader.int64("a connect request")
        self.password = try reader.bytes("a connect request")
        if reader.remainingBytes > 0 { _ = try reader.bool("a connect request") }
    }
}

/// Answers a ``ConnectRequest``.
package struct ConnectResponse: Hashable, Sendable {
    /// The negotiated timeout; 0 if the session has expired.
    package var timeoutMilliseconds: Int32
    package var sessionID: Int64
    package var password: [UInt8]
    package var isReadOnly: Bool

    package init(timeoutMilliseconds: Int32, sessionID: Int64, password: [UInt8], isReadOnly: Bool = false) {
        self.timeoutMilliseconds = timeoutMilliseconds
        self.sessionID = sessionID
        self.password = password
        self.isReadOnly = isReadOnly
    }

    package init(from reader: inout JuteReader) throws(JuteError) {
        let version = try reader.int32("a connect response")
        guard version == 0 else { throw JuteError("a connect response has the protocol version \(version)") }
        self.timeoutMilliseconds = try reader.int32("a connect response")
        self.sessionID = try reader.int64("a connect response")
        self.password = try reader.bytes("a connect response")
        guard self.password.count <= 64 else { throw .tooLong("a session's password", self.password.count, limit: 64) }
        // Servers before 3.4 do not send it.
        self.isReadOnly = reader.remainingBytes > 0 ? try reader.bool("a connect response") : false
        try reader.finish("a connect response")
    }

    package func writeFrame(into buffer: inout ByteBuffer) {
        buffer.writeJuteFrame { buffer in
            buffer.writeInteger(Int32(0))
            buffer.writeInteger(self.timeoutMilliseconds)
            buffer.writeInteger(self.sessionID)
            buffer.writeJuteBytes(self.password)
            buffer.writeJuteBool(self.isReadOnly)
        }
    }
}

/// Stands before every reply.
package struct ReplyHeader: Hashable, Sendable {
    package var xid: Int32
    package var zxid: Int64
    package var error: ZooKeeperCode

    package init(xid: Int32, zxid: Int64, error: ZooKeeperCode) {
        self.xid = xid
        self.zxid = zxid
        self.error = error
    }

    package init(from reader: inout JuteReader) throws(JuteError) {
        self.xid = try reader.int32("a reply's header")
        self.zxid = try reader.int64("a reply's header")
        self.error = ZooKeeperCode(rawValue: try reader.int32("a reply's header"))
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.writeInteger(self.xid)
        buffer.writeInteger(self.zxid)
        buffer.writeInteger(self.error.rawValue)
    }
}

/// What a watch says.
package struct WatchEvent: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        case created, deleted, dataChanged, childrenChanged
        /// The state of the session, or a kind that does not concern us.
        case other(Int32)
    }

    package var kind: Kind
    package var state: Int32
    package var path: String

    package init(kind: Kind, state: Int32 = 3, path: String) {
        self.kind = kind
        self.state = state
        self.path = path
    }

    package init(from reader: inout JuteReader) throws(JuteError) {
        switch try reader.int32("a watch event") {
        case 1: self.kind = .created
        case 2: self.kind = .deleted
        case 3: self.kind = .dataChanged
        case 4: self.kind = .childrenChanged
        case let other: self.kind = .other(other)
        }
        self.state = try reader.int32("a watch event")
        self.path = try reader.string("a watch event's path")
        try reader.finish("a watch event")
    }

    package func write(into buffer: inout ByteBuffer) {
        let number: Int32 =
            switch self.kind {
            case .created: 1
            case .deleted: 2
            case .dataChanged: 3
            case .childrenChanged: 4
            case .other(let number): number
            }
        buffer.writeInteger(number)
        buffer.writeInteger(self.state)
        buffer.writeJuteString(self.path)
    }
}
