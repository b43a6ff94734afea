import NIOCore
import Testing

@testable import RedisLocks

/// The examples of https://redis.io/docs/latest/develop/reference/protocol-spec/ and of
/// https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md, and what servers write.
@Suite struct SpecificationTests {
    private static let examples: [(text: String, value: RESPValue)] = [
        ("+OK\r\n", .simple("OK")),
        ("+\r\n", .simple("")),
        ("-ERR unknown command 'asdf'\r\n", .simpleError(ByteBuffer(string: "ERR unknown command 'asdf'"))),
        (":0\r\n", .integer(0)),
        (":-0\r\n", .integer(0)),
        (":1000\r\n", .integer(1000)),
        (":0007\r\n", .integer(7)),
        (":0000000000000000000000000000042\r\n", .integer(42)),
        (":999999999999999999\r\n", .integer(999_999_999_999_999_999)),
        (":1000000000000000000\r\n", .integer(1_000_000_000_000_000_000)),
        (":9223372036854775807\r\n", .integer(.max)),
        (":-9223372036854775808\r\n", .integer(.min)),
        ("$5\r\nhello\r\n", .bulk("hello")),
        ("$0\r\n\r\n", .bulk("")),
        ("$4\r\n\r\n\r\n\r\n", .bulk("\r\n\r\n")),
        ("$-1\r\n", .null),
        ("*-1\r\n", .null),
        ("_\r\n", .null),
        ("*0\r\n", .array([])),
        ("*2\r\n$5\r\nhello\r\n$5\r\nworld\r\n", .array([.bulk("hello"), .bulk("world")])),
        ("*3\r\n$5\r\nhello\r\n$-1\r\n$5\r\nworld\r\n", .array([.bulk("hello"), .null, .bulk("world")])),
        (
            "*2\r\n*3\r\n:1\r\n:2\r\n:3\r\n*2\r\n+Hello\r\n-World\r\n",
            .array([
                .array([.integer(1), .integer(2), .integer(3)]),
                .array([.simple("Hello"), .simpleError(ByteBuffer(string: "World"))]),
            ])
        ),
        ("#t\r\n", .boolean(true)),
        ("#f\r\n", .boolean(false)),
        (",1.23\r\n", .double(1.23)),
        (",10\r\n", .double(10)),
        (",-4.5E-10\r\n", .double(-4.5e-10)),
        (",1e+20\r\n", .double(1e20)),
        (",inf\r\n", .double(.infinity)),
        (",-inf\r\n", .double(-.infinity)),
        (",1e999\r\n", .double(.infinity)),
        (
            "(3492890328409238509324850943850943825024385\r\n",
            .bigNumber(ByteBuffer(string: "3492890328409238509324850943850943825024385"))
        ),
        ("(-1\r\n", .bigNumber(ByteBuffer(string: "-1"))),
        ("!21\r\nSYNTAX invalid syntax\r\n", .bulkError(ByteBuffer(string: "SYNTAX invalid syntax"))),
        ("=15\r\ntxt:Some string\r\n", .verbatimString(format: .text, ByteBuffer(string: "Some string"))),
        ("=4\r\nmkd:\r\n", .verbatimString(format: .markdown, ByteBuffer())),
        (
            "%2\r\n+first\r\n:1\r\n+second\r\n:2\r\n",
            .map([
                RESPMapEntry(key: .simple("first"), value: .integer(1)),
                RESPMapEntry(key: .simple("second"), value: .integer(2)),
            ])
        ),
        ("%0\r\n", .map([])),
        (
            "~5\r\n+orange\r\n+apple\r\n#t\r\n:100\r\n:999\r\n",
            .set([.simple("orange"), .simple("apple"), .boolean(true), .integer(100), .integer(999)])
        ),
        ("~0\r\n", .set([])),
        (
            ">3\r\n+message\r\n+somechannel\r\n+this is the message\r\n",
            .push([.simple("message"), .simple("somechannel"), .simple("this is the message")])
        ),
        (">0\r\n", .push([])),
    ]

    @Test(arguments: examples)
    func `an example is read as what it stands for`(text: String, value: RESPValue) {
        let whole = Decoding(text)
        #expect(whole.isWhole && whole.values == [value])
        let pieces = Decoding(ByteBuffer(string: text), lengths: repeatElement(1, count: text.utf8.count))
        #expect(pieces.isWhole && pieces.values == [value])
    }

    @Test(arguments: [",nan\r\n", ",-nan\r\n"])
    func `a number that is none is read`(text: String) {
        guard case .double(let number)? = Decoding(text).values.first else {
            Issue.record("no double")
            return
        }
        #expect(number.isNaN)
    }

    @Test(arguments: [
        // The specification's two examples.
        "|1\r\n+key-popularity\r\n%2\r\n$1\r\na\r\n,0.1923\r\n$1\r\nb\r\n,0.0012\r\n*2\r\n:1\r\n:2\r\n",
        "*2\r\n:1\r\n|1\r\n+ttl\r\n:3600\r\n:2\r\n",
        "|0\r\n*2\r\n:1\r\n:2\r\n",
        "*2\r\n|0\r\n:1\r\n|0\r\n:2\r\n",
        "|1\r\n|1\r\n+a\r\n+b\r\n+c\r\n|0\r\n+d\r\n*2\r\n:1\r\n:2\r\n",
        "|1\r\n+a\r\n+b\r\n|2\r\n+c\r\n~1\r\n+d\r\n*0\r\n_\r\n*2\r\n:1\r\n:2\r\n",
    ])
    func `attributes are read and dropped`(text: String) {
        let expected = [RESPValue.array([.integer(1), .integer(2)]), .simple("OK")]
        let bytes = ByteBuffer(string: text + "+OK\r\n")
        for lengths in [[], Array(repeating: 1, count: bytes.readableBytes)] {
            let decoding = Decoding(bytes, lengths: lengths)
            #expect(decoding.isWhole && decoding.values == expected)
        }
    }

    @Test func `a push may have attributes and come between replies`() {
        let decoding = Decoding("+a\r\n|1\r\n+ttl\r\n:1\r\n>1\r\n+b\r\n+c\r\n")
        #expect(decoding.isWhole && decoding.values == [.simple("a"), .push([.simple("b")]), .simple("c")])
    }
}
