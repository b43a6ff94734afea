import NIOCore

/// The bytes of a read buffer while one value is decoded from them. The pointer is asked for once, as asking is not
/// free.
struct RESPInput {
    let bytes: UnsafeRawBufferPointer
    /// The same bytes: for slices that share its memory.
    private let buffer: ByteBuffer
    /// So many bytes were taken.
    private(set) var takenBytes = 0

    init(_ bytes: UnsafeRawBufferPointer, of buffer: ByteBuffer) {
        self.bytes = bytes
        self.buffer = buffer
    }

    @inline(__always)
    var count: Int { self.bytes.count &- self.takenBytes }

    /// What was not taken yet.
    @inline(__always)
    var rest: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: self.bytes[self.takenBytes...]) }

    /// Bytes that were not taken yet. The caller made sure that they are there.
    @inline(__always)
    func peek(from offset: Int = 0, length: Int) -> UnsafeRawBufferPointer {
        let start = self.takenBytes &+ offset
        return UnsafeRawBufferPointer(rebasing: self.bytes[start..<start &+ length])
    }

    /// As ``peek(from:length:)``, sharing the memory of the read buffer.
    @inline(__always)
    func slice(from offset: Int = 0, length: Int) -> ByteBuffer {
        let index = self.buffer.readerIndex &+ self.takenBytes &+ offset
        guard let slice = self.buffer.getSlice(at: index, length: length) else {
            preconditionFailure("a slice of bytes that have not come")
        }
        return slice
    }

    @inline(__always)
    mutating func take(_ length: Int) {
        self.takenBytes &+= length
    }

    /// `length` is that of the part, at the start of what was not taken, which is all there when the fault shows.
    @inline(never)
    func fault(_ code: RESPError.Code, from offset: Int = 0, length: Int) -> RESPError {
        RESPError(code, self.peek(from: offset, length: length))
    }
}
