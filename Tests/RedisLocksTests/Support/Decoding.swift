import NIOCore

@testable import RedisLocks

/// What a decoder makes of bytes that come in pieces.
struct Decoding {
    private(set) var values: [RESPValue] = []
    private(set) var error: RESPError?
    /// What the decoder has not taken.
    private(set) var unread = ByteBuffer()
    private(set) var decoder: RESPDecoder

    init(limits: RESPLimits = RESPLimits()) {
        self.decoder = RESPDecoder(limits: limits)
    }

    /// Reads text in one piece.
    init(_ text: String, limits: RESPLimits = RESPLimits()) {
        self.init(limits: limits)
        self.read(ByteBuffer(string: text))
    }

    /// Reads bytes in pieces of these lengths, and then the rest.
    init(_ bytes: ByteBuffer, lengths: some Sequence<Int>, limits: RESPLimits = RESPLimits()) {
        self.init(limits: limits)
        var rest = bytes
        for length in lengths {
            guard let piece = rest.readSlice(length: min(length, rest.readableBytes)) else { break }
            self.read(piece)
        }
        self.read(rest)
    }

    mutating func read(_ text: String) {
        self.read(ByteBuffer(string: text))
    }

    mutating func read(_ piece: ByteBuffer) {
        // Each piece has memory of its own, as those that come from a socket have.
        self.unread.appendReceived(ByteBuffer(buffer: piece))
        guard self.error == nil else { return }
        do throws(RESPError) {
            while let value = try self.decoder.next(from: &self.unread) { self.values.append(value) }
        } catch {
            self.error = error
        }
    }

    /// Whether all bytes were whole values.
    var isWhole: Bool { self.error == nil && self.unread.readableBytes == 0 && self.decoder.pendingBytes == 0 }
}

extension ByteBuffer {
    init(_ value: RESPValue, version: RESPVersion = .resp3) {
        self.init()
        self.writeRESP(value, version: version)
    }
}

extension RESPValue {
    static func simple(_ text: String) -> RESPValue { .simpleString(ByteBuffer(string: text)) }
    static func bulk(_ text: String) -> RESPValue { .bulkString(ByteBuffer(string: text)) }
}
