import NIOCore
import Testing

@testable import RedisLocks

/// Every kind of wrong bytes, and the error that each is.
@Suite struct MalformedTests {
    private static let inputs: [(text: String, code: RESPError.Code)] = [
        ("?1\r\n", .unknownType), ("PING\r\n", .unknownType), ("\r\n", .unknownType), ("\0", .unknownType),
        ("HTTP/1.1 400 Bad Request\r\n", .unknownType), (";4\r\nabcd\r\n", .unknownType), (".\r\n", .unknownType),
        ("*1\r\n?\r\n", .unknownType), ("$1\r\na\r\nb\r\n", .unknownType),

        ("+a\n", .bareLineBreak), ("+a\rb\r\n", .bareLineBreak), ("-a\n\r\n", .bareLineBreak), (":1\n", .bareLineBreak),
        (":1\r1\r\n", .bareLineBreak), (":1\r\r\n", .bareLineBreak), ("$1\na\r\n", .bareLineBreak),
        ("_\n", .bareLineBreak),
        ("*1\n:1\r\n", .bareLineBreak), ("(1\n", .bareLineBreak), (":\r:", .bareLineBreak),

        (":\r\n", .invalidInteger), (":-\r\n", .invalidInteger), (":+1\r\n", .invalidInteger),
        (":--1\r\n", .invalidInteger),
        (": 1\r\n", .invalidInteger), (":1 \r\n", .invalidInteger), (":1a\r\n", .invalidInteger),
        (":1.0\r\n", .invalidInteger), (":0x1\r\n", .invalidInteger), (":?\r\n", .invalidInteger),
        (":1-\r\n", .invalidInteger), (":٣\r\n", .invalidInteger),

        ("$\r\n", .invalidLength), ("$-\r\n", .invalidLength), ("$+1\r\na\r\n", .invalidLength),
        ("$-2\r\n", .invalidLength),
        ("$-0\r\n\r\n", .invalidLength), ("$-01\r\n", .invalidLength), ("$-10\r\n", .invalidLength),
        ("$1a\r\na\r\n", .invalidLength), ("$ 1\r\na\r\n", .invalidLength), ("*\r\n", .invalidLength),
        ("*-2\r\n", .invalidLength), ("*-0\r\n", .invalidLength), ("*+1\r\n:1\r\n", .invalidLength),
        ("%\r\n", .invalidLength), ("%-1\r\n", .invalidLength), ("~-1\r\n", .invalidLength),
        (">-1\r\n", .invalidLength),
        ("|-1\r\n", .invalidLength), ("!-1\r\n", .invalidLength), ("=-1\r\n", .invalidLength),
        ("$-9223372036854775808\r\n", .invalidLength), ("$??\r\n", .invalidLength), ("*-?\r\n", .invalidLength),

        (":9223372036854775808\r\n", .numberOverflow), (":-9223372036854775809\r\n", .numberOverflow),
        (":18446744073709551616\r\n", .numberOverflow), (":100000000000000000000\r\n", .numberOverflow),
        (":00018446744073709551617\r\n", .numberOverflow), ("$9223372036854775808\r\n", .numberOverflow),
        ("*18446744073709551617\r\n", .numberOverflow), ("%9223372036854775808\r\n", .numberOverflow),
        ("$-9223372036854775809\r\n", .numberOverflow),

        (",\r\n", .invalidDouble), (",-\r\n", .invalidDouble), (",+1\r\n", .invalidDouble), (",.5\r\n", .invalidDouble),
        (",1.\r\n", .invalidDouble), (",1e\r\n", .invalidDouble), (",1e+\r\n", .invalidDouble),
        (",0x1p3\r\n", .invalidDouble),
        (", 1\r\n", .invalidDouble), (",1 \r\n", .invalidDouble), (",infinity\r\n", .invalidDouble),
        (",NaN\r\n", .invalidDouble), (",nan(1)\r\n", .invalidDouble), (",1,5\r\n", .invalidDouble),
        (",--1\r\n", .invalidDouble),

        ("(\r\n", .invalidBigNumber), ("(-\r\n", .invalidBigNumber), ("(+1\r\n", .invalidBigNumber),
        ("(12a\r\n", .invalidBigNumber), ("(1.0\r\n", .invalidBigNumber), ("(1-\r\n", .invalidBigNumber),

        ("#\r\n", .invalidBoolean), ("#true\r\n", .invalidBoolean), ("#T\r\n", .invalidBoolean),
        ("#1\r\n", .invalidBoolean),

        ("_x\r\n", .invalidNull), ("_-1\r\n", .invalidNull), ("_ \r\n", .invalidNull),

        ("=0\r\n\r\n", .invalidVerbatimString), ("=3\r\ntxt\r\n", .invalidVerbatimString),
        ("=5\r\ntxt-a\r\n", .invalidVerbatimString), ("=5\r\nt:xta\r\n", .invalidVerbatimString),

        ("$2\r\nabc\r\n", .missingTerminator), ("$2\r\nab\n\r", .missingTerminator), ("$0\r\nab", .missingTerminator),
        ("$2\r\nab\r\r", .missingTerminator), ("!1\r\nabc", .missingTerminator), ("=4\r\ntxt:abc", .missingTerminator),
        ("$3\r\na\r\n+b\r\n", .missingTerminator),

        ("$?\r\n;4\r\nHell\r\n;0\r\n", .streamedValue), ("*?\r\n:1\r\n.\r\n", .streamedValue),
        ("%?\r\n", .streamedValue),
        ("~?\r\n", .streamedValue), (">?\r\n", .streamedValue), ("|?\r\n", .streamedValue), ("!?\r\n", .streamedValue),
        ("=?\r\n", .streamedValue),

        ("*1\r\n>1\r\n:1\r\n", .nestedPush), ("*1\r\n>0\r\n", .nestedPush), (">1\r\n>1\r\n+a\r\n", .nestedPush),
        ("%1\r\n+a\r\n>1\r\n+b\r\n", .nestedPush), ("|1\r\n+a\r\n>1\r\n+b\r\n", .nestedPush),
        ("~1\r\n>0\r\n", .nestedPush),
    ]

