package import NIOCore

extension ByteBuffer {
    /// Adds bytes that came from the connection to what the decoder has left over.
    ///
    /// If nothing was left, takes `bytes` over without a copy. If something was, what was decoded before is dropped
    /// first, so that a buffer of which slices are in use is not copied as a whole.
    package mutating func appendReceived(_ bytes: ByteBuffer) {
        guard self.readableBytes > 0 else {
            self = bytes
            return
        }
        self.discardReadBytes()
        self.writeImmutableBuffer(bytes)
    }
}
