import NIOCore

typealias Bytes = [UInt8]

/// What a simulated Redis answers, in the form of RESP3.
enum ServerReply: Equatable {
    case status(String)
    case error(String)
    case integer(Int64)
    case bulk(Bytes)
    case null
    case array([ServerReply])
    case map([(Bytes, ServerReply)])
    case push([ServerReply])

    static func == (left: ServerReply, right: ServerReply) -> Bool { left.encoded() == right.encoded() }

    static func bulk(_ text: String) -> ServerReply { .bulk(Bytes(text.utf8)) }

    func encoded() -> ByteBuffer {
        var buffer = ByteBuffer()
        self.write(to: &buffer)
        return buffer
    }

    func write(to buffer: inout ByteBuffer) {
        switch self {
        case .status(let text): buffer.writeString("+\(text)\r\n")
        case .error(let text): buffer.writeString("-\(text)\r\n")
        case .integer(let number): buffer.writeString(":\(number)\r\n")
        case .bulk(let bytes):
            buffer.writeString("$\(bytes.count)\r\n")
            buffer.writeBytes(bytes)
            buffer.writeString("\r\n")
        case .null: buffer.writeString("_\r\n")
        case .array(let elements):
            buffer.writeString("*\(elements.count)\r\n")
            for element in elements { element.write(to: &buffer) }
        case .push(let elements):
            buffer.writeString(">\(elements.count)\r\n")
            for element in elements { element.write(to: &buffer) }
        case .map(let entries):
            buffer.writeString("%\(entries.count)\r\n")
            for (key, value) in entries {
                ServerReply.bulk(key).write(to: &buffer)
                value.write(to: &buffer)
            }
        }
    }
}

/// Takes requests out of what a client has sent: arrays of bulk strings, as all clients send them.
struct RequestParser {
    private var buffer = ByteBuffer()

    mutating func received(_ bytes: ByteBuffer) {
        var bytes = bytes
        self.buffer.writeBuffer(&bytes)
    }

    /// `nil`: no whole request is there.
    mutating func next() -> [Bytes]? {
        var rest = self.buffer
        guard let count = Self.number("*", &rest) else { return nil }
        var words: [Bytes] = []
        for _ in 0..<count {
            guard let length = Self.number("$", &rest), let word = rest.readBytes(length: length),
                rest.readBytes(length: 2) != nil
            else { return nil }
            words.append(word)
        }
        self.buffer = rest
        self.buffer.discardReadBytes()
        return words
    }

    private static func number(_ kind: Character, _ buffer: inout ByteBuffer) -> Int? {
        let view = buffer.readableBytesView
        guard let end = view.firstIndex(of: UInt8(ascii: "\n")) else { return nil }
        let line = buffer.readString(length: end - view.startIndex + 1) ?? ""
        precondition(line.first == kind, "a request that is no array of strings: \(line)")
        return Int(line.dropFirst().dropLast())
    }
}
