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

/// What follows when a server does not know a script, on one connection.
///
/// A call that is refused for that is made again. The first one takes the text with it. Those that were sent before the text are
/// made again by their hash, which follows it: a text is as long as forty calls. Pure.
struct ScriptTexts {
    enum Again: Equatable {
        case byHash
        case withText
        /// It has been tried often enough.
        case no
    }

    private struct Text {
        /// The number of the request that had it last.
        var number: UInt64
        /// Why the server has not taken it.
        var refusal: RedisError?
    }

    /// A server may forget a script again before the call comes that follows its text.
    static var maximumTries: Int { 3 }

    private var texts: [ObjectIdentifier: Text] = [:]

    /// A call was refused as the server does not know the script.
    ///
    /// - Parameters:
    ///   - number: the request's, which count up in the order in which they were sent.
    ///   - tries: how often it was made again before.
    ///   - next: the number of the request that is made next.
    mutating func unknown(_ script: StoredScript, number: UInt64, tries: Int, next: UInt64) -> Again {
        guard tries < Self.maximumTries else { return .no }
        if let text = self.texts[ObjectIdentifier(script)], text.number > number { return .byHash }
        self.texts[ObjectIdentifier(script), default: Text(number: next)].number = next
        return .withText
    }

    /// A call with the text was answered.
    mutating func answered(_ script: StoredScript, refusal: RedisError?) {
        self.texts[ObjectIdentifier(script)]?.refusal = refusal
    }

    /// Why the text was not taken, if it was not: others that wanted the script should hear that.
    func refusal(of script: StoredScript) -> RedisError? { self.texts[ObjectIdentifier(script)]?.refusal }
}
