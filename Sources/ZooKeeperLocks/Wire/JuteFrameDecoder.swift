package import NIOCore

/// Cuts a stream of bytes into frames, each of which has its length before it.
package struct JuteFrameDecoder {
    private let limits: JuteLimits

    package init(limits: JuteLimits = JuteLimits()) {
        self.limits = limits
    }

    /// Takes the next whole frame out of the bytes; `nil` if there is none yet.
    ///
    /// - Throws: if the length makes no sense. The bytes are of no more use then.
    package func next(from bytes: inout ByteBuffer) throws(JuteError) -> ByteBuffer? {
        guard let length = bytes.getInteger(at: bytes.readerIndex, as: Int32.self).map({ Int($0) }) else { return nil }
        guard length >= 0 else { throw JuteError("a frame has the length \(length)") }
        guard length <= self.limits.frameBytes else {
            throw .tooLong("a frame", length, limit: self.limits.frameBytes)
        }
        guard bytes.readableBytes >= 4 + length else { return nil }
        bytes.moveReaderIndex(forwardBy: 4)
        return bytes.readSlice(length: length)
    }
}

extension ByteBuffer {
    /// Writes a frame: its length, then what `body` writes.
    package mutating func writeJuteFrame(_ body: (inout ByteBuffer) -> Void) {
        let start = self.writerIndex
        self.writeInteger(Int32(0))
        body(&self)
        self.setInteger(Int32(self.writerIndex - start - 4), at: start)
    }
}
