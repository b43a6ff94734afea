import LockKernel
import TestKit
import Testing

@Suite struct PercentTests {
    private func encoded(_ text: String, atMostBytes maximum: Int = .max) -> String {
        Percent.encoded(text, atMostBytes: maximum, plain: Percent.isUnreserved)
    }

    @Test func `everything is written as the bytes of its UTF-8 but what is plain`() {
        #expect(self.encoded("aZ09-._~") == "aZ09-._~")
        #expect(self.encoded("a b/%\u{0}\u{7F}") == "a%20b%2F%25%00%7F")
        #expect(self.encoded("ä€😀") == "%C3%A4%E2%82%AC%F0%9F%98%80")
        #expect(Percent.encoded("ä b", plain: { $0 != " " && $0 != "%" }) == "ä%20b")
    }

    @Test func `nothing is cut within a character`() {
        #expect(self.encoded("abc", atMostBytes: 2) == "ab")
        #expect(self.encoded("aä", atMostBytes: 6) == "a")
        #expect(self.encoded("aä", atMostBytes: 7) == "a%C3%A4")
        #expect(Percent.encoded("aä", atMostBytes: 2, plain: { _ in true }) == "a")
        #expect(self.encoded("a", atMostBytes: 0) == "")
    }

    @Test(arguments: ["%", "%4", "a%", "%G0", "%0G", "%+1", "%-1", "% 1", "%%41", "%4\u{661}"])
    func `a sign without two hexadecimal digits is no encoding`(text: String) {
        #expect(Percent.decoded(text) as String? == nil)
        #expect(Percent.decoded(text.utf8) as [UInt8]? == nil)
    }

    @Test func `digits may be large or small, and what is not UTF-8 is no text`() {
        #expect(Percent.decoded("%c3%A4") as String? == "ä")
        #expect(Percent.decoded("plain ä") as String? == "plain ä")
        #expect(Percent.decoded("%C3") as String? == nil)
        #expect(Percent.decoded("%C3".utf8) == [0xC3])
    }

    @Test(arguments: 0..<20)
    func `what was encoded is decoded to the same`(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            let count = Int.random(in: 0..<40, using: &generator)
            let text = String(
                String.UnicodeScalarView(
                    (0..<count).compactMap { _ in Unicode.Scalar(UInt32.random(in: 0..<0x11_0000, using: &generator)) })
            )
            #expect(Percent.decoded(self.encoded(text)) as String? == text)
        }
    }
}
