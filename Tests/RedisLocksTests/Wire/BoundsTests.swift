import NIOCore
import Testing

@testable import RedisLocks

/// Each limit lets through what is just within it and refuses what is just beyond; and nothing is taken on a claim.
@Suite struct BoundsTests {
    private func code(_ text: String, _ limits: RESPLimits) -> RESPError.Code? {
        let whole = Decoding(text, limits: limits)
        let pieces = Decoding(
            ByteBuffer(string: text), lengths: repeatElement(1, count: text.utf8.count), limits: limits)
        #expect(pieces.error?.code == whole.error?.code, "one byte at a time")
        #expect(whole.error?.isLimit != false)
        return whole.error?.code
    }

    @Test func `a line is as long as allowed and no longer`() {
        let limits = RESPLimits(maximumLineLengthInBytes: 32)
        for type in ["+", "-", "(", ","] {
            let longest = String(repeating: "1", count: 32)
            #expect(self.code("\(type)\(longest)\r\n", limits) == nil)
            #expect(self.code("\(type)\(longest)1\r\n", limits) == .lineTooLong)
        }
        #expect(self.code(":\(String(repeating: "0", count: 32))\r\n", limits) == nil)
        #expect(self.code(":\(String(repeating: "0", count: 33))\r\n", limits) == .lineTooLong)
    }

    @Test func `a line without an end is refused once it is too long`() {
        let limits = RESPLimits(maximumLineLengthInBytes: 32)
        let endless = String(repeating: "a", count: 1000)
        #expect(Decoding("+\(endless.prefix(32))", limits: limits).error == nil)
        #expect(self.code("+\(endless.prefix(33))", limits) == .lineTooLong)
        #expect(self.code("$\(String(repeating: "0", count: 1000))", limits) == .lineTooLong)
    }

    @Test func `a payload is as long as allowed and no longer`() {
        let limits = RESPLimits(maximumBulkLengthInBytes: 5)
        for type in ["$", "!", "="] {
            #expect(self.code("\(type)5\r\nabc:d\r\n", limits) == nil)
            // Refused on its length, before its first byte.
            #expect(self.code("\(type)6\r\n", limits) == .bulkTooLong)
            #expect(self.code("\(type)9223372036854775807\r\n", limits) == .bulkTooLong)
        }
        #expect(self.code("$0\r\n\r\n", RESPLimits(maximumBulkLengthInBytes: 0)) == nil)
    }

    @Test func `aggregates are nested as deep as allowed and no deeper`() {
        let limits = RESPLimits(maximumNestingDepth: 3)
        for nest in ["*1\r\n", "~1\r\n", "%1\r\n_\r\n", "|1\r\n_\r\n"] {
            let three = String(repeating: nest, count: 3)
            #expect(self.code(three, limits) == nil)
            #expect(self.code(three + ":1\r\n", limits) == nil)
            #expect(self.code(three + nest.prefix(1) + "0\r\n", limits) == .nestingTooDeep)
        }
        #expect(self.code("*0\r\n", RESPLimits(maximumNestingDepth: 0)) == .nestingTooDeep)
        #expect(self.code(":1\r\n*-1\r\n", RESPLimits(maximumNestingDepth: 0)) == nil)
        // One after the other is not one within the other.
        #expect(self.code("*2\r\n*1\r\n*0\r\n*1\r\n*0\r\n", limits) == nil)
    }

    @Test func `the deepest nesting that can be configured is read and given up without trouble`() {
        let limits = RESPLimits(maximumNestingDepth: 1024)
        let text = String(repeating: "*1\r\n", count: 1024)
        let whole = Decoding(text + ":1\r\n", limits: limits)
        #expect(whole.isWhole && whole.values.count == 1)
        let bytes = ByteBuffer(string: text + ":1\r\n")
        let pieces = Decoding(bytes, lengths: repeatElement(21, count: bytes.readableBytes / 21), limits: limits)
        #expect(pieces.values == whole.values)
        #expect(self.code(text + "*0\r\n", limits) == .nestingTooDeep)
    }

