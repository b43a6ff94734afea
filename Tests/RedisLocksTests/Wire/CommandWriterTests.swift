import NIOCore
import TestKit
import Testing

@testable import RedisLocks

@Suite struct CommandWriterTests {
    private func written(_ write: (inout ByteBuffer) -> Void) -> String {
        var buffer = ByteBuffer()
        write(&buffer)
        return String(buffer: buffer)
    }

    @Test func `a command is an array of bulk strings`() {
        #expect(
            self.written { $0.writeRESPCommand(["SET", "key", "a value"]) }
                == "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$7\r\na value\r\n")
        #expect(self.written { $0.writeRESPCommand(["PING"]) } == "*1\r\n$4\r\nPING\r\n")
        #expect(self.written { $0.writeRESPCommand([]) } == "*0\r\n")
    }

    @Test func `commands are written one after the other behind what is there`() {
        let text = self.written {
            $0.writeStaticString("x")
            $0.writeRESPCommand(["A"])
            $0.writeRESPCommand(["B"])
        }
        #expect(text == "x*1\r\n$1\r\nA\r\n*1\r\n$1\r\nB\r\n")
    }

    @Test func `an empty string is a bulk string of no bytes`() {
        let expected = "$0\r\n\r\n"
        #expect(self.written { $0.writeRESPBulk("") } == expected)
        #expect(self.written { $0.writeRESPBulk("" as StaticString) } == expected)
        #expect(self.written { $0.writeRESPBulk(ByteBuffer()) } == expected)
        #expect(self.written { $0.writeRESPBulk([UInt8]()) } == expected)
        #expect(self.written { $0.writeRESPBulk(UnsafeRawBufferPointer(start: nil, count: 0)) } == expected)
        #expect(self.written { $0.writeRESPCommand(["", ""]) } == "*2\r\n$0\r\n\r\n$0\r\n\r\n")
    }

    @Test(arguments: [("é", 2), ("鍵", 3), ("\u{1F512}", 4), ("e\u{301}", 3), ("👨‍👩‍👧", 18), ("a\r\nb", 4), ("\0", 1)])
    func `the length of a text is that of its UTF-8`(text: String, lengthInBytes: Int) {
        let expected = "$\(lengthInBytes)\r\n\(text)\r\n"
        #expect(self.written { $0.writeRESPBulk(text) }.utf8.elementsEqual(expected.utf8))
        #expect(self.written { $0.writeRESPBulk(Array(text.utf8)) }.utf8.elementsEqual(expected.utf8))
        #expect(self.written { $0.writeRESPBulk(ByteBuffer(string: text)) }.utf8.elementsEqual(expected.utf8))
    }

    @Test func `a text known when compiling may have any characters`() {
        #expect(self.written { $0.writeRESPBulk("EVALSHA" as StaticString) } == "$7\r\nEVALSHA\r\n")
        #expect(self.written { $0.writeRESPBulk("é" as StaticString) } == "$2\r\né\r\n")
    }

    @Test(
        arguments: [
            0, 1, -1, 9, 10, -9, -10, 99, 100, 12345, -12345, 999_999_999_999_999_999, 1_000_000_000_000_000_000,
            -1_000_000_000_000_000_000, .max, .min, .max - 1, .min + 1,
        ] as [Int64])
    func `a number is written in decimal`(number: Int64) {
        let text = String(number)
        #expect(self.written { $0.writeDecimal(number) } == text)
        #expect(self.written { $0.writeRESPBulk(number) } == "$\(text.utf8.count)\r\n\(text)\r\n")
        #expect(Decoding(self.written { $0.writeRESPBulk(number) }).values.first?.int == number)
    }

    @Test func `numbers of all types up to 64 bits are written`() {
        #expect(self.written { $0.writeDecimal(UInt64.max) } == "18446744073709551615")
        #expect(self.written { $0.writeRESPBulk(UInt64.max) } == "$20\r\n18446744073709551615\r\n")
        #expect(self.written { $0.writeRESPBulk(Int8.min) } == "$4\r\n-128\r\n")
        #expect(self.written { $0.writeRESPBulk(UInt8.max) } == "$3\r\n255\r\n")
        #expect(self.written { $0.writeRESPBulk(42) } == "$2\r\n42\r\n")
    }

    @Test func `every number of digits is written`() {
        var power: UInt64 = 1
        for digits in 1...20 {
            for number in [power, power - 1] where number > 0 {
                #expect(self.written { $0.writeDecimal(number) } == String(number))
            }
            #expect(String(power).count == digits)
            if digits < 20 { power *= 10 }
        }
    }

    @Test(arguments: [0, 1, 9, 10, 1_000_000])
    func `an array's header has the number of its elements`(count: Int) {
        #expect(self.written { $0.writeRESPArrayHeader(count: count) } == "*\(count)\r\n")
    }

    @Test(arguments: (0..<10).map { UInt64($0) })
    func `a command of any bytes is read as it was written`(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<50 {
            let words = (0..<Int.random(in: 0...8, using: &generator)).map { _ in
                (0..<Int.random(in: 0...50, using: &generator)).map { _ in UInt8.random(in: 0...255, using: &generator)
                }
            }
            var buffer = ByteBuffer()
            buffer.writeRESPArrayHeader(count: words.count)
            for word in words { buffer.writeRESPBulk(word) }
            let decoding = Decoding(buffer, lengths: [])
            #expect(decoding.isWhole)
            #expect(decoding.values == [.array(words.map { .bulkString(ByteBuffer(bytes: $0)) })])
        }
    }
}
