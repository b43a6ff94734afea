import NIOCore
import Testing

@testable import RedisLocks

@Suite struct ValueTests {
    private static let text = ByteBuffer(string: "42")
    private static let all: [RESPValue] = [
        .simpleString(text), .simpleError(text), .integer(42), .bulkString(text), .bulkError(text), .null,
        .boolean(true),
        .double(42), .bigNumber(text), .verbatimString(format: .text, text), .array([.integer(42)]),
        .set([.integer(42)]),
        .push([.integer(42)]), .map([RESPMapEntry(key: .bulkString(text), value: .integer(42))]),
    ]

    @Test func `each value answers what it is asked for and nothing else`() {
        let none: String? = nil
        #expect(
            Self.all.map(\.string) == [
                "42", none, none, "42", none, none, none, none, none, "42", none, none, none, none,
            ])
        #expect(Self.all.map(\.int) == [nil, nil, 42, 42, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil])
        #expect(Self.all.map(\.errorText) == [none, "42", none, none, "42"] + Array(repeating: none, count: 9))
        #expect(Self.all.map(\.isError) == [false, true, false, false, true] + Array(repeating: false, count: 9))
        #expect(Self.all.map { $0.elements != nil } == Array(repeating: false, count: 10) + [true, true, true, false])
        #expect(Self.all.map { $0["42"] } == Array(repeating: nil, count: 13) + [.integer(42)])
        #expect(Self.all.map { $0.isText("42") } == Self.all.map { $0.string == "42" })
    }

    @Test(
        arguments: [
            ("0", 0), ("-1", -1), ("9223372036854775807", .max), ("-9223372036854775808", .min), ("", nil), ("-", nil),
            ("+1", nil), (" 1", nil), ("1\n", nil), ("1.0", nil), ("9223372036854775808", nil), ("abc", nil),
            ("٣", nil),
        ] as [(String, Int64?)])
    func `a bulk string is an integer only if it is a decimal one of 64 bits`(text: String, number: Int64?) {
        #expect(RESPValue.bulk(text).int == number)
    }

    @Test func `a key is found in a map and in an array of keys and values`() {
        let map = RESPValue.map([
            RESPMapEntry(key: .integer(1), value: .integer(0)),
            RESPMapEntry(key: .bulk("proto"), value: .integer(3)),
            RESPMapEntry(key: .simple("proto"), value: .integer(4)),
        ])
        let array = RESPValue.array([.bulk("proto"), .integer(2), .bulk("x"), .bulk("y")])
        #expect(map["proto"] == .integer(3) && map["prot"] == nil && map["1"] == nil)
        #expect(array["proto"] == .integer(2) && array["x"] == .bulk("y"))
        // A value is no key, and an odd array has none.
        #expect(array["y"] == nil && RESPValue.array([.bulk("a"), .bulk("b"), .bulk("c")])["a"] == nil)
    }

    @Test func `text that is not UTF-8 is replaced and not trapped on`() {
        let bytes = ByteBuffer(bytes: [0x61, 0xFF, 0x62])
        #expect(RESPValue.bulkString(bytes).string == "a\u{FFFD}b")
        #expect(RESPValue.simpleError(bytes).errorText == "a\u{FFFD}b")
    }

    @Test func `a text or payload is never shown`() {
        let secret = ByteBuffer(string: "secret")
        let leaves: [RESPValue] = [
            .simpleString(secret), .simpleError(secret), .bulkString(secret), .bulkError(secret), .bigNumber(secret),
            .verbatimString(format: .text, secret),
        ]
        let entries = leaves.map { RESPMapEntry(key: $0, value: $0) }
        for value in leaves + [.array(leaves), .set(leaves), .push(leaves), .map(entries)] {
            var dumped = ""
            dump(value, to: &dumped)
            for text in ["\(value)", String(reflecting: value), dumped] {
                #expect(!text.contains("secret") && text.contains("6 bytes"), "\(text)")
            }
        }
    }

    @Test func `what a decoder keeps is never shown`() {
        var decoding = Decoding("*3\r\n$6\r\nsecret\r\n*2\r\n+secret\r\n%1\r\n$6\r\nsecret\r\n")
        decoding.read("$6\r\nsec")
        var dumped = ""
        dump(decoding.decoder, to: &dumped)
        for text in ["\(decoding.decoder)", String(reflecting: decoding.decoder), dumped] {
            #expect(!text.contains("secret") && !text.contains("sec\""), "\(text)")
        }
    }
}
