package import NIOCore
import RESP

/// One command, as the bytes that go to the server.
package struct RedisCommand: Sendable {
    /// The encoded command: exactly one RESP array of bulk strings.
    package let bytes: ByteBuffer
    /// The tag of the connection that carries it follows as the last argument: see ``RedisLocation/tag``.
    package let endsWithTag: Bool
    /// What follows ``bytes``: the last arguments, where the others are the same for several servers and encoded once.
    package var tail: ByteBuffer?

    /// `bytes`, with `tail`, must be one whole encoded command: anything else shifts the replies of all requests after it.
    ///
    /// - Parameter endsWithTag: `bytes` lack the last argument, which their array header counts.
    package init(bytes: ByteBuffer, endsWithTag: Bool = false) {
        self.bytes = bytes
        self.endsWithTag = endsWithTag
    }

    package init(_ arguments: [String]) {
        var buffer = ByteBuffer()
        buffer.writeRESPCommand(arguments)
        self.bytes = buffer
        self.endsWithTag = false
    }

    package init(_ arguments: String...) {
        self.init(arguments)
    }

    /// The command's words, read back from its bytes. Nil if they are not one encoded command.
    var words: [String]? {
        var bytes = self.bytes
        if let tail = self.tail { bytes.writeImmutableBuffer(tail) }
        var decoder = RESPDecoder(limits: RESPLimits())
        guard let value = try? decoder.next(from: &bytes), bytes.readableBytes == 0 else { return nil }
        return value.elements?.map { $0.string ?? "" }
    }
}

// Arguments may be secrets.
extension RedisCommand: CustomStringConvertible, CustomReflectable {
    package var description: String { "RedisCommand(\(self.byteCount) bytes)" }

    private var byteCount: Int { self.bytes.readableBytes + (self.tail?.readableBytes ?? 0) }

    package var customMirror: Mirror { Mirror(self, children: ["byteCount": self.byteCount]) }
}
