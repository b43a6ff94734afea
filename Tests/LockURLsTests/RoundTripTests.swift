import DistributedLocks
import TestKit
import Testing

/// A URL that is printed names the same backend when it is read again.
@Suite struct RoundTripTests {
    /// What means something in a URL, what may not stand there, and what looks like something else.
    private static let scalars: [Unicode.Scalar] =
        Array("abcXYZ019-._~:/?#[]@!$&'()*+,;=% \"<>\\^`{|}".unicodeScalars) + [
            "\u{1}", "\t", "\n", "\r", "\u{7F}", "\u{85}", "\u{A0}", "é", "ß", "ホ", "\u{1F600}", "\u{301}", "\u{FE0F}",
            "\u{20E3}", "\u{200D}", "\u{202E}", "\u{FFFD}", "\u{FEFF}",
        ]

    private static func text(_ length: ClosedRange<Int>, _ generator: inout SeededGenerator) -> String {
        var text = ""
        for _ in 0..<Int.random(in: length, using: &generator) {
            text.unicodeScalars.append(Self.scalars.randomElement(using: &generator) ?? "a")
        }
        return text
    }

    /// Every byte is percent-encoded, or only what has to be: what is read is the same.
    private static func encoded(_ text: String, _ generator: inout SeededGenerator) -> String {
        var result = ""
        for byte in text.utf8 {
            let isPlain = (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A) || (byte >= 0x30 && byte <= 0x39)
            if isPlain && Bool.random(using: &generator) {
                result.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                let digits = String(byte, radix: 16, uppercase: Bool.random(using: &generator))
                result += "%" + (byte < 16 ? "0" : "") + digits
            }
        }
        return result
    }

    private struct Made {
        var text: String
        var user: String?
        var password: String?
        var hosts: [LockURL.Host] = []
        var path = ""
        var query: [(name: String, value: String)] = []
    }

    private static func made(_ generator: inout SeededGenerator) -> Made {
        let schemes = ["redis", "rediss+sentinel", "redlock", "zookeepers", "embedded", "redis+unix"]
        var made = Made(text: (schemes.randomElement(using: &generator) ?? "redis") + ":")
        if Bool.random(using: &generator) {
            made.text += "//"
            if Bool.random(using: &generator) {
                let user = Self.text(0...5, &generator)
                made.text += Self.encoded(user, &generator)
                if Bool.random(using: &generator) {
                    let password = Self.text(0...8, &generator)
                    made.text += ":" + Self.encoded(password, &generator)
                    made.password = password
                    made.user = user.isEmpty ? nil : user
                } else {
                    made.user = user
                }
                made.text += "@"
            }
            for index in 0..<Int.random(in: 1...3, using: &generator) {
                if index > 0 { made.text += "," }
                var host = LockURL.Host(name: Self.text(1...6, &generator))
                if Int.random(in: 0..<4, using: &generator) == 0 {
                    host.name = ["::1", "fe80::1%eth0", "2001:db8::a:b"].randomElement(using: &generator) ?? "::1"
                    made.text += "[\(Self.encoded(host.name, &generator))]"
                } else {
                    made.text += Self.encoded(host.name, &generator)
                }
                if Bool.random(using: &generator) {
                    host.port = Int.random(in: 1...65_535, using: &generator)
                    made.text += ":\(host.port ?? 0)"
                }
                made.hosts.append(host)
            }
        }
        for _ in 0..<Int.random(in: 0...3, using: &generator) {
            let part = Self.text(0...6, &generator)
            made.path += "/" + part
            made.text += "/" + Self.encoded(part, &generator)
        }
        // Two slashes would begin the hosts.
        if made.hosts.isEmpty, made.path.utf8.starts(with: "//".utf8) {
            made.text = made.text.prefix { $0 != ":" } + ":" + "//" + made.text.drop { $0 != ":" }.dropFirst()
        }
        for index in 0..<Int.random(in: 0...3, using: &generator) {
            let item = (name: Self.text(0...5, &generator), value: Self.text(0...8, &generator))
            made.text += (index == 0 ? "?" : "&") + Self.encoded(item.name, &generator) + "="
            made.text += Self.encoded(item.value, &generator)
            made.query.append(item)
        }
        return made
    }

    /// Strings are equal to Swift if people see the same; a password or a path is its bytes.
    private static func bytes(_ url: LockURL) -> [[UInt8]] {
        [url.scheme, url.user ?? "", url.path].map { Array($0.utf8) } + url.hosts.map { Array($0.name.utf8) }
            + url.query.flatMap { [Array($0.name.utf8), Array($0.value.utf8)] }
    }

    @Test func `what is printed of a URL is read as the same URL without its password`() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<5_000 {
            let made = Self.made(&generator)
            let url = try #require(try? LockURL(made.text), "seed \(seed): \(made.text.debugDescription)")
            #expect(url.user.map { Array($0.utf8) } == made.user.map { Array($0.utf8) }, "seed \(seed): \(made.text)")
            #expect(url.password.map { Array($0.utf8) } == made.password.map { Array($0.utf8) }, "seed \(seed)")
            #expect(url.hosts.map(\.port) == made.hosts.map(\.port), "seed \(seed): \(made.text)")
            #expect(Array(url.path.utf8) == Array(made.path.utf8), "seed \(seed): \(made.text)")

            let printed = url.description
            var expected = url
            expected.password = nil
            let again = try #require(try? LockURL(printed), "seed \(seed): \(printed)")
            #expect(again == expected, "seed \(seed): \(printed)")
            #expect(Self.bytes(again) == Self.bytes(expected), "seed \(seed): \(printed)")
            #expect(again.description == printed, "seed \(seed): \(printed)")
            // It goes through an environment variable and a terminal.
            #expect(printed.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }, "seed \(seed): \(printed.debugDescription)")
        }
    }

    @Test(arguments: [
        "redis://user@host:6379/0?prefix=x:", "embedded:///tmp/locks.db", "embedded:",
        "redis+sentinel://s1:26379,[::1]:7,s3/mymaster/2?password-file=/run/secrets/a,b=c",
        "redis+unix:///tmp/a.sock?database=1",
    ])
    func `what needs no encoding is printed as it was written`(text: String) throws {
        #expect(try LockURL(text).description == text)
    }

    @Test func `a delimiter is one whatever follows it`() throws {
        // With U+0301 behind it, a colon or an @ is another character.
        let url = try LockURL("redis://u:\u{301}x@\u{301}h/\u{301}?\u{301}=\u{301}")
        #expect(url.user == "u" && url.password.map { Array($0.utf8) } == Array("\u{301}x".utf8))
        #expect(url.hosts.first.map { Array($0.name.utf8) } == Array("\u{301}h".utf8))
        #expect(throws: LockError.self) { try LockURL("redis://u:a#\u{FE0F}\u{20E3}b@h") }
    }
}
