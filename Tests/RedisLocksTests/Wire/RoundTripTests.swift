import NIOCore
import TestKit
import Testing

@testable import RedisLocks

/// What is written is read again, however it is cut.
@Suite struct RoundTripTests {
    private static let seeds = (0..<8).map { UInt64($0) }

    private func values(_ count: Int, seed: UInt64, version: RESPVersion) -> [RESPValue] {
        var random = RandomValues(seed: seed, version: version)
        return (0..<count).map { _ in random.next() }
    }

    private func encode(_ values: [RESPValue], version: RESPVersion = .resp3) -> ByteBuffer {
        var bytes = ByteBuffer()
        for value in values { bytes.writeRESP(value, version: version) }
        return bytes
    }

    @Test(arguments: RESPVersion.allCases, seeds)
    func `a value that is written is read as the same value`(version: RESPVersion, seed: UInt64) {
        for value in self.values(40, seed: seed, version: version) {
            let decoding = Decoding(ByteBuffer(value, version: version), lengths: [])
            #expect(decoding.isWhole && decoding.values == [value], "seed \(seed): \(value)")
        }
    }

    @Test(arguments: RESPVersion.allCases, seeds)
    func `values one after the other are read as the same values`(version: RESPVersion, seed: UInt64) {
        let values = self.values(40, seed: seed, version: version)
        let decoding = Decoding(self.encode(values, version: version), lengths: [])
        #expect(decoding.isWhole && decoding.values == values, "seed \(seed)")
    }

    @Test(arguments: seeds)
    func `bytes that come one by one are read as the same values`(seed: UInt64) {
        let values = self.values(20, seed: seed, version: .resp3)
        let bytes = self.encode(values)
        let decoding = Decoding(bytes, lengths: repeatElement(1, count: bytes.readableBytes))
        #expect(decoding.isWhole && decoding.values == values, "seed \(seed)")
    }

    @Test(arguments: seeds)
    func `bytes cut in two anywhere are read as the same values`(seed: UInt64) {
        let values = self.values(3, seed: seed, version: .resp3)
        let bytes = self.encode(values)
        for cut in 0...min(bytes.readableBytes, 300) {
            let decoding = Decoding(bytes, lengths: [cut])
            guard decoding.isWhole, decoding.values == values else {
                Issue.record("seed \(seed), cut at \(cut)")
                return
            }
        }
    }

    @Test(arguments: seeds)
    func `bytes in random pieces are read as the same values`(seed: UInt64) {
        let values = self.values(40, seed: seed, version: .resp3)
        let bytes = self.encode(values)
        var generator = SeededGenerator(seed: seed)
        for longest in [2, 10, 100, 2000] {
            let lengths = (0..<bytes.readableBytes).map { _ in Int.random(in: 0...longest, using: &generator) }
            let decoding = Decoding(bytes, lengths: lengths)
            #expect(decoding.isWhole && decoding.values == values, "seed \(seed), up to \(longest) bytes")
        }
    }

    @Test(arguments: seeds)
    func `what is no protocol is the same error however it is cut`(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for value in self.values(50, seed: seed, version: .resp3) {
            var bytes = ByteBuffer(value)
            let index = Int.random(in: 0..<bytes.readableBytes, using: &generator)
            bytes.setInteger(UInt8.random(in: .min ... .max, using: &generator), at: index)
            let whole = Decoding(bytes, lengths: [])
            let pieces = Decoding(bytes, lengths: repeatElement(1, count: bytes.readableBytes))
            #expect(pieces.error == whole.error, "seed \(seed), byte \(index) of \(value)")
            // Compared as bytes: a double may have become a number that is none.
            #expect(self.encode(pieces.values) == self.encode(whole.values), "seed \(seed), byte \(index) of \(value)")
        }
    }

    @Test func `a number that is none comes back as one`() throws {
        for version in RESPVersion.allCases {
            let decoding = Decoding(ByteBuffer(.double(.nan), version: version), lengths: [])
            switch try #require(decoding.values.first) {
            case .double(let number): #expect(version == .resp3 && number.isNaN)
            case let other: #expect(version == .resp2 && other == .bulk("nan"))
            }
        }
    }

    @Test(arguments: [
        (RESPValue.boolean(true), ":1\r\n"),
        (.boolean(false), ":0\r\n"),
        (.null, "$-1\r\n"),
        (.double(1.5), "$3\r\n1.5\r\n"),
        (.double(-.infinity), "$4\r\n-inf\r\n"),
        (.bigNumber(ByteBuffer(string: "-12345678901234567890")), "$21\r\n-12345678901234567890\r\n"),
        (.verbatimString(format: .markdown, ByteBuffer(string: "# a")), "$3\r\n# a\r\n"),
        (.bulkError(ByteBuffer(string: "ERR a\r\nb")), "-ERR a  b\r\n"),
        (.set([.integer(1), .null]), "*2\r\n:1\r\n$-1\r\n"),
        (.push([.simple("a"), .set([])]), "*2\r\n+a\r\n*0\r\n"),
        (.map([RESPMapEntry(key: .simple("a"), value: .boolean(true))]), "*2\r\n+a\r\n:1\r\n"),
    ])
    func `what version 2 does not have is written as servers do`(value: RESPValue, text: String) {
        #expect(String(buffer: ByteBuffer(value, version: .resp2)) == text)
    }

    @Test func `a line break in a line does not end the value early`() {
        for value in [RESPValue.simple("a\r\n+b"), .simpleError(ByteBuffer(string: "a\r\n+b"))] {
            for version in RESPVersion.allCases {
                let decoding = Decoding(ByteBuffer(value, version: version), lengths: [])
                #expect(decoding.isWhole && decoding.values.count == 1)
                #expect(decoding.values.first.map { $0.string ?? $0.errorText } == "a  +b")
            }
        }
    }
}
