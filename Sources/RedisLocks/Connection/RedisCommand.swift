import NIOCore

/// One command, as the bytes that go to the server.
///
/// An object, as it goes through many hands on its way, and one may be sent to several servers.
final class RedisCommand: Sendable {
    /// The encoded command: exactly one RESP array of bulk strings.
    let bytes: ByteBuffer
    /// The script that it calls by its hash: if the server does not know it, the call is made again with its text.
    let script: StoredScript?
    /// The tag of the connection that carries it follows as the last argument: see ``RedisLocation/tag``.
    let endsWithTag: Bool
    /// Of a call that is made again, as the server did not know the script; nil: it is the first one.
    let again: Again?

    struct Again {
        let byHash: RedisCommand
        /// This time the text goes with it.
        let hasText: Bool
        let tries: Int
    }

    /// `bytes`, with the request's tail, must be one whole encoded command: anything else shifts the replies of all requests
    /// after it.
    ///
    /// - Parameter endsWithTag: `bytes` lack the last argument, which their array header counts.
    init(bytes: ByteBuffer, calling script: StoredScript? = nil, endsWithTag: Bool = false, again: Again? = nil) {
        self.bytes = bytes
        self.script = script
        self.endsWithTag = endsWithTag
        self.again = again
    }

    convenience init(_ arguments: [String]) {
        var buffer = ByteBuffer()
        buffer.writeRESPCommand(arguments)
        self.init(bytes: buffer)
    }

    convenience init(_ arguments: String...) {
        self.init(arguments)
    }

    /// The command's words, read back from its bytes. Nil if they are not one encoded command.
    var words: [String]? {
        var bytes = self.bytes
        var decoder = RESPDecoder(limits: RESPLimits())
        guard let value = try? decoder.next(from: &bytes), bytes.readableBytes == 0 else { return nil }
        return value.elements?.map { $0.string ?? "" }
    }
}

// Arguments may be secrets.
extension RedisCommand: CustomStringConvertible, CustomReflectable {
    var description: String { "RedisCommand(\(self.bytes.readableBytes) bytes)" }

    var customMirror: Mirror { Mirror(self, children: ["byteCount": self.bytes.readableBytes]) }
}
