package import NIOCore

/// Reads the fields of one frame, in their order. Jute is ZooKeeper's record format: fixed big-endian numbers, and a length
/// before everything that varies (zookeeper.jute and BinaryInputArchive of Apache ZooKeeper).
package struct JuteReader {
    private var buffer: ByteBuffer
    let limits: JuteLimits

    package init(_ frame: ByteBuffer, limits: JuteLimits = JuteLimits()) {
        self.buffer = frame
        self.limits = limits
    }

    package var remainingBytes: Int { self.buffer.readableBytes }

    package mutating func int32(_ what: @autoclosure () -> String = "a number") throws(JuteError) -> Int32 {
        guard let value = self.buffer.readInteger(as: Int32.self) else { throw .truncated(what()) }
        return value
    }

    package mutating func int64(_ what: @autoclosure () -> String = "a number") throws(JuteError) -> Int64 {
        guard let value = self.buffer.readInteger(as: Int64.self) else { throw .truncated(what()) }
        return value
    }

    package mutating func bool(_ what: @autoclosure () -> String = "a truth value") throws(JuteError) -> Bool {
        guard let value = self.buffer.readInteger(as: UInt8.self) else { throw .truncated(what()) }
        return value != 0
    }

    /// Bytes; -1 stands for none.
    package mutating func bytes(_ what: @autoclosure () -> String = "data") throws(JuteError) -> [UInt8] {
        let length = try self.length(what())
        guard let bytes = self.buffer.readBytes(length: length) else { throw .truncated(what()) }
        return bytes
    }

    /// Text; -1 stands for none.
    package mutating func string(_ what: @autoclosure () -> String = "a text") throws(JuteError) -> String {
        let length = try self.length(what())
        guard let bytes = self.buffer.readBytes(length: length) else { throw .truncated(what()) }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw JuteError("\(what()) is not UTF-8") }
        return text
    }

    private mutating func length(_ what: @autoclosure () -> String) throws(JuteError) -> Int {
        let length = Int(try self.int32("the length of \(what())"))
        if length == -1 { return 0 }
        guard length >= 0 else { throw JuteError("\(what()) has the length \(length)") }
        guard length <= self.buffer.readableBytes else { throw .truncated(what()) }
        return length
    }

    /// A list; -1 stands for none.
    package mutating func list<Element>(
        _ what: @autoclosure () -> String = "a list",
        _ element: (inout JuteReader) throws(JuteError) -> Element
    ) throws(JuteError) -> [Element] {
        let count = Int(try self.int32("the length of \(what())"))
        if count == -1 { return [] }
        guard count >= 0 else { throw JuteError("\(what()) has the length \(count)") }
        guard count <= self.limits.listElements else {
            throw .tooLong(what(), count, limit: self.limits.listElements)
        }
        var elements: [Element] = []
        // The count is the server's word: no more is set aside than the frame can hold.
        elements.reserveCapacity(min(count, self.buffer.readableBytes / 4 + 1))
        for _ in 0..<count { elements.append(try element(&self)) }
        return elements
    }

    package mutating func strings(_ what: @autoclosure () -> String = "a list") throws(JuteError) -> [String] {
        try self.list(what()) { reader throws(JuteError) in try reader.string("an element of \(what())") }
    }

    /// Nothing may be left.
    package func finish(_ what: @autoclosure () -> String) throws(JuteError) {
        guard self.buffer.readableBytes == 0 else {
            throw JuteError("\(what()) is followed by \(self.buffer.readableBytes) bytes that do not belong to it")
        }
    }
}

extension ByteBuffer {
    package mutating func writeJuteBool(_ value: Bool) {
        self.writeInteger(value ? 1 : 0, as: UInt8.self)
    }

    package mutating func writeJuteBytes(_ bytes: [UInt8]) {
        self.writeInteger(Int32(bytes.count))
        self.writeBytes(bytes)
    }

    package mutating func writeJuteString(_ text: String) {
        self.writeInteger(Int32(text.utf8.count))
        self.writeString(text)
    }

    package mutating func writeJuteList<Element>(_ elements: [Element], _ write: (inout ByteBuffer, Element) -> Void) {
        self.writeInteger(Int32(elements.count))
        for element in elements { write(&self, element) }
    }
}