    @Test func `one aggregate has as many elements as allowed and no more`() {
        let limits = RESPLimits(maximumElementCount: 4)
        let elements = String(repeating: ":1\r\n", count: 4)
        for header in ["*4", "~4", ">4", "%2"] { #expect(self.code("\(header)\r\n\(elements)", limits) == nil) }
        for header in ["*5", "~5", ">5", "%3", "|3", "%9223372036854775807", "*9223372036854775807"] {
            #expect(self.code("\(header)\r\n", limits) == .tooManyElements)
        }
    }

    @Test func `all aggregates of a value have as many elements as allowed and no more`() {
        let limits = RESPLimits(maximumElementCount: 6)
        #expect(self.code("*2\r\n*2\r\n:1\r\n:2\r\n*2\r\n:1\r\n:2\r\n", limits) == nil)
        #expect(self.code("*2\r\n*2\r\n:1\r\n:2\r\n*3\r\n", limits) == .tooManyElements)
        #expect(self.code("*2\r\n|1\r\n:1\r\n:2\r\n:1\r\n*2\r\n:1\r\n:2\r\n", limits) == nil)
        #expect(self.code("*2\r\n|1\r\n:1\r\n:2\r\n:1\r\n%2\r\n", limits) == .tooManyElements)
        // The next value starts at none; attributes belong to the value that they stand before.
        #expect(self.code(String(repeating: "*1\r\n*1\r\n*1\r\n:1\r\n", count: 10), limits) == nil)
        #expect(self.code("|2\r\n:1\r\n:2\r\n:3\r\n:4\r\n*2\r\n", limits) == nil)
        #expect(self.code("|2\r\n:1\r\n:2\r\n:3\r\n:4\r\n*3\r\n", limits) == .tooManyElements)
    }

    @Test func `a value takes as many bytes as allowed and no more`() {
        let text = "*2\r\n$3\r\nabc\r\n+defg\r\n"
        let length = text.utf8.count
        #expect(self.code(text + text, RESPLimits(maximumPendingBytes: length)) == nil)
        for maximum in 0..<length {
            #expect(self.code(text, RESPLimits(maximumPendingBytes: maximum)) == .valueTooLarge)
        }
        // A payload is refused on its length.
        #expect(self.code("$100\r\n", RESPLimits(maximumPendingBytes: 107)) == .valueTooLarge)
        #expect(self.code("$100\r\n", RESPLimits(maximumPendingBytes: 108)) == nil)
    }

    @Test func `attributes without end are refused`() {
        let limits = RESPLimits(maximumPendingBytes: 1000)
        #expect(self.code(String(repeating: "|0\r\n", count: 250), limits) == nil)
        #expect(self.code(String(repeating: "|0\r\n", count: 251), limits) == .valueTooLarge)
        #expect(self.code(String(repeating: "|1\r\n_\r\n_\r\n", count: 101), limits) == .valueTooLarge)
    }

    @Test func `no memory is taken for elements that were only announced`() {
        let limits = RESPLimits(maximumNestingDepth: 1024, maximumElementCount: 1 << 32)
        for header in ["*2147483648", "~2147483648", ">2147483648", "%1073741824", "*4294967296"] {
            let decoding = Decoding("\(header)\r\n:1\r\n", limits: limits)
            #expect(decoding.error == nil)
            #expect(decoding.decoder.open.map(\.elements.count) == [1])
            #expect(decoding.decoder.open.allSatisfy { $0.elements.capacity <= 32 })
        }
        // And little for each, if there are many.
        let nested = Decoding(String(repeating: "*1000\r\n", count: 1000), limits: limits)
        #expect(nested.decoder.open.count == 1000)
        #expect(nested.decoder.open.allSatisfy { $0.elements.capacity <= 64 })
        #expect(Decoding("*2147483648\r\n").error?.code == .tooManyElements)
    }

    @Test func `no memory is taken for a payload that was only announced`() {
        let limits = RESPLimits(maximumBulkLengthInBytes: 1 << 32, maximumPendingBytes: 1 << 32)
        let decoding = Decoding("$2147483648\r\nabc", limits: limits)
        #expect(decoding.error == nil)
        #expect(decoding.unread.readableBytes == 3 && decoding.unread.capacity <= 64)
        #expect(Decoding("$2147483648\r\n").error?.code == .bulkTooLong)
    }

    @Test func `attributes are kept no longer than they are read`() {
        var decoding = Decoding("|1000\r\n")
        for _ in 0..<1999 { decoding.read("$3\r\nabc\r\n") }
        #expect(decoding.decoder.open.map(\.elements.count) == [0])
        #expect(decoding.decoder.pendingBytes == 7 + 1999 * 9)
        decoding.read("_\r\n+a\r\n")
        #expect(decoding.isWhole && decoding.values == [.simple("a")])
    }

    @Test func `pending bytes are those of the unfinished value that were taken`() {
        var decoding = Decoding("+a\r\n*2\r\n:1\r\n$5\r\nab")
        #expect(decoding.values == [.simple("a")] && decoding.decoder.pendingBytes == 12)
        #expect(decoding.unread.readableBytes == 2)
        decoding.read("cde\r\n:1")
        #expect(decoding.values.count == 2 && decoding.decoder.pendingBytes == 0)
    }
}
