import LockKernel
import NIOCore
import Testing

@testable import RedisLocks

/// What costs how much: slices, copies and time.
@Suite struct ResumingTests {
    /// Where the text or payload stands in memory.
    private func address(_ value: RESPValue?) -> UnsafeRawPointer? {
        value?.bytes?.withUnsafeReadableBytes { $0.baseAddress }
    }

    @Test func `texts and payloads that came whole are slices of what was read`() throws {
        var bytes = ByteBuffer(string: "*4\r\n$5\r\nhello\r\n+OK\r\n=8\r\ntxt:abcd\r\n~1\r\n$1\r\na\r\n")
        let range = bytes.withUnsafeReadableBytes { bytes in
            (bytes.baseAddress.map { UInt(bitPattern: $0) } ?? 0)...(bytes.baseAddress.map {
                UInt(bitPattern: $0 + bytes.count)
            } ?? 0)
        }
        var decoder = RESPDecoder()
        let elements = try #require(try decoder.next(from: &bytes)?.elements)
        let texts = elements.prefix(3) + (elements[3].elements ?? [])
        #expect(texts.map(\.string) == ["hello", "OK", "abcd", "a"])
        for text in texts {
            let address = try #require(self.address(text))
            #expect(range.contains(UInt(bitPattern: address)))
        }
    }

    @Test func `what waits for more bytes shares no memory with what was read`() throws {
        var bytes = ByteBuffer(string: "*3\r\n$5\r\nhello\r\n*2\r\n+OK\r\n")
        let before = bytes.withUnsafeReadableBytes { $0.baseAddress }
        var decoder = RESPDecoder()
        #expect(try decoder.next(from: &bytes) == nil)
        // Nobody else holds the storage, so it is written in place.
        bytes.clear()
        bytes.writeString("XXXXXXXXXXXXXXXXXXXXXXXXX")
        #expect(bytes.withUnsafeReadableBytes { $0.baseAddress } == before)
        bytes = ByteBuffer(string: ":1\r\n_\r\n")
        let value = try decoder.next(from: &bytes)
        #expect(value == .array([.bulk("hello"), .array([.simple("OK"), .integer(1)]), .null]))
    }

    @Test func `an aggregate that was read in pieces is copied once and not again with the one around it`() throws {
        var decoding = Decoding("*3\r\n*2\r\n$1\r\na\r\n")
        let first = self.address(decoding.decoder.open.last?.elements.first)
        decoding.read("$1\r\nb\r\n")
        let inner = try #require(decoding.decoder.open.last?.elements.first?.elements)
        #expect(decoding.decoder.open.count == 1 && inner.map(\.string) == ["a", "b"])
        #expect(first != nil && self.address(inner.first) == first)
        // Attributes between elements change nothing about that.
        decoding.read("|1\r\n+a\r\n")
        decoding.read("+b\r\n$1\r\nc\r\n")
        let outer = try #require(decoding.decoder.open.last?.elements)
        let third = self.address(outer.last)
        #expect(outer.count == 2 && self.address(outer.first?.elements?.first) == first)
        decoding.read(":1\r\n")
        #expect(decoding.isWhole)
        let elements = try #require(decoding.values.first?.elements)
        #expect(self.address(elements[0].elements?.first) == first && self.address(elements[1]) == third)
    }

    @Test func `an aggregate after an attribute read in pieces is copied before more bytes come`() throws {
        var decoding = Decoding("*2\r\n|1\r\n+a\r\n")
        decoding.read("+b\r\n$1\r\nc\r\n")
        let kept = try #require(self.address(decoding.decoder.open.first?.elements.first))
        let isInReadBuffer = decoding.unread.withVeryUnsafeBytes { bytes in
            bytes.baseAddress.map { kept >= $0 && kept < $0 + bytes.count } ?? false
        }
        #expect(!isInReadBuffer)
        decoding.read("")
        #expect(self.address(decoding.decoder.open.first?.elements.first) == kept)
        decoding.read("_\r\n")
        #expect(decoding.isWhole && decoding.values == [.array([.bulk("c"), .null])])
    }

    @Test func `bytes that were received are taken over if nothing was left and else added`() {
        let received = ByteBuffer(string: "+a\r\n+")
        var buffer = ByteBuffer()
        buffer.appendReceived(received)
        #expect(
            buffer.withUnsafeReadableBytes { $0.baseAddress } == received.withUnsafeReadableBytes { $0.baseAddress })
        buffer.moveReaderIndex(forwardBy: 4)
        buffer.appendReceived(ByteBuffer(string: "b\r\n"))
        #expect(String(buffer: buffer) == "+b\r\n" && buffer.readerIndex == 0)
        #expect(String(buffer: received) == "+a\r\n+")
    }

    @Test(arguments: ["array", "nested", "map", "payload", "line", "values"])
    func `the time for bytes that come one by one grows as their number does`(shape: String) {
        let limits = RESPLimits(
            maximumBulkLengthInBytes: 1 << 24, maximumLineLengthInBytes: 1 << 24, maximumNestingDepth: 16,
            maximumElementCount: 1 << 24, maximumPendingBytes: 1 << 24)
        func cost(_ count: Int) -> Double {
            let bytes = ByteBuffer(string: Self.text(shape, count: count))
            let one = ByteBuffer(string: "a")
            // The least of several is the one that was disturbed least.
            return (0..<3).map { _ in
                var decoder = RESPDecoder(limits: limits)
                var unread = ByteBuffer()
                var values = 0
                let start = Self.processorSeconds()
                for byte in bytes.readableBytesView {
                    var piece = one
                    piece.setInteger(byte, at: 0)
                    unread.appendReceived(piece)
                    while (try? decoder.next(from: &unread)) != nil { values += 1 }
                }
                let cost = Self.processorSeconds() - start
                #expect(values == (shape == "values" ? count : 1))
                return cost
            }.min() ?? 0
        }
        // Eight times as much takes about 8 times as long. If it were parsed again from its start, it would be 64
        // times.
        let few = cost(100)
        let many = cost(800)
        #expect(many < few * 24, "\(few) s, then \(many) s")
    }

    private static func text(_ shape: String, count: Int) -> String {
        switch shape {
        case "array": "*\(count)\r\n" + String(repeating: "$3\r\nabc\r\n", count: count)
        case "nested": String(repeating: "*1\r\n", count: 10) + self.text("array", count: count)
        case "map": "%\(count)\r\n" + String(repeating: "+a\r\n*1\r\n:1\r\n", count: count)
        case "payload": "$\(count * 8)\r\n" + String(repeating: "abcdefgh", count: count) + "\r\n"
        case "line": "+" + String(repeating: "abcdefgh", count: count) + "\r\n"
        default: String(repeating: "$3\r\nabc\r\n", count: count)
        }
    }

    /// What this thread has worked, in seconds: other work on the machine does not count.
    private static func processorSeconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
