import NIOCore

/// A script that a server keeps under the hash of its text (https://redis.io/docs/latest/commands/evalsha/).
final class StoredScript: Sendable {
    let text: String
    /// SHA-1, in 40 hexadecimal digits.
    let hash: String

    /// What a call by hash has behind the count of its words, and what one with the text has in its place.
    let hashWords: [UInt8]
    fileprivate let textWords: [UInt8]

    init(text: String, hash: String) {
        precondition(hash.utf8.count == 40)
        self.text = text
        self.hash = hash
        self.hashWords = Array("$7\r\nEVALSHA\r\n$40\r\n\(hash)\r\n".utf8)
        self.textWords = Array("$4\r\nEVAL\r\n$\(text.utf8.count)\r\n\(text)\r\n".utf8)
    }
}

extension RedisCommand {
    /// The same call, made again: by the script's hash, or with its text, which the server then knows by its hash.
    func again(_ script: StoredScript, withText: Bool) -> RedisCommand {
        let byHash = self.again?.byHash ?? self
        return RedisCommand(
            bytes: withText ? byHash.bytes(withTextOf: script) : byHash.bytes,
            calling: script,
            endsWithTag: self.endsWithTag,
            again: Again(byHash: byHash, hasText: withText, tries: (self.again?.tries ?? 0) + 1)
        )
    }

    private func bytes(withTextOf script: StoredScript) -> ByteBuffer {
        var rest = self.bytes
        guard let count = rest.readableBytesView.firstIndex(of: UInt8(ascii: "\n")),
            let head = rest.readSlice(length: count + 1 - rest.readerIndex),
            rest.readBytes(length: script.hashWords.count) == script.hashWords
        else { preconditionFailure("a command that does not call the script by its hash") }
        var bytes = ByteBufferAllocator().buffer(
            capacity: head.readableBytes + script.textWords.count + rest.readableBytes)
        bytes.writeImmutableBuffer(head)
        bytes.writeBytes(script.textWords)
        bytes.writeImmutableBuffer(rest)
        return bytes
    }
}

/// Who takes the text of a script to a server that does not know it, on one connection.
///
/// A call that is refused for that is made again. The first one takes the text with it. Those that were sent before the text are
/// made again by their hash, which follows it: a text is as long as forty calls. One that has followed often enough takes the text
/// itself, and hears what the server says to it. Pure.
struct ScriptTexts {
    /// A text that is followed may be refused, or be forgotten again.
    static var maximumTriesByHash: Int { 2 }

    /// The numbers of the requests that had a text last.
    private var numbers: [ObjectIdentifier: UInt64] = [:]

    /// A call with the text is sent.
    ///
    /// - Parameter number: the request's. They count up in the order in which they are sent.
    mutating func sent(_ script: StoredScript, number: UInt64) {
        self.numbers[ObjectIdentifier(script)] = number
    }

    /// Whether a call that was refused, as the server does not know the script, takes the text when it is made again.
    ///
    /// - Parameters:
    ///   - number: the request's.
    ///   - tries: how often it was made again before, by its hash.
    func takesText(_ script: StoredScript, number: UInt64, tries: Int) -> Bool {
        guard tries < Self.maximumTriesByHash, let last = self.numbers[ObjectIdentifier(script)] else { return true }
        return last <= number
    }
}
