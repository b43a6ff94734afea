import NIOCore
import TestKit

@testable import ZooKeeperLocks

/// A server's data as it stands in its snapshots (FileSnap, DataTree and DataNode of Apache ZooKeeper): so a test begins with
/// a counter that would take weeks to get there.
struct Snapshot {
    private struct Node {
        let path: String
        let createdCount: Int32
        let isContainer: Bool
    }

    private static let zxid: Int64 = 100
    /// What a server makes by itself, under the root.
    private var nodes = ["", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"].map {
        Node(path: $0, createdCount: 0, isContainer: false)
    }

    /// One in which a lock's folder is there, empty, and so many contenders have been made in it.
    init(lock: String, createdCount: Int32) {
        self.nodes.append(Node(path: "/dlock", createdCount: 1, isContainer: true))
        self.nodes.append(Node(path: "/dlock/" + lock, createdCount: createdCount, isContainer: true))
    }

    /// What a server is to find when it starts.
    var options: ZooKeeperServer.Options {
        ZooKeeperServer.Options(files: ["version-2/snapshot." + String(Self.zxid, radix: 16): self.bytes])
    }

    private var bytes: [UInt8] {
        var buffer = ByteBuffer(string: "ZKSN")
        buffer.writeInteger(Int32(2))
        buffer.writeInteger(Int64(-1))
        // Neither sessions nor lists of permissions.
        buffer.writeInteger(Int32(0))
        buffer.writeInteger(Int32(0))
        for node in self.nodes {
            buffer.writeJuteString(node.path)
            buffer.writeJuteBytes([])
            // Anybody may do anything.
            buffer.writeInteger(Int64(-1))
            // Created, changed; when, twice; the versions of data, children and permissions; the owner; children changed.
            for value in [Self.zxid, Self.zxid, 0, 0] { buffer.writeInteger(value) }
            for value in [0, node.createdCount, 0] { buffer.writeInteger(value) }
            buffer.writeInteger(node.isContainer ? Int64.min : 0)
            buffer.writeInteger(Self.zxid)
        }
        buffer.writeJuteString("/")
        buffer.writeInteger(Int64(Self.adler32(buffer.readableBytesView)))
        buffer.writeJuteString("/")
        return Array(buffer.readableBytesView)
    }

    private static func adler32(_ bytes: ByteBufferView) -> UInt32 {
        var (low, high): (UInt32, UInt32) = (1, 0)
        for byte in bytes {
            low = (low + UInt32(byte)) % 65_521
            high = (high + low) % 65_521
        }
        return high << 16 | low
    }
}
