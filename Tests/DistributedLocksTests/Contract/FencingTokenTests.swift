import DistributedLocks
import Foundation
import Testing

@Suite struct FencingTokenTests {
    @Test(arguments: ["", "0", "-1", "+1", " 1", "1 ", "1.0", "0x1", "١", "9223372036854775808", "a"])
    func `a text that is no positive number is refused`(text: String) {
        #expect(FencingToken(text) == nil)
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode([FencingToken].self, from: Data("[\"\(text)\"]".utf8))
        }
    }

    @Test(arguments: [1, 9_007_199_254_740_993, Int64.max])
    func `in JSON it is a decimal string, exact above 2^53`(value: Int64) throws {
        let token = try #require(FencingToken(rawValue: value))
        let json = try JSONEncoder().encode([token])
        #expect(String(decoding: json, as: UTF8.self) == "[\"\(value)\"]")
        #expect(try JSONDecoder().decode([FencingToken].self, from: json) == [token])
        #expect(FencingToken(token.description) == token)
    }

    @Test func `a JSON number is refused`() {
        #expect(throws: DecodingError.self) { try JSONDecoder().decode([FencingToken].self, from: Data("[7]".utf8)) }
    }

    @Test func `zero and negative numbers are no tokens`() {
        #expect(FencingToken(rawValue: 0) == nil)
        #expect(FencingToken(rawValue: -1) == nil)
        #expect(FencingToken(rawValue: .min) == nil)
    }

    @Test func `tokens are compared as numbers`() throws {
        let nine = try #require(FencingToken("9"))
        let ten = try #require(FencingToken("10"))
        #expect(nine < ten)
    }
}