    @Test(arguments: inputs)
    func `what is malformed is refused for what it is`(text: String, code: RESPError.Code) {
        let whole = Decoding(text)
        #expect(whole.error?.code == code)
        #expect(whole.error?.isLimit == false)
        #expect(whole.decoder.pendingBytes <= text.utf8.count)
        let pieces = Decoding(ByteBuffer(string: text), lengths: repeatElement(1, count: text.utf8.count))
        #expect(pieces.error == whole.error, "one byte at a time")
        #expect(pieces.values == whole.values)
    }

    @Test func `every error that is no limit is among the inputs`() {
        let codes = Set(Self.inputs.map(\.code))
        let limits: Set<RESPError.Code> = [
            .lineTooLong, .bulkTooLong, .nestingTooDeep, .tooManyElements, .valueTooLarge,
        ]
        #expect(codes.isDisjoint(with: limits))
        #expect(codes.union(limits) == Set(RESPError.Code.allCases))
    }

    @Test func `values before what is malformed are given out first`() {
        let decoding = Decoding("+a\r\n*1\r\n:1\r\n:x\r\n+b\r\n")
        #expect(decoding.values == [.simple("a"), .array([.integer(1)])])
        #expect(decoding.error?.code == .invalidInteger)
        #expect(String(buffer: decoding.unread) == ":x\r\n+b\r\n")
    }

    @Test(arguments: ["?", "*2\r\n:1\r\n:x\r\n", "$1\r\nabc", "*1\r\n*1\r\n>0\r\n"])
    func `a decoder that failed throws the same error for ever and takes nothing`(text: String) throws {
        var decoder = RESPDecoder()
        var bytes = ByteBuffer(string: text)
        let first = try #require(throws: RESPError.self) { try decoder.next(from: &bytes) }
        for rest in ["+OK\r\n", "", text] {
            var bytes = ByteBuffer(string: rest)
            #expect(throws: first) { try decoder.next(from: &bytes) }
            #expect(String(buffer: bytes) == rest)
        }
    }

    @Test func `an error tells what is wrong in one line of printable text with at most eight bytes`() {
        #expect(
            Decoding("HTTP/1.1 400\r\n").error.map { "\($0)" } == "a value of no known type: \"H\"")
        #expect(
            Decoding("#\u{1}\"\\é\t secret\r\n").error.map { "\($0)" }
                == ##"a boolean that is neither t nor f: "#\x01\"\\\xc3\xa9\x09 ""##)
        #expect(
            Decoding("$5\r\nsecret\r\n").error.map { "\($0)" }
                == #"a payload that does not end with CRLF: "t\r""#)
        for (text, _) in Self.inputs {
            let description = Decoding(text).error.map { "\($0)" } ?? ""
            #expect(description.utf8.allSatisfy { 0x20..<0x7F ~= $0 } && !description.isEmpty, "\(text)")
        }
    }
}
