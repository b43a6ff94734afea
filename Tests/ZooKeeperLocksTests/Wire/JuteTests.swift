import NIOCore
import TestKit
import Testing

@testable import ZooKeeperLocks

@Suite struct JuteTests {
    private static func written(_ request: ZooKeeperRequest, xid: Int32) -> [UInt8] {
        Self.bytes { request.writeFrame(xid: xid, into: &$0) }
    }

    private static func bytes(_ write: (inout ByteBuffer) -> Void) -> [UInt8] {
        var buffer = ByteBuffer()
        write(&buffer)
        return Array(buffer.readableBytesView)
    }

    // zookeeper.jute and ZooDefs.OpCode of Apache ZooKeeper 3.8, by hand.
    @Test func `requests are written as the protocol says`() {
        let create = ZooKeeperRequest.create(path: "/a", data: [7], access: .open, mode: .ephemeralSequential)
        #expect(
            Self.written(create, xid: 5)
                == [
                    0, 0, 0, 54, 0, 0, 0, 5, 0, 0, 0, 15, 0, 0, 0, 2, 0x2F, 0x61, 0, 0, 0, 1, 7, 0, 0, 0, 1, 0, 0, 0,
                    31,
                    0, 0, 0, 5, 0x77, 0x6F, 0x72, 0x6C, 0x64, 0, 0, 0, 6, 0x61, 0x6E, 0x79, 0x6F, 0x6E, 0x65, 0, 0, 0,
                    3,
                ].withLength())
        #expect(
            Self.written(ZooKeeperRequest.getData(path: "/a", watch: true), xid: 6)
                == [
                    0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 4, 0, 0, 0, 2, 0x2F, 0x61, 1,
                ].withLength())
        #expect(
            Self.written(ZooKeeperRequest.delete(path: "/a"), xid: 7)
                == [
                    0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, 2, 0x2F, 0x61, 255, 255, 255, 255,
                ].withLength())
        #expect(
            Self.written(ZooKeeperRequest.ping, xid: 8) == [
                0, 0, 0, 8, 255, 255, 255, 254, 0, 0, 0, 11,
            ])
        #expect(
            Self.written(ZooKeeperRequest.closeSession, xid: 9) == [
                0, 0, 0, 8, 0, 0, 0, 9, 255, 255, 255, 245,
            ])
        let multi = ZooKeeperRequest.multi([.check(path: "/a", version: 2), .delete(path: "/b", version: 3)])
        #expect(
            Self.written(multi, xid: 1)
                == [
                    0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 14,
                    0, 0, 0, 13, 0, 255, 255, 255, 255, 0, 0, 0, 2, 0x2F, 0x61, 0, 0, 0, 2,
                    0, 0, 0, 2, 0, 255, 255, 255, 255, 0, 0, 0, 2, 0x2F, 0x62, 0, 0, 0, 3,
                    255, 255, 255, 255, 1, 255, 255, 255, 255,
                ].withLength())
    }

    @Test func `a container is created by an operation of its own`() {
        #expect(ZooKeeperRequest.create(path: "/a", data: [], access: .open, mode: .container).operation == 19)
        #expect(ZooKeeperRequest.create(path: "/a", data: [], access: .open, mode: .persistent).operation == 15)
    }

    @Test func `credentials and data are not in a request's text`() {
        let requests: [ZooKeeperRequest] = [
            .authenticate(scheme: "digest", credentials: Array("me:secret".utf8)),
            .setData(path: "/a", data: Array("secret".utf8)),
            .create(path: "/a", data: Array("secret".utf8), access: .creator, mode: .ephemeral),
        ]
        for request in requests { #expect(!"\(request)".contains("secret")) }
    }

    @Test func `records are read as they were written`() throws {
        let stat = NodeStat(
            czxid: 1, mzxid: -2, ctime: 3, mtime: 4, version: 5, cversion: -6, aversion: 7,
            ephemeralOwner: 0x1000_0000_0000,
            dataLength: 9, childCount: 10, pzxid: 11)
        var buffer = ByteBuffer()
        stat.write(into: &buffer)
        var reader = JuteReader(buffer)
        #expect(try NodeStat(from: &reader) == stat)
        try reader.finish("a stat")

        let response = ConnectResponse(
            timeoutMilliseconds: 4_000, sessionID: 77, password: Array(0..<16), isReadOnly: true)
        buffer = ByteBuffer()
        response.writeFrame(into: &buffer)
        var frame = try #require(try JuteFrameDecoder().next(from: &buffer))
        reader = JuteReader(frame)
        #expect(try ConnectResponse(from: &reader) == response)
        // Servers before 3.4 do not say whether they are read-only.
        frame.moveWriterIndex(to: frame.writerIndex - 1)
        reader = JuteReader(frame)
        #expect(try ConnectResponse(from: &reader).isReadOnly == false)

        for kind in [WatchEvent.Kind.created, .deleted, .dataChanged, .childrenChanged, .other(-1)] {
            let event = WatchEvent(kind: kind, path: "/a/b")
            buffer = ByteBuffer()
            event.write(into: &buffer)
            reader = JuteReader(buffer)
            #expect(try WatchEvent(from: &reader) == event)
        }
    }

    @Test func `frames are found however the bytes arrive`() throws {
        var whole = ByteBuffer()
        whole.writeJuteFrame { $0.writeJuteString("first") }
        whole.writeJuteFrame { _ in }
        whole.writeJuteFrame { $0.writeJuteBytes([1, 2, 3]) }
        let bytes = Array(whole.readableBytesView)
        for cut in 0...bytes.count {
            var buffer = ByteBuffer(bytes: bytes[..<cut])
            var frames: [[UInt8]] = []
            let decoder = JuteFrameDecoder()
            while let frame = try decoder.next(from: &buffer) { frames.append(Array(frame.readableBytesView)) }
            buffer.writeBytes(bytes[cut...])
            while let frame = try decoder.next(from: &buffer) { frames.append(Array(frame.readableBytesView)) }
            #expect(frames == [[0, 0, 0, 5] + Array("first".utf8), [], [0, 0, 0, 3, 1, 2, 3]])
        }
    }

    // Z7
    @Test(arguments: [Int32(-1), .min, 4 << 20 + 1, .max])
    func `a frame whose length makes no sense is refused`(length: Int32) {
        var buffer = ByteBuffer()
        buffer.writeInteger(length)
        #expect(throws: JuteError.self) { try JuteFrameDecoder().next(from: &buffer) }
    }

    @Test func `lengths inside a frame are not believed`() {
        for length in [Int32(-2), .min, 5, 1_000_000, .max] {
            var buffer = ByteBuffer()
            buffer.writeInteger(length)
            buffer.writeBytes([1, 2, 3, 4])
            #expect(throws: JuteError.self) {
                var reader = JuteReader(buffer)
                _ = try reader.bytes()
            }
            #expect(throws: JuteError.self) {
                var reader = JuteReader(buffer)
                _ = try reader.strings()
            }
        }
    }

    @Test func `text that is not UTF-8 is refused, and so is what follows a record`() {
        var buffer = ByteBuffer()
        buffer.writeJuteBytes([0xFF, 0xFE])
        #expect(throws: JuteError.self) {
            var reader = JuteReader(buffer)
            _ = try reader.string()
        }
        buffer = ByteBuffer()
        NodeStat().write(into: &buffer)
        buffer.writeInteger(UInt8(0))
        #expect(throws: JuteError.self) {
            var reader = JuteReader(buffer)
            _ = try ZooKeeperAnswer(to: .exists(path: "/a"), from: &reader)
        }
    }

    @Test func `a multi tells what became of each part`() throws {
        var buffer = ByteBuffer()
        func header(_ operation: Int32, _ isDone: Bool, _ error: Int32) {
            buffer.writeInteger(operation)
            buffer.writeJuteBool(isDone)
            buffer.writeInteger(error)
        }
        header(13, false, 0)
        header(5, false, 0)
        NodeStat(version: 3).write(into: &buffer)
        header(-1, false, -103)
        buffer.writeInteger(Int32(-103))
        header(-1, true, -1)
        var reader = JuteReader(buffer)
        #expect(
            try ZooKeeperAnswer(to: .multi([]), from: &reader)
                == .multi([.done, .stat(NodeStat(version: 3)), .failed(.badVersion)]))
    }

    private static let requests: [ZooKeeperRequest] = [
        .create(path: "/a", data: [], access: .open, mode: .ephemeral), .exists(path: "/a"), .getData(path: "/a"),
        .setData(path: "/a", data: []), .getChildren(path: "/a"), .sync(path: "/a"), .multi([]), .delete(path: "/a"),
    ]

    // A crash would end the whole test process.
    @Test(arguments: requests.indices)
    func `no bytes crash the reader, and none are taken for an answer that is cut short`(index: Int) async throws {
        let request = Self.requests[index]
        try await onThread {
            var generator = SystemRandomNumberGenerator()
            for _ in 0..<20_000 {
                let count = Int.random(in: 0..<120, using: &generator)
                // Small numbers are likelier to be taken for lengths.
                let bytes = (0..<count).map { _ in
                    UInt8.random(in: 0...255, using: &generator) & (Bool.random() ? 255 : 3)
                }
                var reader = JuteReader(ByteBuffer(bytes: bytes), limits: JuteLimits(listElements: 8, multiResults: 4))
                _ = try? ZooKeeperAnswer(to: request, from: &reader)
            }
        }
        var good = ByteBuffer()
        switch request {
        case .create:
            good.writeJuteString("/a")
            NodeStat(czxid: 5).write(into: &good)
        case .exists, .setData: NodeStat().write(into: &good)
        case .getData:
            good.writeJuteBytes([1])
            NodeStat().write(into: &good)
        case .getChildren:
            good.writeJuteList(["a", "b"]) { $0.writeJuteString($1) }
            NodeStat().write(into: &good)
        case .sync: good.writeJuteString("/a")
        case .multi:
            good.writeInteger(Int32(-1))
            good.writeJuteBool(true)
            good.writeInteger(Int32(-1))
        default: break
        }
        let whole = Array(good.readableBytesView)
        for cut in whole.indices {
            #expect(throws: JuteError.self) {
                var reader = JuteReader(ByteBuffer(bytes: whole[..<cut]))
                _ = try ZooKeeperAnswer(to: request, from: &reader)
            }
        }
        var reader = JuteReader(good)
        _ = try ZooKeeperAnswer(to: request, from: &reader)
    }
}

extension [UInt8] {
    /// With the length of the rest in the first four bytes.
    fileprivate func withLength() -> [UInt8] {
        let count = UInt32(self.count - 4)
        return [UInt8(count >> 24), UInt8(count >> 16 & 255), UInt8(count >> 8 & 255), UInt8(count & 255)] + self[4...]
    }
}
